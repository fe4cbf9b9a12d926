"""A whole run seen from outside: its state, what is done, runs and waits, and how long it can take."""

from __future__ import annotations

import json
import platform
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmate.wire import GOOD, MEASURED, StepsWriter, encode_event
from milabench import journal
from milabench.console.status import lines, overview
from milabench.errors import RunDirError
from milabench.follow.journal import GrowingJournal
from milabench.follow.run import Status, Watch
from milabench.journal import Folded
from milabench.outcome import Kind, Outcome
from milabench.plan.types import Command, Job, Plan, Trial
from milabench.record import Record
from milabench.render.status import document
from milabench.rundir import RunDir
from milabench.suite.types import Limit

S = 10**9


def trial(name: str, deadline_s: float | None = 600.0, count: int = 1) -> Trial:
    tags = [name] if count == 1 else [f"{name}.{number}" for number in range(count)]
    commands = [Command(tag=tag, benchmark=name, node="local", argv=("x",), cwd="/") for tag in tags]
    jobs = tuple(Job(tag=each.tag, commands=(each,), deadline_s=deadline_s, limit=Limit(skip=2)) for each in commands)
    return Trial(benchmark=name, jobs=jobs)


@dataclass
class Clock:
    now_s: int = 1000

    def ns(self) -> int:
        return self.now_s * S

    def s(self) -> float:
        return float(self.now_s)


@dataclass
class Run:
    """A run as its runner writes it, at times that the test sets."""

    folder: Path
    trials: tuple[Trial, ...] = (trial("a"), trial("b", count=2), trial("c"))
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        plan, facts = Plan(phase="run", trials=self.trials), {"started": 990.0}
        self.record = Record.create(self.folder / "run", plan=plan, facts=facts, suite={}, now_ns=self.clock.ns)

    def begin(self, each: Trial) -> None:
        self.record.started(each)
        for job in each.jobs:
            self.record.begin(job.commands[0], {})

    def watch(self) -> Watch:
        return Watch(RunDir(self.record.path), self.clock.s)

    def look(self) -> Status:
        return self.watch().look(10.0)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


def test_a_run_that_has_just_begun_waits(run: Run) -> None:
    found = run.look()
    assert (found.state, found.host, found.began, found.since) == ("running", platform.node(), 990.0, 1000.0)
    assert (found.trials, found.waiting, found.left_s) == (("a", "b", "c"), 3, 1800.0)


def test_what_has_ended_counts_no_more_and_what_runs_for_what_is_left_of_it(run: Run) -> None:
    a, b, _ = run.trials
    run.begin(a)
    run.record.note(a, Outcome(kind="failed", reason="exit code 1"))
    run.begin(b)
    run.clock.now_s += 100
    watch = run.watch()
    found = watch.look(10.0)
    assert (found.outcomes["a"].kind, found.running, found.waiting) == ("failed", {"b": 1000.0}, 1)
    assert found.left_s == 500.0 + 600.0
    assert [each.tag for each in found.processes] == ["b.0", "b.1"]
    assert found.deadlines == {"b.0": 600.0, "b.1": 600.0}
    with run.record.files("b.1").events.open("ab") as file:
        file.write(encode_event("data", {"loss": 0.25}, time_ns=1, seq=2))
    assert [each.loss for each in watch.look(10.0).processes] == [None, 0.25]
    run.record.note(b, Outcome(kind="ok"))
    found = watch.look(10.0)
    assert (found.processes, found.running, found.left_s) == ([], {}, 600.0)
    assert watch.place("c") == "[3/3]"


@pytest.mark.parametrize("kind", ["interrupted", "lost"])
def test_a_trial_that_has_to_be_run_again_is_not_done(run: Run, kind: Kind) -> None:
    a, b, _ = run.trials
    for each, outcome in ((a, Outcome(kind="failed")), (b, Outcome(kind=kind))):
        run.begin(each)
        run.record.note(each, outcome)
    run.record.finish("interrupted")
    found = run.look()
    assert (found.done, found.undecided, found.waiting, found.is_over) == (1, {kind: 1}, 1, True)
    trials = document(found)["trials"]
    assert trials == {"total": 3, "done": 1, "undecided": 1, "running": [], "waiting": 1}
    assert list(lines(found, {}, 100, 2000.0))[1] == f"trials: 1 of 3 done (1 failed), 1 {kind}, 1 not begun"
    assert overview(found, {}, 2000.0).heading.startswith("run  interrupted  1 of 3 done, 1 failed  ")


def test_how_long_is_unknown_where_a_trial_has_no_limit(tmp_path: Path) -> None:
    assert Run(tmp_path, (trial("a"), trial("b", None))).look().left_s is None


@pytest.mark.parametrize("state", ["complete", "interrupted", "incomplete", "failed"])
def test_a_run_that_is_over_says_how(run: Run, state: str) -> None:
    run.record.finish(state)
    found = run.look()
    assert (found.state, found.is_over, found.left_s) == (state, True, None)


def test_a_run_that_nobody_writes_any_more_was_killed(run: Run) -> None:
    run.begin(run.trials[0])
    run.record.release()
    found = run.look()
    assert (found.state, found.running, found.usage) == ("killed", {"a": 1000.0}, {})


def test_a_run_that_is_gone_on_with_runs_again(run: Run) -> None:
    run.begin(run.trials[0])
    run.record.finish("interrupted")
    run.clock.now_s += 3600
    again = Record.reopen(run.record.path, run.clock.ns)
    again.sit_down()
    again.started(run.trials[0])
    found = run.look()
    assert (found.state, found.since, found.running) == ("running", 4600.0, {"a": 4600.0})
    assert found.processes[0].stage == "waiting"  # what the first attempt left counts no more
    again.release()


def test_a_run_that_goes_on_on_other_nodes_is_followed_there(run: Run) -> None:
    run.begin(run.trials[0])
    watch = run.watch()
    assert [each.tag for each in watch.look(10.0).processes] == ["a"]
    run.record.finish("incomplete")
    again = Record.reopen(run.record.path, run.clock.ns)
    (job,) = run.trials[0].jobs
    moved = replace(job, tag="a.n4", commands=(replace(job.commands[0], tag="a.n4", node="n4"),))
    there = replace(run.trials[0], jobs=(moved,))
    again.replan(Plan(phase="run", trials=(there, *run.trials[1:])))
    assert (watch.look(10.0).running, again.attempt_path(1).joinpath("a.jsonl").exists()) == ({}, True)
    again.started(there)
    again.begin(moved.commands[0], {})
    found = watch.look(10.0)
    assert ([*found.running], [each.tag for each in found.processes]) == (["a"], ["a.n4"])
    again.release()


def test_of_a_run_of_another_machine_nothing_here_can_tell_whether_it_goes_on(run: Run) -> None:
    run.record.release()
    path = run.record.journal_path
    path.write_text(path.read_text().replace(json.dumps(platform.node()), '"elsewhere"'))
    found = run.look()
    assert (found.state, found.is_over, found.host) == ("unknown", False, "elsewhere")


@pytest.mark.parametrize("facts", [{"state": "complete"}, {"state": "interrupted"}, {}])
def test_runs_without_sittings_say_their_state_in_their_facts(run: Run, facts: dict[str, Any]) -> None:
    run.record.finish("complete")
    ended = {"trial": "a", "outcome": {"kind": "ok", "reason": "", "tag": "a"}}
    run.record.journal_path.write_text(f'{json.dumps(ended)}\n{{"trial": "b", "outc')
    run.record.facts_path.write_text(json.dumps(facts))
    found = run.look()
    assert (found.state, list(found.outcomes), found.waiting) == (facts.get("state", "killed"), ["a"], 2)


def test_a_process_is_measured_only_where_its_environment_says_that_it_is_the_one(run: Run) -> None:
    import os

    run.begin(run.trials[0])
    with run.record.files("a").events.open("ab") as file:
        file.write(encode_event("hello", {"pid": os.getpid()}, time_ns=1, seq=2))
    found = run.look()
    assert (found.processes[0].pid, found.usage) == (os.getpid(), {})


class Ending(RunDir):
    """A run whose runner ends it just before its lock is looked at."""

    record: Record

    def is_being_written(self) -> bool:
        self.record.finish("complete")
        return super().is_being_written()


def test_devices_are_those_of_the_latest_sample_while_that_is_of_now(run: Run) -> None:
    devices = [{"id": 0, "load": 0.5}]
    sample = {"event": "sample", "time_ns": run.clock.ns(), "data": {"devices": devices}}
    run.record.monitor_path("local").write_text(json.dumps(sample) + "\n")
    run.begin(run.trials[0])
    assert run.look().devices == [{**devices[0], "node": "local"}]
    run.clock.now_s += 60
    assert run.look().devices == []


@pytest.mark.parametrize("ahead_s", [0, 3600, -3600])
def test_what_a_node_says_by_another_clock_is_of_now(run: Run, ahead_s: int) -> None:
    run.record.add_facts(nodes={"local": {"clock_offset_ns": ahead_s * S}})
    there_ns = run.clock.ns() + ahead_s * S
    sample = {"event": "sample", "time_ns": there_ns, "data": {"devices": [{"id": 0, "load": 0.5}]}}
    run.record.monitor_path("local").write_text(json.dumps(sample) + "\n")
    run.begin(run.trials[0])
    writer = StepsWriter(run.record.files("a").steps, unit="items", zero_ns=there_ns - S)
    writer.append(0, S // 2, 8, MEASURED, GOOD)
    writer.close()
    found = run.look()
    assert ([each.last_step for each in found.processes], len(found.devices)) == ([run.clock.s() - 0.5], 1)


def test_a_rate_that_a_node_writes_by_another_clock_is_of_now(run: Run) -> None:
    run.record.add_facts(nodes={"local": {"clock_offset_ns": 3600 * S}})
    run.begin(run.trials[0])
    rate = {"task": "train", "rate": 2.0, "units": "items/s"}
    with run.record.files("a").events.open("ab") as file:
        file.write(encode_event("data", rate, time_ns=run.clock.ns() + 3600 * S, seq=2))
    assert [each.last_step for each in run.look().processes] == [run.clock.s()]


def test_a_run_that_ends_while_it_is_looked_at_was_not_killed(run: Run) -> None:
    run.begin(run.trials[0])
    seen = Ending(run.record.path)
    seen.record = run.record
    run.record.note(run.trials[0], Outcome(kind="ok"))
    found = Watch(seen, run.clock.s).look(10.0)
    assert (found.state, list(found.outcomes), found.left_s) == ("complete", ["a"], None)


def test_a_run_of_before_that_ends_while_it_is_looked_at_was_not_killed(run: Run) -> None:
    class Older(RunDir):
        def is_being_written(self) -> bool:
            run.record.release()
            self.facts_path.write_text(json.dumps({"state": "complete", "ended": 1010.0}))
            return super().is_being_written()

    run.record.journal_path.write_text("")
    found = Watch(Older(run.record.path), run.clock.s).look(10.0)
    assert (found.state, found.ended) == ("complete", 1010.0)


def test_what_was_read_of_a_run_is_not_read_again(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    fed, facts = list[bytes](), list[Path]()
    feed, read = Folded.feed, RunDir.facts
    monkeypatch.setattr(Folded, "feed", lambda self, lines: (fed.extend(lines), feed(self, lines)))
    monkeypatch.setattr(RunDir, "facts", lambda self: facts.append(self.path) or read(self))
    a, b, c = run.trials
    watch = run.watch()
    for each in (a, b, c):
        run.begin(each)
        watch.look(10.0)
        run.record.note(each, Outcome(kind="ok"))
        watch.look(10.0)
        watch.look(10.0)
    assert len(fed) == len(run.record.journal_path.read_bytes().splitlines()) == 7
    assert len(facts) == 1
    run.record.finish("complete")
    facts.clear()
    assert watch.look(10.0).ended == watch.look(10.0).ended == 1000.0
    assert len(facts) == 1


@given(cuts=st.lists(st.integers(0, 900), max_size=8))
@settings(max_examples=50, deadline=None)
def test_a_journal_read_in_pieces_says_what_it_says_as_a_whole(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int]
) -> None:
    path = tmp_path_factory.mktemp("pieces") / "journal"
    writer = journal.Writer(path, lambda: 5)
    writer.sitting("here", "1.0")
    for name in ("a", "b", "a"):
        writer.started(name, 1)
        writer.ended(name, 1, Outcome(kind="failed", reason="lä\nßt", tag=name), ["b"])
    writer.retired("a", 1)
    writer.close()
    content = path.read_bytes() + b"noise\n[1]\n"
    path.write_bytes(b"")
    growing = GrowingJournal(path)
    places = sorted({*(each for each in cuts if each < len(content)), len(content)})
    for begin, end in zip([0, *places], places, strict=False):
        with path.open("ab") as file:
            file.write(content[begin:end])
        growing.read()
    assert growing.journal == journal.read(path)


def test_a_journal_in_place_of_another_is_read_from_its_beginning(run: Run) -> None:
    run.begin(run.trials[0])
    watch = run.watch()
    assert list(watch.look(10.0).running) == ["a"]
    lines = run.record.journal_path.read_bytes().splitlines(keepends=True)
    run.record.journal_path.write_bytes(lines[0])
    assert watch.look(10.0).running == {}


@pytest.mark.parametrize(
    "facts", [[1], {"state": []}, {"state": {"a": 1}, "started": "x", "ended": [1]}, {"started": 10**400}, "x", None]
)
def test_odd_facts_say_nothing(run: Run, facts: object) -> None:
    run.record.journal_path.write_text("")
    run.record.facts_path.write_text(json.dumps(facts))
    found = run.look()
    assert (found.state, found.began, found.since, found.ended) == ("running", None, None, None)


def test_a_folder_without_a_plan_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "old.data").write_text("{}\n")
    with pytest.raises(RunDirError, match="`milabench report` reads it"):
        Watch(RunDir(tmp_path))
