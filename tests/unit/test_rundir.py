"""A run directory: who writes what, sealing, reading back."""

from __future__ import annotations

import errno
import fcntl
import itertools
import json
import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmate.wire import LINE_BYTES, MEASURED, WARMUP, EventWriter, StepsWriter
from harness import rates_of
from milabench import journal
from milabench.errors import DiskFull, PreflightError, RunDirError
from milabench.fold import MAX_RATE_LINES
from milabench.outcome import Exit, Outcome
from milabench.plan import Command, Job, Plan, Trial
from milabench.plan.types import Ranks
from milabench.record import Record
from milabench.rundir import open_run, runs

COMMAND = Command(tag="resnet50.D0", benchmark="resnet50", node="local", argv=("true",), cwd="/", devices=(0,))
TRIAL = Trial(benchmark="resnet50", jobs=(Job(tag="resnet50", commands=(COMMAND,), deadline_s=600.0),))
PLAN = Plan(phase="run", trials=(TRIAL,), configs={"resnet50": {"name": "resnet50"}})


@pytest.fixture
def run(tmp_path: Path) -> Record:
    return Record.create(tmp_path / "runs" / "mine.now", plan=PLAN, facts={"started": 1.0}, suite={})


def measure(run: Record, steps: int, warmup: int = 0) -> None:
    first_seq = run.begin(COMMAND, PLAN.config_of(COMMAND))
    writer = EventWriter(run.files(COMMAND.tag).events, first_seq=first_seq)
    writer.write("stop", {"reason": "observations"})
    writer.close()
    rows = StepsWriter(run.files(COMMAND.tag).steps, unit="items", zero_ns=0)
    for index in range(steps):
        rows.append(index * 10**9 + 1, index * 10**9 + 5 * 10**8 + 1, 64, WARMUP if index < warmup else MEASURED, 0)
    rows.close()


def test_a_sealed_file_tells_the_whole_story_in_order(run: Record) -> None:
    measure(run, steps=3, warmup=1)
    assert run.seal(COMMAND, Exit(tag=COMMAND.tag, code=0)) == Outcome(
        kind="early_stop", reason="measured the wanted amount", tag="resnet50.D0"
    )
    events = list(run.events(COMMAND.tag))
    assert [event.event for event in events] == ["config", "start", "stop", "data", "data", "data", "end"]
    assert [event.seq for event in events] == list(range(7))
    assert events[0].data == {"name": "resnet50", "tag": ["resnet50", "D0"], "devices": [0], "device": 0}
    rates = [(event.data["task"], event.data["rate"], event.data["units"]) for event in events[3:6]]
    assert rates == [("warmup", 128.0, "items/s"), ("train", 128.0, "items/s"), ("train", 128.0, "items/s")]
    assert events[-1].data["outcome"] == "early_stop"


def test_sealing_twice_changes_nothing(run: Record) -> None:
    measure(run, steps=2)
    run.seal(COMMAND, Exit(tag=COMMAND.tag, code=0))
    before = run.files(COMMAND.tag).events.read_bytes()
    run.seal(COMMAND, Exit(tag=COMMAND.tag, code=1))
    assert run.files(COMMAND.tag).events.read_bytes() == before


def test_a_line_cut_by_a_crash_costs_no_other_line(run: Record) -> None:
    measure(run, steps=1)
    with run.files(COMMAND.tag).events.open("ab") as file:
        file.write(b'{"event": "data", "da')
    run.seal(COMMAND, Exit(tag=COMMAND.tag, signal=9))
    events = list(run.events(COMMAND.tag))
    assert [event.event for event in events] == ["config", "start", "stop", "line", "data", "end"]
    assert events[-1].data["outcome"] == "killed"


def test_many_steps_are_folded_without_changing_their_mean(run: Record) -> None:
    measure(run, steps=2 * MAX_RATE_LINES + 1)
    run.seal(COMMAND, Exit(tag=COMMAND.tag, code=0))
    rates = [event.data for event in run.events(COMMAND.tag) if event.event == "data"]
    assert len(rates) <= MAX_RATE_LINES
    assert sum(line["steps"] for line in rates) == 2 * MAX_RATE_LINES + 1
    assert {line["rate"] for line in rates} == {128.0}


def test_the_journal_keeps_the_last_outcome_of_each_trial(run: Record) -> None:
    run.started(TRIAL)
    run.note(TRIAL, Outcome(kind="failed", reason="once", tag="resnet50.D0"))
    run.note(TRIAL, Outcome(kind="ok", tag="resnet50.D0"))
    with run.journal_path.open("a") as file:
        file.write('{"trial": "cut')
    assert run.outcomes() == {"resnet50": Outcome(kind="ok", tag="resnet50.D0")}


def test_what_is_written_reads_back(run: Record) -> None:
    measure(run, steps=1)
    run.finish("complete")
    again = open_run(run.path)
    assert again.plan() == PLAN
    assert again.tags() == ("resnet50.D0",)
    assert (again.facts()["started"], again.facts()["state"]) == (1.0, "complete")


def test_a_run_is_never_written_over(run: Record) -> None:
    with pytest.raises(PreflightError, match="is being written by another milabench"):
        Record.create(run.path, plan=PLAN, facts={}, suite={})
    run.finish("complete")
    with pytest.raises(PreflightError, match="holds a run already"):
        Record.create(run.path, plan=PLAN, facts={}, suite={})


def test_a_folder_that_is_no_run_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(RunDirError, match="holds no run"):
        open_run(tmp_path)


def test_a_plan_of_another_version_is_refused(run: Record) -> None:
    run.plan_path.write_text(json.dumps({"version": 99}))
    with pytest.raises(RunDirError, match="version 99"):
        run.plan()


def test_runs_are_listed_oldest_first(tmp_path: Path, run: Record) -> None:
    other = Record.create(tmp_path / "runs" / "a.later", plan=PLAN, facts={"started": 2.0}, suite={})
    assert runs(tmp_path) == [run.path, other.path]


def test_a_crash_while_sealing_leaves_nothing_twice(run: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    measure(run, steps=3)
    before = run.files(COMMAND.tag).events.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError("power cut")))
        with pytest.raises(OSError, match="power cut"):
            run.seal(COMMAND, Exit(tag=COMMAND.tag, code=0))
    assert run.files(COMMAND.tag).events.read_bytes() == before
    run.seal(COMMAND, Exit(tag=COMMAND.tag, code=0))
    assert sum(event.event == "data" for event in run.events(COMMAND.tag)) == 3


def ranks(run: Record, *counts: list[int], unit: str = "items") -> None:
    """Write the steps of ranks 1 and up: a list of counts each."""
    for rank, items in enumerate(counts, 1):
        rows = StepsWriter(run.path / f"{COMMAND.tag}.rank{rank}.steps", unit=unit, zero_ns=0)
        for index, count in enumerate(items):
            rows.append(index * 10**9 + 1, index * 10**9 + 10**8, count, MEASURED, 0)
        rows.close()


@pytest.mark.parametrize(
    ("counts", "rates"),
    [
        ([[64, 32, 64]], [256.0, 192.0, 256.0]),
        ([[64, 64, 64], [64, 64, 64]], [384.0, 384.0, 384.0]),
        ([[64, 64]], [256.0, 256.0]),  # the last step was not made by all
        ([[]], [128.0, 128.0, 128.0]),  # a rank that measures nothing
    ],
)
def test_the_ranks_of_a_group_are_counted_together_and_timed_by_the_leader(
    run: Record, counts: list[list[int]], rates: list[float]
) -> None:
    measure(run, steps=3)
    ranks(run, *counts)
    run.seal(COMMAND, Exit(tag=COMMAND.tag, code=0))
    found = [event.data["rate"] for event in run.events(COMMAND.tag) if event.event == "data"]
    assert found == rates


def test_ranks_that_count_something_else_are_not_added(run: Record) -> None:
    measure(run, steps=1)
    ranks(run, [7], unit="tokens")
    (steps,) = run.steps(COMMAND.tag)
    assert rates_of(steps) == [128.0]


@pytest.mark.parametrize("order", [(3, 0, 1), (3,), (3, 1)])
def test_the_rank_that_failed_first_is_the_reason(run: Record, order: tuple[int, ...]) -> None:
    measure(run, steps=1)
    for rank in order:
        path = run.files(COMMAND.tag).events if rank == 0 else run.path / f"{COMMAND.tag}.rank{rank}.jsonl"
        writer = EventWriter(path)
        writer.write("error", {"type": "ValueError", "message": f"no {rank}", "trace": ""})
        writer.close()
    found = run.seal(COMMAND, Exit(tag=COMMAND.tag, code=1))
    assert (found.kind, found.reason) == (
        "failed",
        "measured the wanted amount, then exit code 1: rank 3: ValueError: no 3",
    )


@pytest.mark.parametrize(
    ("steps", "ended", "expected"),
    [
        (2, {"code": 0}, 0),
        (2, {"signal": 15, "cause": "limit"}, 0),
        (2, {"code": 3}, 3),
        (2, {"signal": 9}, -9),
        (2, {"code": 0, "cause": "deadline"}, "ERROR"),
        (2, {"cause": "lost"}, "ERROR"),
        (0, {"code": 0}, "ERROR"),
    ],
)
def test_an_end_tells_readers_of_milabench_whether_all_was_well(
    run: Record, steps: int, ended: dict[str, Any], expected: int | str
) -> None:
    measure(run, steps=steps)
    run.seal(COMMAND, Exit(tag=COMMAND.tag, **ended))
    assert list(run.events(COMMAND.tag))[-1].data["return_code"] == expected


def test_a_process_that_failed_before_its_first_step_is_sealed_too(run: Record) -> None:
    measure(run, steps=0)
    found = run.seal(COMMAND, Exit(tag=COMMAND.tag, code=1))
    assert (found.kind, [event.event for event in run.events(COMMAND.tag)][-1]) == ("failed", "end")


def test_the_events_of_a_dead_attempt_are_put_where_no_reader_counts_them(run: Record) -> None:
    run.started(TRIAL)
    measure(run, steps=1)
    run.started(TRIAL)
    kept = sorted(path.name for path in run.attempt_path(1).iterdir())
    assert (run.tags(), kept) == ((), [f"{COMMAND.tag}.jsonl", f"{COMMAND.tag}.steps"])
    assert list(run.path.rglob("*.data")) == []


def test_what_stood_in_the_folder_before_the_run_counts_for_none_of_its_processes(tmp_path: Path) -> None:
    StepsWriter(tmp_path / f"{COMMAND.tag}.steps", unit="items", zero_ns=0).close()
    run = Record.create(tmp_path, plan=PLAN, facts={}, suite={})
    run.started(TRIAL)
    assert [path.name for path in run.attempt_path(1).iterdir()] == [f"{COMMAND.tag}.steps"]


def test_a_glance_at_whether_a_run_is_written_keeps_no_runner_from_it(tmp_path: Path) -> None:
    Record.create(tmp_path / "run", plan=PLAN, facts={}, suite={}).release()
    lock = os.open(tmp_path / "run" / "run.lock", os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_SH)
    threading.Timer(0.05, os.close, [lock]).start()
    Record.reopen(tmp_path / "run").release()


def test_an_end_that_the_process_wrote_is_not_its_end(run: Record) -> None:
    measure(run, steps=1)
    writer = EventWriter(run.files(COMMAND.tag).events)
    ok = {"outcome": "ok"}
    for forged in (ok, {**ok, "seal": None}, {**ok, "seal": "0" * 16}, {"by": "me"}, "ok"):
        writer.write("end", forged)
    writer.close()
    assert run.end(COMMAND.tag) is None
    assert run.seal(COMMAND, Exit(tag=COMMAND.tag, code=7)).kind == "failed"
    ended = run.end(COMMAND.tag)
    assert ended is not None
    assert (ended.kind, ended.reason) == ("failed", "measured the wanted amount, then exit code 7")
    before = run.files(COMMAND.tag).events.read_bytes()
    run.seal(COMMAND, Exit(tag=COMMAND.tag, code=0))
    assert run.files(COMMAND.tag).events.read_bytes() == before


@pytest.mark.parametrize(("losses", "kind"), [([2.0, 1.0], "early_stop"), ([2.0, float("nan")], "failed")])
def test_a_loss_of_a_further_rank_that_is_no_number_fails_the_group(
    run: Record, losses: list[float], kind: str
) -> None:
    measure(run, steps=2)
    for rank, told in ((1, [1.0]), (2, losses)):
        writer = EventWriter(run.path / f"{COMMAND.tag}.rank{rank}.jsonl")
        for loss in told:
            writer.write("data", {"task": "train", "loss": loss})
        writer.close()
    assert run.seal(COMMAND, Exit(tag=COMMAND.tag, code=0)).kind == kind


@pytest.mark.parametrize(
    ("told_ns", "idle"),
    [
        ([], "100 s"),
        ([160], "40 s"),
        ([160, 130], "40 s"),
        ([10**400], "0 s"),  # what a process wrote itself, or another clock
        ([-(10**400)], "100 s"),
    ],
)
def test_a_process_out_of_time_is_told_since_when_nothing_came(tmp_path: Path, told_ns: list[int], idle: str) -> None:
    now_s = 100
    run = Record.create(tmp_path / "run", plan=PLAN, facts={}, suite={}, now_ns=lambda: now_s * 10**9)
    first_seq = run.begin(COMMAND, PLAN.config_of(COMMAND))
    writer = EventWriter(run.files(COMMAND.tag).events, first_seq=first_seq)
    for when_s in told_ns:
        writer.write("phase", {"name": "train"}, time_ns=when_s * 10**9)
    now_s = 200
    found = run.seal(COMMAND, Exit(tag=COMMAND.tag, signal=15, cause="deadline", seconds=100.0))
    assert found.reason.endswith(f"0 steps measured, nothing measured or told in the last {idle}")


def test_what_a_script_writes_by_itself_came_when_the_file_was_written(tmp_path: Path) -> None:
    now_s = 100
    run = Record.create(tmp_path / "run", plan=PLAN, facts={}, suite={}, now_ns=lambda: now_s * 10**9)
    run.begin(COMMAND, PLAN.config_of(COMMAND))
    events = run.files(COMMAND.tag).events
    with events.open("a") as file:
        file.write('{"event": "data", "data": {"task": "train", "rate": 8.0, "units": "items/s"}}\n' * 2)
    os.utime(events, (170, 170))
    now_s = 200
    found = run.seal(COMMAND, Exit(tag=COMMAND.tag, signal=15, cause="deadline", seconds=100.0))
    assert found.reason.endswith("2 steps measured, nothing measured or told in the last 30 s")


def full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_on_a_full_disk_the_end_is_added_in_the_room_that_was_kept(
    run: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure(run, steps=3, warmup=1)
    assert run.reserve_path.stat().st_size > 100_000
    monkeypatch.setattr(Record, "_sealed_anew", full)
    assert run.seal(COMMAND, Exit(tag=COMMAND.tag, code=0)).kind == "early_stop"
    events = list(run.events(COMMAND.tag))
    assert [event.event for event in events] == ["config", "start", "stop", "end"]
    assert [event.seq for event in events] == list(range(4))
    assert run.seal(COMMAND, Exit(tag=COMMAND.tag, code=1)).kind == "failed"
    assert list(run.events(COMMAND.tag)) == events  # a sealed file stays as it is


def test_after_a_full_disk_nothing_more_is_begun(run: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    write, times = journal.Writer._append, itertools.count()

    def append(self: journal.Writer, event: str, **fields: object) -> None:
        if next(times) == 0:
            full()
        write(self, event, **fields)

    monkeypatch.setattr(journal.Writer, "_append", append)
    run.note(TRIAL, Outcome(kind="ok", tag="resnet50"))
    assert run.outcomes() == {"resnet50": Outcome(kind="ok", tag="resnet50")}
    assert not run.reserve_path.exists()
    with pytest.raises(
        DiskFull, match=r"no room is left on the disk of .*/mine.now .*: make room there, then `milabench"
    ):
        run.started(TRIAL)
    run.finish("incomplete")
    assert run.facts()["state"] == "incomplete"


def test_a_run_of_a_job_that_finds_a_full_disk_is_gone_on_with_by_a_job(
    run: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run.path / "slurm.json").write_text("{}")
    monkeypatch.setattr("milabench.room.Room.is_short", lambda _: True)
    with pytest.raises(DiskFull, match=r"then `milabench submit --resume .*/mine.now` goes on \(-- --failed: also"):
        run.started(TRIAL)


def test_no_room_at_all_is_said_and_leaves_nothing_half_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(DiskFull, match="make room there, and type the same again"):
        Record.create(tmp_path / "run", plan=PLAN, facts={}, suite={})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", ["data", "steps", "rank1.jsonl", "rank1.steps"])
def test_a_process_that_makes_folders_of_its_files_harms_itself_only(run: Record, suffix: str) -> None:
    run.begin(COMMAND, {})
    path = run.path / f"{COMMAND.tag}.{suffix}"
    path.unlink(missing_ok=True)
    path.mkdir()
    found = run.seal(COMMAND, Exit(tag=COMMAND.tag, code=1))
    assert (found.kind, found.tag) == ("failed", COMMAND.tag)
    assert not list(run.path.glob("*.partial"))
    run.started(TRIAL)
    run.started(TRIAL)
    assert not path.exists()


def test_a_line_of_many_megabytes_is_kept_and_not_held(run: Record) -> None:
    measure(run, steps=1)
    with run.files(COMMAND.tag).events.open("ab") as file:
        file.write(b"x" * (3 * LINE_BYTES) + b'\n{"event": "data", "data": {"loss": 1}, "seq": 9}\ncut short')
    before = run.files(COMMAND.tag).events.read_bytes()
    run.seal(COMMAND, Exit(tag=COMMAND.tag, code=0))
    assert run.files(COMMAND.tag).events.read_bytes().startswith(before + b"\n")
    events = list(run.events(COMMAND.tag))
    assert [event.event for event in events][-4:] == ["data", "line", "data", "end"]
    assert max(len(str(event.data)) for event in events) <= LINE_BYTES + 100


def test_a_run_that_is_put_on_other_nodes_has_the_groups_of_these(run: Record) -> None:
    run.started(TRIAL)
    measure(run, steps=3)
    run.seal(COMMAND, Exit(tag=COMMAND.tag, cause="lost"))
    leading = replace(COMMAND, tag="resnet50.n4", node="n4", ranks=Ranks(leader="resnet50.n4", first=0, count=2))
    moved = replace(TRIAL, jobs=(replace(TRIAL.jobs[0], commands=(leading,)),))
    run.replan(replace(PLAN, trials=(moved,)))
    assert run.plan().trials == (moved,)
    assert run.group("resnet50.n4").planned.size == 2
    assert sorted(path.name for path in run.attempt_path(1).iterdir()) == ["resnet50.D0.jsonl", "resnet50.D0.steps"]
    run.started(moved)
    assert dict(run.journal().attempts) == {"resnet50": 2}
