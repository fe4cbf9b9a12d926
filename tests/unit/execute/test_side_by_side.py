"""Trials that share no device run at the same time, on a host without processes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from schedules import command, outcomes, trial

from milabench.errors import DiskFull
from milabench.execute import Interrupt, Setting, execute
from milabench.execute.hosts import Launch
from milabench.execute.hosts.fake import HANGS, FakeHost, Story, exits
from milabench.execute.virtual import VirtualTime
from milabench.outcome import Exit, Outcome
from milabench.plan import Command, Job, Plan, Trial
from milabench.record import Record
from milabench.rundir import RunDir


def on(name: str, *devices: int) -> Trial:
    """Return a trial with a process on each of some devices, of one without any."""
    tags = [replace(command(f"{name}.D{device}"), devices=(device,)) for device in devices] or [command(name)]
    return Trial(benchmark=name, jobs=tuple(Job(tag=each.tag, commands=(each,), deadline_s=60.0) for each in tags))


def beginnings(folder: Path, *trials: Trial, seconds: dict[str, float]) -> tuple[dict[str, float], dict[str, object]]:
    """Run trials side by side; return when each began (s), and whom each met."""
    began: dict[str, float] = {}
    time = VirtualTime()

    def script(launch: Launch) -> Story:
        began.setdefault(launch.command.benchmark, round(time.seconds, 3))
        return exits(0, steps=1, step_s=seconds[launch.command.benchmark])

    outcomes(Plan(phase="run", trials=trials), FakeHost(script), folder, side_by_side=True, time=time)
    return began, dict(RunDir(folder / "run").journal().neighbours)


def test_side_by_side_trials_share_no_device_and_say_whom_they_met(tmp_path: Path) -> None:
    trials = (on("a", 0, 1), on("b", 1, 2), on("c", 3), on("d"), on("e", 0))
    began, met = beginnings(tmp_path, *trials, seconds={"a": 10, "b": 5, "c": 12, "d": 1, "e": 1})
    assert began == {"a": 0.0, "c": 0.0, "b": 10.0, "d": 15.0, "e": 16.0}
    assert met == {"a": ("c",), "b": ("c",), "c": ("a", "b"), "d": (), "e": ()}


def test_a_trial_that_waits_for_a_device_is_not_overtaken_on_it(tmp_path: Path) -> None:
    trials = (on("long", 0), on("both", 0, 1), on("short", 1))
    began, _ = beginnings(tmp_path, *trials, seconds={"long": 10, "both": 1, "short": 1})
    assert began == {"long": 0.0, "both": 10.0, "short": 11.0}


class Full(Record):
    """A record whose disk is full for one thing: a method, of one trial or process."""

    where = ("", "")

    def _check(self, method: str, name: str) -> None:
        if self.where == (method, name):
            raise DiskFull("no room is left")

    def started(self, trial: Trial) -> None:
        self._check("started", trial.id)
        super().started(trial)

    def begin(self, command: Command, config: object) -> int:
        self._check("begin", command.tag)
        return super().begin(command, config)  # type: ignore[arg-type]

    def seal(self, command: Command, ended: Exit) -> Outcome:
        self._check("seal", command.tag)
        return super().seal(command, ended)


@pytest.mark.parametrize(
    ("method", "name", "sealed"),
    [
        ("started", "late", {"long.D0": "lost", "soon.D1": "ok"}),
        ("begin", "late.D1", {"long.D0": "lost", "soon.D1": "ok"}),
        ("seal", "soon.D1", {"long.D0": "lost"}),
    ],
)
def test_what_runs_beside_a_trial_that_cannot_go_on_is_ended_and_sealed(
    tmp_path: Path, method: str, name: str, sealed: dict[str, str]
) -> None:
    def script(launch: Launch) -> Story:
        return HANGS if launch.command.benchmark == "long" else exits(0, steps=1)

    plan, time = Plan(phase="run", trials=(on("long", 0), on("soon", 1), on("late", 1))), VirtualTime()
    record, host = Full.create(tmp_path / "run", plan=plan, facts={}, suite={}, now_ns=time.now_ns), FakeHost(script)
    record.where = (method, name)  # type: ignore[attr-defined]

    async def collect() -> None:
        setting = Setting(hosts={"local": host}, records=record, interrupt=Interrupt(), side_by_side=True)
        async for _ in execute(plan, setting):
            pass

    with pytest.raises(DiskFull):
        time.run(collect())
    ends = {tag: record.end(tag) for tag in record.tags()}
    assert {tag: end.kind for tag, end in ends.items() if end is not None} == sealed
    assert time.seconds < 1
    outcomes = {trial: outcome.kind for trial, outcome in record.journal().outcomes.items()}
    assert outcomes["long"] == "lost"


@pytest.mark.parametrize(("method", "name"), [("begin", "a.n1"), ("seal", "a.n0"), ("seal", "a.n1")])
def test_the_processes_of_a_job_that_breaks_are_ended_and_awaited(tmp_path: Path, method: str, name: str) -> None:
    def script(launch: Launch) -> Story:
        return replace(HANGS, ignores_term=True) if launch.command.tag != name else exits(0, steps=1)

    plan, time = Plan(phase="run", trials=(trial("a", "a.n0", "a.n1"),)), VirtualTime()
    record, host = Full.create(tmp_path / "run", plan=plan, facts={}, suite={}, now_ns=time.now_ns), FakeHost(script)
    record.where = (method, name)  # type: ignore[attr-defined]
    interrupt = Interrupt()

    async def collect() -> None:
        async for _ in execute(plan, Setting(hosts={"local": host}, records=record, interrupt=interrupt)):
            pass

    with pytest.raises(DiskFull):
        time.run(collect())
    assert not interrupt.ends_something
    other = {"a.n0": "a.n1", "a.n1": "a.n0"}[name]
    assert (record.end(other) is not None) == (other in host.launched)
