"""Runs on a node that is not this machine: the run directory is one like any other, also where the node is lost."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
from pathlib import Path

import pytest

from agents import pid_in
from benchmate import wire
from elsewhere import elsewhere, script, until
from milabench.execute import Interrupt, Setting, TrialEnded, execute
from milabench.execute.hosts.local import LocalHost
from milabench.plan import Command, Job, Plan, Trial
from milabench.record import Record
from milabench.suite import Limit


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """The node's own disk."""
    folder = tmp_path / "node"
    folder.mkdir()
    return folder


def plan(cwd: Path, **argvs: tuple[str, ...]) -> Plan:
    def trial(name: str, argv: tuple[str, ...]) -> Trial:
        command = Command(tag=f"{name}.D0", benchmark=name, node="far", argv=argv, cwd=str(cwd), metrics="file")
        limit = Limit(skip=0, observations=None)
        return Trial(benchmark=name, jobs=(Job(tag=name, commands=(command,), deadline_s=60.0, limit=limit),))

    trials = tuple(trial(name, argv) for name, argv in argvs.items())
    return Plan(phase="run", trials=trials, configs={name: {"name": name} for name in argvs})


async def executed(host: LocalHost, planned: Plan, record: Record) -> dict[str, str]:
    setting = Setting(hosts={"far": host}, records=record, interrupt=Interrupt())
    happenings = [each async for each in execute(planned, setting)]
    return {each.trial.id: each.outcome.kind for each in happenings if isinstance(each, TrialEnded)}


def test_a_run_on_another_node_is_one_like_any_other(tmp_path: Path, disk: Path) -> None:
    planned = plan(tmp_path, steps=script(5000), failing=("sh", "-c", "echo why >&2; exit 3"))
    record = Record.create(tmp_path / "r", plan=planned, facts={}, suite={})

    found = elsewhere(disk, lambda host: executed(host, planned, record))
    assert found == {"steps": "ok", "failing": "failed"}
    record.finish("complete")
    assert record.outcomes()["failing"].reason == "exit code 3: why"
    events = [event.event for event in record.events("steps.D0")]
    assert events[:2] == ["config", "start"]
    assert events[-1] == "end"
    assert [event.seq for event in record.events("steps.D0")] == list(range(len(events)))
    assert sum(map(len, record.steps("steps.D0"))) == 5000
    assert record.log_tail("failing.D0", 1) == ["why"]


def test_a_run_whose_agent_is_killed_is_sealed_with_what_had_come_and_can_be_gone_on_with(
    tmp_path: Path, disk: Path
) -> None:
    line = f"echo $PPID > {tmp_path}/agent; exec {' '.join(map(shlex.quote, script(3000, waits=True)))}"
    planned = plan(tmp_path, steps=("sh", "-c", line))
    record = Record.create(tmp_path / "r", plan=planned, facts={}, suite={})

    async def story(host: LocalHost) -> dict[str, str]:
        running = asyncio.create_task(executed(host, planned, record))
        await until(lambda: wire.count_steps(record.files("steps.D0").steps) == 3000)
        os.kill(pid_in(tmp_path / "agent"), signal.SIGKILL)
        return await running

    assert elsewhere(disk, story) == {"steps": "lost"}
    record.finish("incomplete")
    assert sum(map(len, record.steps("steps.D0"))) == 3000
    assert record.end("steps.D0") is not None
    (tmp_path / "go").touch()
    again = Record.reopen(tmp_path / "r")
    again.sit_down()
    assert elsewhere(disk, lambda host: executed(host, planned, again)) == {"steps": "ok"}
    again.finish("complete")
    assert sum(map(len, again.steps("steps.D0"))) == 3000
    assert (again.attempt_path(1) / "steps.D0.steps").exists()
