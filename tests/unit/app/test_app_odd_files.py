"""Whatever stands in run.json and in the journal, a run is reported and its status told."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milabench.app.report import report
from milabench.app.status import Wanted, status
from milabench.follow import Follower
from milabench.outcome import Outcome, Seen
from milabench.plan.types import Command, Job, Plan, Trial
from milabench.record import Record
from milabench.render import FORMATS
from milabench.rundir import RunDir
from milabench.summary import reading

FACTS = {
    "version": 1,
    "milabench": "1.0",
    "started": 990.0,
    "ended": 1000.0,
    "state": "complete",
    "name": "mine",
    "environments": {"torch": ["numpy==2.0"]},
    "changed": [{"driver": "1 → 2"}],
    "multirun": {"name": "x1", "options": {"sizer.mult": 1}},
    "system": {
        "arch": "cuda",
        "cpus": 4,
        "cpu_name": "EPYC",
        "devices": [{"id": 0, "name": "A100"}],
        "nodes": [{"cpus": 4, "devices": [{"id": 0, "name": "A100"}]}],
    },
}
ODD = (
    st.none()
    | st.booleans()
    | st.sampled_from([0, -1, 10**15, 10**400, 1e308, -0.5, float("nan"), float("inf")])
    | st.sampled_from(["", "x", "\ud800", "\x1b[2J", "complete", "cpu", [], {}, [1], [[]], {"a": 1}, [{"a": []}]])
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of each value within a value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, each in inner for place in places(each, (*path, key)))]


def mutated(value: Any, path: tuple[Any, ...], odd: Any) -> Any:
    """Return a value with another one at a path."""
    if not path:
        return odd
    copy = value.copy()
    copy[path[0]] = mutated(value[path[0]], path[1:], odd)
    return copy


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """Return a run of three benchmarks: one has ended, one runs, one waits."""
    commands = [Command(tag=f"{name}.D0", benchmark=name, node="n", argv=("x",), cwd="/") for name in "abc"]
    trials = tuple(
        Trial(benchmark=each.benchmark, jobs=(Job(tag=each.tag, commands=(each,), deadline_s=60.0),))
        for each in commands
    )
    plan = Plan(phase="run", trials=trials, configs={name: {"name": name} for name in "abc"})
    path = tmp_path_factory.mktemp("odd") / "run"
    record = Record.create(path, plan=plan, facts=FACTS, suite={}, now_ns=lambda: 1000 * 10**9)
    for each, command in zip(trials[:2], commands, strict=False):
        record.started(each)
        record.begin(command, {"name": command.benchmark})
    record.note(trials[0], Outcome(kind="failed", reason="exit code 1", tag="a.D0"))
    record.release()
    return record


@pytest.mark.parametrize(
    ("rate", "counts"), [(1e99, True), (1e200, False), (10**400, False), (True, False), ("9", False)]
)
def test_a_rate_counts_in_status_where_it_counts_in_the_report(tmp_path: Path, rate: object, counts: bool) -> None:
    event = {"event": "data", "data": {"task": "train", "rate": rate, "units": "items/s"}, "time_ns": 1}
    (tmp_path / "a.data").write_text(json.dumps(event) + "\n")
    follower = Follower(RunDir(tmp_path).files)
    follower.follow("a")
    follower.turn()
    (found,) = follower.progress()
    (line,) = RunDir(tmp_path).events("a")
    rates = list(reading.read([json.dumps(event).encode()]).rates)
    seen = Seen.of([line], expects_rate=True)
    assert (found.measured, len(rates), seen.rates) == (int(counts),) * 3


def read(run: RunDir) -> None:
    """Report the run in every form, and tell its status in both."""
    summary = report([str(run.path)], run.path.parent)
    for render in FORMATS.values():
        render(summary)
    for as_json in (False, True):
        status(Wanted(run=str(run.path), base=run.path.parent, as_json=as_json), io.StringIO())


@given(data=st.data())
@settings(deadline=None, max_examples=150)
def test_no_value_in_the_facts_is_a_bug(run: RunDir, data: st.DataObject) -> None:
    facts: Any = FACTS
    for _ in range(data.draw(st.integers(1, 3))):
        facts = mutated(facts, data.draw(st.sampled_from(places(facts))), data.draw(ODD))
    run.facts_path.write_text(json.dumps(facts))
    read(run)


@pytest.mark.parametrize(
    "content", ['{"changed": [1]}', '{"system": {"devices": [1]}}', "[" * 100_000, "", "\x00", '{"started": "x"}']
)
def test_no_facts_are_a_bug(run: RunDir, content: str) -> None:
    run.facts_path.write_text(content)
    read(run)


@given(data=st.data())
@settings(deadline=None, max_examples=150)
def test_no_value_in_the_journal_is_a_bug(run: RunDir, data: st.DataObject) -> None:
    whole = run.journal_path.read_bytes()
    lines = [json.loads(line) for line in whole.splitlines()]
    lines.append({"time_ns": 5, "event": "finished", "state": "failed"})
    for _ in range(data.draw(st.integers(1, 3))):
        number = data.draw(st.integers(0, len(lines) - 1))
        lines[number] = mutated(lines[number], data.draw(st.sampled_from(places(lines[number]))), data.draw(ODD))
    run.facts_path.write_text(json.dumps({**FACTS, "state": None}))
    try:
        run.journal_path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        read(run)
    finally:
        run.journal_path.write_bytes(whole)
