"""The schedule of a plan over several nodes, on hosts without processes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from milabench.errors import HostLost, PreflightError
from milabench.execute import Happening, Interrupt, Setting, Travelling, TrialEnded, execute
from milabench.execute.hosts import Launch
from milabench.execute.hosts.fake import HANGS, FakeHost, FakeProcess, Story, exits
from milabench.execute.travel import SoFar
from milabench.execute.virtual import VirtualTime
from milabench.outcome import Outcome
from milabench.plan import Command, Job, Once, Plan, Staged, Trial
from milabench.record import Record
from milabench.rundir import RunDir

STAGED = (Staged(source="/s", target="/t"),)


def command(node: str, name: str = "x") -> Command:
    return Command(tag=f"{name}.{node}", benchmark=name, node=node, argv=("x",), cwd="/")


def job(*nodes: str, name: str = "x", staged: tuple[Staged, ...] = ()) -> Job:
    commands = tuple(command(node, name) for node in nodes)
    return Job(tag=".".join((name, *nodes)), commands=commands, deadline_s=60.0, staged=staged)


def happenings(
    folder: Path, hosts: Mapping[str, FakeHost], *trials: Trial, bases: Mapping[str, str] | None = None, **more: Any
) -> list[Happening]:
    plan, time = Plan(phase="run", trials=trials), VirtualTime()
    record = Record.create(folder / "run", plan=plan, facts={}, suite={}, now_ns=time.now_ns)

    async def collect() -> list[Happening]:
        setting = Setting(hosts=hosts, records=record, bases=bases or {}, **{"interrupt": Interrupt(), **more})
        return [each async for each in execute(plan, setting)]

    return time.run(collect())


def outcomes(folder: Path, hosts: Mapping[str, FakeHost], *trials: Trial, **more: Any) -> dict[str, Outcome]:
    happened = happenings(folder, hosts, *trials, **more)
    return {each.trial.id: each.outcome for each in happened if isinstance(each, TrialEnded)}


def end_of(folder: Path, tag: str) -> dict[str, Any]:
    (end,) = (event.data for event in RunDir(folder / "run").events(tag) if event.event == "end")
    return dict(end)


def ends(folder: Path, *tags: str) -> dict[str, str]:
    return {tag: end_of(folder, tag)["outcome"] for tag in tags}


def staged(hosts: Mapping[str, FakeHost]) -> list[str]:
    return [name for name, host in hosts.items() for op, _ in host.requests if op == "stage"]


class Gone(FakeHost):
    """A node whose agent ended, and which cannot be reached."""

    async def start(self, launch: Launch) -> FakeProcess:
        self.launched.append(launch.command.tag)
        raise HostLost("no route to host")


def test_folders_are_copied_to_every_base_of_a_jobs_nodes_once(tmp_path: Path) -> None:
    hosts = {name: FakeHost() for name in ("a", "b", "c")}
    wide = Trial(benchmark="x", jobs=(job("a", "b", "c", staged=STAGED),))
    outcomes(tmp_path, hosts, wide, bases={"a": "a", "b": "b", "c": "a"})
    assert staged(hosts) == ["a", "b"]


def test_folders_are_copied_on_the_node_that_keeps_a_base_even_where_it_runs_nothing(tmp_path: Path) -> None:
    hosts = {name: FakeHost() for name in ("a", "b")}
    outcomes(tmp_path, hosts, Trial(benchmark="x", jobs=(job("b", staged=STAGED),)), bases={"a": "a", "b": "a"})
    assert staged(hosts) == ["a"]


def test_a_node_that_goes_away_takes_its_own_processes_alone(tmp_path: Path) -> None:
    class Leaving(FakeHost):
        async def start(self, launch: Launch) -> FakeProcess:
            process = await super().start(launch)
            await self.lose()
            return process

    hosts = {"a": FakeHost(), "b": Leaving(lambda _: HANGS), "c": FakeHost()}
    each = Trial(benchmark="x", jobs=tuple(job(name) for name in hosts))
    assert outcomes(tmp_path, hosts, each)["x"].kind == "lost"
    assert ends(tmp_path, "x.a", "x.b", "x.c") == {"x.a": "ok", "x.b": "lost", "x.c": "ok"}


def test_a_node_that_cannot_be_reached_is_lost_and_its_process_says_why(tmp_path: Path) -> None:
    hosts = {"a": FakeHost(), "b": Gone()}
    each = Trial(benchmark="x", jobs=(job("a"), job("b")))
    after = Trial(benchmark="y", jobs=(job("a", name="y"),))
    found = outcomes(tmp_path, hosts, each, after)
    assert found["x"] == Outcome(kind="lost", reason="no route to host", tag="x.b")
    assert found["y"].kind == "ok"
    assert ends(tmp_path, "x.a", "x.b") == {"x.a": "ok", "x.b": "lost"}
    assert end_of(tmp_path, "x.b")["reason"] == "the agent or its node went away; no route to host"


@pytest.mark.parametrize("staged", [(), STAGED])
def test_what_waits_for_a_lost_node_when_the_run_is_ended_is_interrupted(
    tmp_path: Path, staged: tuple[Staged, ...]
) -> None:
    interrupt = Interrupt()

    class Reconnecting(FakeHost):
        async def start(self, launch: Launch) -> FakeProcess:
            await self.request("stage")
            raise AssertionError

        async def request(self, op: str, **fields: Any) -> dict[str, Any]:
            interrupt.set()
            raise HostLost("the agent is gone")

    found = outcomes(
        tmp_path, {"a": Reconnecting()}, Trial(benchmark="x", jobs=(job("a", staged=staged),)), interrupt=interrupt
    )
    assert found["x"] == Outcome(kind="interrupted", reason="interrupted by the operator", tag="x.a")
    if not staged:
        assert ends(tmp_path, "x.a") == {"x.a": "interrupted"}


@pytest.mark.parametrize(("takes_s", "lines"), [(9.0, 0), (25.0, 3)])
def test_how_far_what_a_job_needs_is_on_its_way_is_told_where_it_takes_long(
    tmp_path: Path, takes_s: float, lines: int
) -> None:
    class Far(FakeHost):
        async def stage(self, staged: Sequence[Mapping[str, Any]], so_far: SoFar | None = None) -> None:
            assert so_far is not None
            so_far.total = 10 << 20
            for _ in range(10):
                await asyncio.sleep(takes_s / 10)
                so_far.told(1 << 20, 1 << 20)

    trial = Trial(benchmark="x", jobs=(job("a", staged=STAGED),))
    happened = happenings(tmp_path, {"a": Far(remote=True)}, trial)
    told = [each.told for each in happened if isinstance(each, Travelling)]
    assert (
        told
        == [
            "what x.a needs is on its way to node a: 3.0 MiB of 10.0 MiB",
            "what x.a needs is on its way to node a: 7.0 MiB of 10.0 MiB",
            "what x.a needs is on node a: 10.0 MiB sent",
        ][:lines]
    )


def test_processes_that_belong_to_one_on_a_node_that_is_gone_are_ended(tmp_path: Path) -> None:
    hosts = {"a": FakeHost(lambda _: HANGS), "b": Gone()}
    assert outcomes(tmp_path, hosts, Trial(benchmark="x", jobs=(job("a", "b"),)))["x"].kind == "lost"
    assert ends(tmp_path, "x.a", "x.b") == {"x.a": "killed", "x.b": "lost"}


def test_processes_that_belong_to_one_that_failed_need_not_wait_for_what_it_wrote(tmp_path: Path) -> None:
    hosts = {"a": FakeHost(lambda _: HANGS), "b": FakeHost(lambda _: exits(3, sends_s=30.0))}
    found = outcomes(tmp_path, hosts, Trial(benchmark="x", jobs=(job("a", "b"),)))["x"]
    assert (found.kind, found.reason, found.tag) == ("failed", "exit code 3", "x.b")
    assert [end_of(tmp_path, tag)["seconds"] for tag in ("x.a", "x.b")] == [0.0, 0.0]


def test_folders_that_do_not_reach_a_node_that_is_gone_end_nothing_else(tmp_path: Path) -> None:
    class Silent(FakeHost):
        async def request(self, op: str, **fields: object) -> dict[str, object]:
            raise HostLost("no route to host")

    hosts = {"a": FakeHost(lambda _: Story(steps=50)), "b": Silent()}
    each = Trial(benchmark="x", jobs=(job("a"), job("b", staged=STAGED)))
    assert outcomes(tmp_path, hosts, each)["x"].kind == "lost"
    assert ends(tmp_path, "x.a") == {"x.a": "ok"}


@pytest.mark.parametrize(("remote", "said"), [(True, "on node b: "), (False, "")])
def test_a_node_that_cannot_take_folders_is_named(tmp_path: Path, remote: bool, said: str) -> None:
    class Full(FakeHost):
        async def request(self, op: str, **fields: object) -> dict[str, object]:
            raise PreflightError("receive failed: No space left on device: /base/x")

    hosts = {"a": FakeHost(), "b": Full(remote=remote)}
    found = outcomes(tmp_path, hosts, Trial(benchmark="x", jobs=(job("a"), job("b", staged=STAGED))))
    assert found["x"].reason == f"{said}receive failed: No space left on device: /base/x"


@pytest.mark.parametrize("state", ["needed", "done"])
def test_what_is_needed_once_is_asked_of_each_node_that_makes_it(tmp_path: Path, state: str) -> None:
    hosts = {name: FakeHost(replies={"begin": {"state": state}}) for name in ("a", "b")}
    once = Once(record="r", folder=None, base={}, parts={})
    made = Trial(benchmark="x", jobs=tuple(replace(job(name), once=once, sequence=True) for name in hosts))
    outcomes(tmp_path, hosts, made)
    asked = {name: [op for op, _ in host.requests if op in ("begin", "end")] for name, host in hosts.items()}
    both = ["begin", "end"] if state == "needed" else ["begin"]
    assert asked == {"a": both, "b": both}
