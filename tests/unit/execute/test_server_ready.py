"""A client starts when its server is ready, and not at all where that does not come about."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from milabench.execute import Interrupt, Setting, TrialEnded, execute
from milabench.execute.hosts import Launch
from milabench.execute.hosts.fake import HANGS, FakeHost, Reply, Story, exits
from milabench.execute.virtual import VirtualTime
from milabench.outcome import Exit, Outcome
from milabench.plan import Command, Job, Plan, Trial
from milabench.plan.types import Ranks
from milabench.record import Record
from milabench.suite.types import Ready

PORT = Ready(port=8000, within_s=30.0)


def run(
    folder: Path,
    ready: Ready,
    server: Story = HANGS,
    reply: Reply | None = None,
    at_start: Callable[[Launch], None] = lambda _: None,
) -> tuple[Outcome, float, dict[str, FakeHost]]:
    """Return what came of a client and its server on another node, after how long, and the hosts."""
    time = VirtualTime()
    common: dict[str, Any] = {"benchmark": "a", "argv": ("x",), "cwd": "/there"}
    commands = (
        Command(tag="a.server", node="n1", metrics="none", service=True, ready=ready, **common),
        Command(tag="a.client", node="n0", **common),
    )
    plan = Plan(phase="run", trials=(Trial(benchmark="a", jobs=(Job(tag="a", commands=commands, deadline_s=600.0),)),))
    record = Record.create(folder / "run", plan=plan, facts={}, suite={}, now_ns=time.now_ns)

    def script(launch: Launch) -> Story:
        at_start(launch)
        return server if launch.command.service else Story()

    async def collect() -> tuple[Outcome, dict[str, FakeHost]]:
        hosts = {name: FakeHost(script, None if reply is None else {"ready": reply}) for name in ("n0", "n1")}
        setting = Setting(hosts=hosts, records=record, interrupt=Interrupt())
        (found,) = [each.outcome async for each in execute(plan, setting) if isinstance(each, TrialEnded)]
        return found, hosts

    outcome, hosts = time.run(collect())
    return outcome, time.seconds, hosts


def after(looks: int) -> Reply:
    """Return the reply of a server that is ready at so many looks."""
    count = iter(range(looks))
    return lambda _: {"event": "ready", "why": "port 8000: connection refused" if next(count, None) is not None else ""}


def test_the_client_starts_when_the_server_is_ready(tmp_path: Path) -> None:
    found, seconds, hosts = run(tmp_path, PORT, reply=after(10))
    assert found == Outcome(kind="ok", tag="a.client")
    assert round(seconds, 3) == 2.3  # ten looks, 0.2 s from one to the next, and three steps of 0.1 s
    assert {name: host.launched for name, host in hosts.items()} == {"n0": ["a.client"], "n1": ["a.server"]}
    asked = [fields for op, fields in hosts["n1"].requests if op == "ready"]
    assert asked[0] == {
        "ready": {"port": 8000, "url": None, "file": None, "log": None, "within_s": 30.0},
        "cwd": "/there",
    }
    assert len(asked) == 11


def test_a_server_that_is_not_ready_in_time_has_failed_with_its_last_lines(tmp_path: Path) -> None:
    def log(launch: Launch) -> None:
        launch.files.stderr.write_text("one\nloading the model\ncannot open weights.bin\nwaiting\n")

    found, seconds, hosts = run(tmp_path, PORT, reply=after(10_000), at_start=log)
    assert (found.kind, found.tag, round(seconds)) == ("failed", "a.server", 30)
    assert found.reason == (
        "was not ready within 30 s: port 8000: connection refused; "
        "it printed last: loading the model | cannot open weights.bin | waiting"
    )
    assert hosts["n0"].launched == []


@pytest.mark.parametrize(
    ("ends", "reason"),
    [
        (Exit(tag="", code=0), "ended before it was ready; it printed nothing"),
        (Exit(tag="", code=3), "exit code 3"),
    ],
)
def test_a_server_that_ends_before_it_is_ready_has_failed(tmp_path: Path, ends: Exit, reason: str) -> None:
    found, seconds, hosts = run(tmp_path, PORT, replace(exits(0), ends=ends, after_s=1.0), after(10_000))
    assert (found, round(seconds)) == (Outcome(kind="failed", reason=reason, tag="a.server"), 1)
    assert hosts["n0"].launched == []


@pytest.mark.parametrize(
    ("written", "kind"), [("x\nstartup complete on 8000\n", "ok"), ("startup comp", "failed"), ("", "failed")]
)
def test_a_line_of_the_servers_log_says_that_it_is_ready(tmp_path: Path, written: str, kind: str) -> None:
    def log(launch: Launch) -> None:
        if launch.command.service:
            launch.files.stdout.write_text(written)

    found, _, hosts = run(tmp_path, Ready(log=r"complete on \d+", within_s=2.0), at_start=log)
    assert found.kind == kind
    assert not [op for host in hosts.values() for op, _ in host.requests]  # it is read, not asked for
    if kind == "failed":
        assert r"no line that it printed has 'complete on \\d+'" in found.reason


def test_an_interrupt_ends_the_wait(tmp_path: Path) -> None:
    time, interrupt = VirtualTime(), Interrupt()
    server = Command(
        tag="a.server", benchmark="a", node="n", argv=("x",), cwd="/", metrics="none", service=True, ready=PORT
    )
    job = Job(tag="a", commands=(server, replace(server, tag="a", service=False, ready=None)), deadline_s=600.0)
    plan = Plan(phase="run", trials=(Trial(benchmark="a", jobs=(job,)),))
    record = Record.create(tmp_path / "run", plan=plan, facts={}, suite={}, now_ns=time.now_ns)
    looks: list[Mapping[str, Any]] = []

    def reply(fields: dict[str, Any]) -> dict[str, Any]:
        looks.append(fields)
        if len(looks) == 3:
            interrupt.set()
        return {"event": "ready", "why": "not yet"}

    async def collect() -> Outcome:
        setting = Setting(hosts={"n": FakeHost(lambda _: HANGS, {"ready": reply})}, records=record, interrupt=interrupt)
        (found,) = [each.outcome async for each in execute(plan, setting) if isinstance(each, TrialEnded)]
        return found

    assert time.run(collect()).kind == "interrupted"
    assert time.seconds < 1


def test_a_server_of_ranks_on_several_nodes_is_ready_by_its_leader_once_all_have_started(tmp_path: Path) -> None:
    common: dict[str, Any] = {"benchmark": "a", "argv": ("x",), "cwd": "/", "metrics": "none", "service": True}
    servers = tuple(
        Command(
            tag=f"a.server.n{rank}",
            node=f"n{rank}",
            ready=None if rank else PORT,
            ranks=Ranks(leader="a.server.n0", first=rank, count=1, nodes=2),
            **common,
        )
        for rank in range(2)
    )
    client = Command(tag="a.client", node="n0", benchmark="a", argv=("x",), cwd="/")
    started: list[str] = []

    def script(launch: Launch) -> Story:
        started.append(launch.command.tag)
        return HANGS if launch.command.service else Story(step_s=10.0)

    def ready(_: dict[str, Any]) -> dict[str, Any]:
        return {"event": "ready", "why": "" if "a.server.n1" in started else "the ranks have not met"}

    time = VirtualTime()
    job = Job(tag="a", commands=(*servers, client), deadline_s=600.0, first_event_s=20.0)
    plan = Plan(phase="run", trials=(Trial(benchmark="a", jobs=(job,)),))
    record = Record.create(tmp_path / "run", plan=plan, facts={}, suite={}, now_ns=time.now_ns)

    async def collect() -> Outcome:
        hosts = {name: FakeHost(script, {"ready": ready}) for name in ("n0", "n1")}
        setting = Setting(hosts=hosts, records=record, interrupt=Interrupt())
        (found,) = [each.outcome async for each in execute(plan, setting) if isinstance(each, TrialEnded)]
        return found

    assert time.run(collect()) == Outcome(kind="ok", tag="a.client")
    assert round(time.seconds) == 30  # three steps: nothing is waited for, and servers may be silent
