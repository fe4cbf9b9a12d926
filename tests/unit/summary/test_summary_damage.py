"""Files of a run that were damaged or removed: the report says what is not known, and no number seems surer for it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from monitor_lines import at, cpu, header
from summary_fakes import FakeRun, MakeRun, end, plan, rates
from watched_runs import CPU, NOISY, QUIET, measured, only, watched, watched_run

from benchmate.wire import StepsWriter
from milabench.outcome import Outcome
from milabench.record import Record
from milabench.render import text
from milabench.rundir import RunDir
from milabench.summary import summarize

WATCHED: dict[str, Any] = {**CPU, "monitor_interval_s": 1.0}
FILE = "local.monitor.jsonl"
NOT_KNOWN = "what else the machine did while benchmarks measured is not known"


def trusted(run: FakeRun) -> str:
    """Return what stands below the table on how far to trust the numbers, in one line."""
    return " ".join(text.render(summarize(run), 200).partition("how far to trust")[2].split())


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        (b"", "is empty"),
        (b"\n\n", "has no sample"),
        (b"\xff\xfe{\n", "is damaged: no sample in it can be read"),
        (b'{"event": "monitor"', "has no sample"),
        (b'{"event": "sample", "time_ns": 5, "data": {"cpu": 3}}\n' * 3, "is damaged: no sample in it can be read"),
        (b'{"event": "sample", "time_ns": "5", "data": []}\n' * 3, "is damaged: no sample in it can be read"),
    ],
)
def test_of_a_monitor_file_that_says_nothing_it_is_told_and_noise_is_not_known(
    make_run: MakeRun, content: bytes, wrong: str
) -> None:
    run = watched_run(make_run, [], facts=WATCHED)
    (run.path / FILE).write_bytes(content)
    assert summarize(run).warnings == (f"{FILE} {wrong}: {NOT_KNOWN}",)
    assert only(run).trust.noise.verdict == "unknown"
    assert f"whether the machine was busy with other things is not known: its monitor file {wrong}" in trusted(run)
    assert "nothing that was looked at speaks against" not in trusted(run)


def test_a_folder_in_place_of_a_monitor_file_is_told(make_run: MakeRun) -> None:
    run = watched_run(make_run, [], facts=WATCHED)
    (run.path / FILE).unlink()
    (run.path / FILE).mkdir()
    (warning,) = summarize(run).warnings
    assert warning == f"{FILE} cannot be read (is a directory): {NOT_KNOWN}"
    assert only(run).trust.noise.verdict == "unknown"


@pytest.mark.parametrize("interval_s", [1.0, 0, None, "1"])
def test_a_monitor_file_is_missed_where_the_run_had_a_monitor(make_run: MakeRun, interval_s: object) -> None:
    run = watched_run(make_run, [], facts={**CPU, "monitor_interval_s": interval_s})
    (run.path / FILE).unlink()
    missed = interval_s == 1.0
    assert summarize(run).warnings == ((f"{FILE} is missing: {NOT_KNOWN}",) if missed else ())
    assert only(run).trust.noise.verdict == ("unknown" if missed else "quiet")  # as the process itself says
    assert ("not known: its monitor file is missing" in trusted(run)) == missed


def test_a_monitor_file_that_was_cut_is_told_with_whom_it_leaves_out(make_run: MakeRun) -> None:
    run = watched_run(make_run, [header(), *(cpu(t, busy=1.0, ours=0.95) for t in range(9))], facts=WATCHED)
    (warning,) = summarize(run).warnings
    assert warning.startswith(f"{FILE} does not cover the time in which net measured: ")
    assert only(run).trust.noise.verdict == "unknown"
    assert "not known: what its node's monitor saw does not cover the time in which it measured" in trusted(run)


def test_lines_that_are_none_among_those_that_tell_all_are_counted(make_run: MakeRun) -> None:
    run = watched_run(make_run, QUIET, facts=WATCHED)
    with (run.path / FILE).open("ab") as file:
        file.write(b"\xff\xff\n{}\n" + b'{"event": "sam')  # the last one was cut short, as when a monitor is killed
    assert summarize(run).warnings == (f"{FILE} is damaged: 2 lines are no samples and left out",)
    assert only(run).trust.noise.verdict == "quiet"


def test_what_a_process_itself_says_against_its_number_stands_without_the_monitor(make_run: MakeRun) -> None:
    run = watched_run(make_run, [], facts=WATCHED)
    run.write("net.D0", measured(5, 15, wait_s=3.0), end())
    assert only(run).trust.grade.word == "noisy"
    watched(run, NOISY)
    assert only(run).trust.grade.word == "noisy"


# Steps, events, facts and plan ---------------------------------------------------------------------------------------


def kept(folder: Path) -> RunDir:
    """Return a run on the disk of two benchmarks that went well, each process with ten steps."""
    made = plan(
        {"net": [[("net.D0", "local", (0,))], [("net.D1", "local", (1,))]], "bert": [[("bert.D0", "local", (0,))]]}
    )
    record = Record.create(folder / "run", plan=made, facts={"started": 1.0, **CPU}, suite={})
    for trial in made.trials:
        record.started(trial)
        for command in trial.commands:
            record.begin(command, {"name": command.benchmark})
            rows = StepsWriter(record.files(command.tag).steps, unit="items", zero_ns=at(0))
            for number in range(10):
                rows.append(number * 10**7, (number + 1) * 10**7, 5, 1, 0)
            rows.close()
        record.note(trial, Outcome(kind="early_stop", reason="measured the wanted amount"))
    record.finish("complete")
    record.release()
    return RunDir(record.path)


def test_whole_files_are_nothing_to_warn_of(tmp_path: Path) -> None:
    run = kept(tmp_path)
    assert [run.damage(tag) for tag in run.tags()] == ["", "", ""]
    assert run.damage("gone.D0") == ""
    assert summarize(run).warnings == ()


@pytest.mark.parametrize(
    ("size", "told"),
    [
        (0, "net.D1.steps is damaged and was left out"),
        (20, "net.D1.steps is damaged and was left out"),
        (-40, "net.D1.steps was cut: 9 of 10 steps are left, the others are missing"),
        (-41, "net.D1.steps was cut: 8 of 10 steps are left, the others are missing"),
    ],
)
def test_steps_that_were_cut_are_told(tmp_path: Path, size: int, told: str) -> None:
    run = kept(tmp_path)
    path = run.files("net.D1").steps
    os.truncate(path, size if size >= 0 else path.stat().st_size + size)
    (warning,) = (each for each in summarize(run).warnings if "steps" in each)
    assert warning.startswith(f"net.D1: {told}")


def test_steps_that_are_something_else_are_told(tmp_path: Path) -> None:
    run = kept(tmp_path)
    run.files("net.D1").steps.write_bytes(bytes(range(256)) * 8)
    (warning,) = (each for each in summarize(run).warnings if "steps" in each)
    assert warning.startswith("net.D1: net.D1.steps is damaged and was left out: what it measured is taken from")


def test_a_benchmark_whose_events_were_removed_is_not_said_to_be_missing_though_it_went_well(tmp_path: Path) -> None:
    run = kept(tmp_path)
    run.files("bert.D0").events.unlink()
    (absent,) = summarize(run).missing
    assert (absent.benchmark, absent.reason) == (
        "bert",
        "lost: its .data file is gone; the journal says it went well",
    )


def test_one_of_several_processes_whose_events_were_removed_is_lost_though_it_went_well(tmp_path: Path) -> None:
    run = kept(tmp_path)
    run.files("net.D1").events.unlink()
    net = next(found for found in summarize(run).benchmarks if found.name == "net")
    assert (net.n, net.failed) == (2, 1)
    assert [(fail.tag, fail.outcome, fail.reason) for fail in net.failures] == [
        ("net.D1", "lost", "its .data file is gone; the journal says it went well")
    ]


@pytest.mark.parametrize("content", ["", "{", "[1]", "nothing"])
def test_facts_that_cannot_be_read_are_told(tmp_path: Path, content: str) -> None:
    run = kept(tmp_path)
    run.facts_path.write_text(content)
    (warning,) = summarize(run).warnings
    assert warning.startswith(str(run.facts_path))
    assert "damaged" in warning
    assert warning.endswith(": on what the run was, and when, is not known")


def test_a_plan_that_is_missing_or_damaged_is_told_in_words(tmp_path: Path) -> None:
    run = kept(tmp_path)
    run.plan_path.unlink()
    assert summarize(run).warnings == (f"without its plan what is missing cannot be told: {run.plan_path} is missing",)
    run.plan_path.mkdir()
    (warning,) = summarize(run).warnings
    assert warning.endswith(f"{run.plan_path} cannot be read: is a directory")
    assert "Errno" not in warning


@pytest.mark.parametrize("ending", [b"", b"\n"])
def test_a_line_that_is_too_long_is_bad_and_not_kept(make_run: MakeRun, ending: bytes) -> None:
    import tracemalloc

    run = make_run()
    run.write("a.D0", *rates(1.0), end())
    before = run.files("a.D0").events.read_bytes().splitlines(keepends=True)
    long = b'{"event": "data", "data": {"task": "train", "rate": 5.0}}' + b" " * (1 << 26) + ending
    at = len(before) if not ending else 2
    run.files("a.D0").events.write_bytes(b"".join([*before[:at], long, *before[at:]]))
    tracemalloc.start()
    (found,) = summarize([run]).benchmarks
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (found.measured_steps, found.failed) == (1, 0)
    assert found.processes[0].warnings == ("a.D0: 1 lines of its .data file are no events and were left out",)
    assert peak < 8 << 20
