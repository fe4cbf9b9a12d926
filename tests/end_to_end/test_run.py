"""Run programs that print JSON lines, and read what became of them: no environment is needed."""

from __future__ import annotations

import csv
import io
import json
from fnmatch import fnmatch

import pytest

from benchmate.wire import MEASURED, WARMUP
from harness import PRINTER, Project, rates_of, shell, wait_until
from milabench.eventfile import events_in

ONE_STEP = """echo '{"count": 10, "unit": "items"}'; sleep 0.02; """
FAILURES = {
    "by-exit-code": (shell("echo why >&2; exit 3"), "failed", "exit code 3*"),
    "after-steps": (shell(ONE_STEP * 5 + "exit 3"), "failed", "exit code 3*"),
    "by-signal": (shell("kill -SEGV $$"), "killed", "killed by SIGSEGV"),
    "silent": (shell("true"), "failed", "no rate: no step was seen*"),
    "warm-up-only": (shell(ONE_STEP * 2), "failed", "no rate: only 2 warm-up steps*"),
    "endless": (shell("sleep 1000", max_duration=1), "timeout", "reached max_duration: ended after *"),
    "stubborn": (
        shell("trap '' TERM; while true; do sleep 0.1; done", max_duration=1),
        "timeout",
        "reached max_duration: ended after *",
    ),
    "missing-program": (
        {**shell(""), "command": {"argv": ["no-such-program"]}},
        "failed",
        "cannot be started: No such file or directory: no-such-program",
    ),
}


def test_run_ends_with_0_and_says_early_stop_when_everything_was_measured(project: Project) -> None:
    project.suite(printer=shell(PRINTER))
    assert project.verb("run").code == 0
    (found,) = project.report().values()
    assert (found["outcomes"], found["steps"]) == ({"early_stop": 1}, {"warmup": 2, "measured": 10})


def test_a_program_that_ends_by_itself_is_ok(project: Project) -> None:
    project.suite(short=shell(ONE_STEP * 6))
    assert project.verb("run").code == 0
    assert project.report()["short"]["outcomes"] == {"ok": 1}


def test_failing_benchmarks_stop_no_other_and_each_says_why(project: Project) -> None:
    project.suite(
        first=shell(PRINTER), **{name: entry for name, (entry, _, _) in FAILURES.items()}, last=shell(PRINTER)
    )
    done = project.verb("run")
    assert done.code == 1
    journal = {name: (each.kind, each.reason) for name, each in project.run().outcomes().items()}
    assert [journal.pop(name) for name in ("first", "last")] == [("early_stop", "measured the wanted amount")] * 2
    failures = {name: found["failures"][0] for name, found in project.report().items() if found["failed"]}
    assert {name: (each["outcome"], each["reason"]) for name, each in failures.items()} == journal
    assert journal.keys() == FAILURES.keys()
    for name, (_, kind, reason) in FAILURES.items():
        assert journal[name][0] == kind
        assert fnmatch(journal[name][1], reason)
        assert journal[name][1] in done.err


def test_a_process_that_failed_shows_its_last_lines(project: Project) -> None:
    project.suite(bad=shell("echo the last words >&2; exit 1"))
    assert "| the last words" in project.verb("run").err


def test_rate_lines_are_count_over_time_of_each_row_of_steps(project: Project) -> None:
    project.suite(printer=shell(PRINTER))
    project.verb("run")
    (steps,) = project.run().steps("printer")
    wanted = {"warmup": rates_of(steps, WARMUP), "train": rates_of(steps, MEASURED)}
    events = [event.data for event in project.run().events("printer") if event.event == "data"]
    for task, rates in wanted.items():
        lines = [data for data in events if data["task"] == task]
        assert [data["rate"] for data in lines] == pytest.approx(rates, rel=1e-9)
        assert {data["units"] for data in lines} == {"items/s"}
    assert [len(rates) for rates in wanted.values()] == [2, 10]


def test_an_event_file_has_one_config_one_start_and_one_end_and_contiguous_numbers(project: Project) -> None:
    project.suite(printer=shell(PRINTER), bad=shell("exit 3"))
    project.verb("run")
    for tag in ("printer", "bad"):
        events = list(project.run().events(tag))
        names = [event.event for event in events]
        assert (names[:2], names[-1]) == (["config", "start"], "end")
        assert [names.count(name) for name in ("config", "start", "end")] == [1, 1, 1]
        assert [event.seq for event in events] == list(range(len(events)))


def test_all_forms_of_the_report_agree(project: Project) -> None:
    project.suite(printer=shell(PRINTER), bad=shell("exit 3"))
    text = project.verb("run").out
    document = project.milabench("report", "--json").json
    rows = list(csv.DictReader(io.StringIO(project.milabench("report", "--format", "csv").out)))
    markdown = project.milabench("report", "--format", "markdown").out
    assert [row["name"] for row in rows] == [each["name"] for each in document["benchmarks"]] == ["printer", "bad"]
    assert [row["status"] for row in rows] == ["ok", "failed"]
    assert float(rows[0]["perf"]) == document["benchmarks"][0]["perf"]
    shown = f"{document['benchmarks'][0]['perf']:.4g}"
    for form in (text, markdown, project.milabench("report").out):
        assert shown in form
        assert "exit code 3" in form


def test_a_printed_rate_counts_as_it_stands(project: Project) -> None:
    line = """echo '{"rate": 3.5, "units": "GB/s"}'; sleep 0.02; """
    project.suite(rates=shell(line * 6))
    assert project.verb("run").code == 0
    found = project.report()["rates"]
    assert (found["perf"], found["unit"], found["steps"]) == (3.5, "GB/s", {"warmup": 2, "measured": 4})


def test_what_is_printed_beside_a_count_is_kept_and_told(project: Project) -> None:
    line = """echo '{"count": 10, "unit": "items", "loss": %s, "mykey": 3}'; sleep 0.02; """
    project.suite(counts=shell("".join(line % loss for loss in (4, 3, 2, 1)), skip=0))
    assert project.verb("run").code == 0
    found = project.report()["counts"]
    assert (found["unit"], found["losses"]["first"], found["losses"]["last"]) == ("items/s", 4, 1)
    events = list(events_in(project.run().files("counts").events))
    kept = [event.data for event in events if event.event == "data" and "rate" not in event.data]
    assert kept == [{"loss": loss, "mykey": 3} for loss in (4, 3, 2, 1)]
    assert [event.seq for event in events] == list(range(len(events)))


def test_a_loss_beside_a_count_that_is_no_number_is_a_failure(project: Project) -> None:
    line = """echo '{"count": 64, "unit": "MB", "loss": NaN, "mykey": 3}'"""
    project.suite(lost=shell(f"while true; do sleep 0.02; {line}; done", stop=20, skip=0))
    assert project.verb("run").code == 1
    assert project.run().outcomes()["lost"].reason == "the loss is not a finite number"
    assert project.report()["lost"]["losses"]["nan"] is True


@pytest.mark.parametrize(
    ("to", "told"),
    [
        ("", "are none: its .data file says why (the first: rates are in images/s)"),
        (" >&$DATA_FD", "rates are not in images/s (bytes/s) and were left out"),
    ],
    ids=["printed", "by-descriptor"],
)
def test_a_rate_is_in_the_unit_that_was_said_first_and_others_are_told(project: Project, to: str, told: str) -> None:
    two = (
        """echo '{"task": "train", "rate": 3, "units": "images/s"}'%s; """
        """echo '{"task": "train", "rate": 3000, "units": "bytes/s"}'%s; sleep 0.02; """
    )
    project.suite(mixed=shell(two.replace("%s", to) * 4, skip=0))
    assert project.verb("run").code == 0
    document = project.milabench("report", "--json").json
    (found,) = document["benchmarks"]
    assert (found["perf"], found["unit"], found["steps"]["measured"]) == (3, "images/s", 4)
    assert [each for each in document["warnings"] if each.startswith("mixed: 4 ") and each.endswith(told)]


NUMBERLESS = {
    "a rate that is NaN": {"rate": float("nan")},
    "a rate that is text": {"rate": "fast"},
    "a rate that is null": {"rate": None},
    "no items": {"count": 0},
    "fewer than no items": {"count": -5},
}


@pytest.mark.parametrize("line", NUMBERLESS.values(), ids=NUMBERLESS)
def test_what_is_no_rate_is_not_taken_for_a_measurement(project: Project, line: dict[str, object]) -> None:
    project.suite(odd=shell(f"echo '{json.dumps(line)}'; sleep 0.02; " * 5))
    assert project.verb("run").code == 1
    assert project.run().outcomes()["odd"].reason.startswith("no rate")


def test_the_report_of_a_run_in_progress_shows_what_is_there(project: Project) -> None:
    project.suite(long=shell(PRINTER, stop=1_000_000))
    with project.started("run", "--config", "suite.yaml"):
        wait_until(lambda: any(path.read_text().count("\n") > 20 for path in project.base.glob("runs/*/long.stdout")))
        assert project.report()["long"]["steps"]["measured"] > 0


def test_an_output_that_takes_no_unicode_is_still_written(project: Project) -> None:
    project.suite(printer=shell(PRINTER))
    done = project.milabench("run", "--config", "suite.yaml", PYTHONIOENCODING="ascii")
    assert (done.code, "printer" in done.out, "Traceback" in done.err) == (0, True, False)
    assert project.milabench("report", PYTHONIOENCODING="ascii").code == 0


def test_options_may_come_from_the_environment(project: Project) -> None:
    project.suite(printer=shell(PRINTER), bad=shell("exit 3"))
    assert project.milabench("run", MILABENCH_CONFIG="suite.yaml", MILABENCH_SELECT="printer").code == 0
    assert project.run().tags() == ("printer",)


def test_copies_run_together_each_with_its_own_files(project: Project) -> None:
    project.suite(many=shell(PRINTER, plan={"method": "njobs", "n": 2}))
    assert project.verb("run").code == 0
    assert project.run().tags() == ("many.0", "many.1")


def test_repeats_are_trials_of_their_own(project: Project) -> None:
    project.suite(printer=shell(PRINTER))
    assert project.verb("run", "--repeat", "2").code == 0
    assert project.run().tags() == ("printer", "printer.R1")
    assert project.report()["printer"]["n"] == 2


def test_a_process_that_fails_takes_its_copies_with_it(project: Project) -> None:
    script = f"case $MILABENCH_EVENTS in *many.0.data) exit 3;; esac; {PRINTER}"
    project.suite(many=shell(script, stop=100_000, plan={"method": "njobs", "n": 2}))
    assert project.verb("run").code == 1
    found = {each["tag"]: each["reason"] for each in project.report()["many"]["failures"]}
    assert found == {"many.0": "exit code 3", "many.1": "ended because a process it belongs with failed"}


def test_several_runs_are_pooled_by_the_report(project: Project) -> None:
    project.suite(printer=shell(PRINTER))
    for name in ("one", "two"):
        project.verb("run", "--run-name", name)
    assert project.report("one", "two")["printer"]["n"] == 2


def test_a_condition_that_does_not_hold_skips_the_benchmark(project: Project) -> None:
    project.suite(printer=shell(PRINTER), many=shell(PRINTER, requires_capabilities=["gpu['count'] > 1000"]))
    assert project.verb("run").code == 0
    assert "requires gpu['count'] > 1000" in project.milabench("report").out


def test_no_secret_of_the_operator_reaches_a_file(project: Project) -> None:
    project.suite(printer=shell(PRINTER))
    project.milabench("run", "--config", "suite.yaml", MILABENCH_TOKEN="s3cr3t-value", HF_TOKEN="s3cr3t-value")
    written = [path for path in project.base.rglob("*") if path.is_file()]
    assert written
    assert not [path for path in written if b"s3cr3t-value" in path.read_bytes()]


def test_quiet_says_nothing_but_failures(project: Project) -> None:
    project.suite(printer=shell(PRINTER), bad=shell("exit 3"))
    lines = project.verb("run", "--quiet").err.splitlines()
    assert [line for line in lines if "printer" in line] == []
    assert [line for line in lines if line.startswith("FAIL bad")] != []
