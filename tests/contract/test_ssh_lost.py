"""Links to nodes that are lost: what runs there ends, what had come stays, and nothing is left."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from agents import alive
from harness import wait_until
from links import at_base, login, name_of, talk
from milabench.errors import HostLost
from milabench.execute.hosts.agent import AgentHost
from milabench.outcome import Exit
from nodes import Nodes


@pytest.fixture
def mended(nodes: Nodes) -> Iterator[Nodes]:
    """The nodes, for faults that are undone afterwards."""
    yield nodes
    nodes.mend()


def lost(nodes: Nodes, run: Path, fault: Callable[[], object], trap: str) -> tuple[Exit, list[int]]:
    """Run what prints much and starts a daemon, let a fault happen, and return how it ended and what ran then."""
    daemon = f"(setsid sh -c '{trap}; echo $$ > pid; sleep 1000' &)"

    async def story(host: AgentHost) -> tuple[Exit, list[int]]:
        process = await host.start(at_base(run, f"{daemon}; while ! test -s pid; do :; done; seq 100000; sleep 1000"))
        while not (path := run / "one.stdout").exists() or not path.read_text().endswith("\n100000\n"):
            await asyncio.sleep(0.02)
        before = nodes["n1"].started()
        fault()
        return await process.wait(), before

    found: tuple[Exit, list[int]] = talk(nodes, login(nodes), story)
    return found


def assert_all_end(nodes: Nodes, before: list[int]) -> None:
    """Assert that nothing stays on the node: no process, nothing in an agent's spool."""
    assert len(before) >= 3
    wait_until(lambda: not any(map(alive, before)), timeout_s=30)
    assert nodes["n1"].started() == []
    assert nodes["n1"].run("find", "/var/tmp", "-name", "one.*") == ""


@pytest.mark.parametrize(("way", "trap"), [("cable", 'trap "" TERM'), ("firewall", "true")], ids=["cable", "firewall"])
def test_a_link_that_is_cut_without_a_word_loses_what_runs_what_had_come_stays_and_nothing_is_left_on_the_node(
    mended: Nodes, tmp_path: Path, way: str, trap: str
) -> None:
    cut = partial(mended["n1"].link, "down") if way == "cable" else mended["n1"].drop
    found, before = lost(mended, tmp_path, cut, trap)
    assert found.cause == "lost"
    assert found.error == "the connection to node n1 (10.77.0.1) is gone: no answer came for 2 s"
    assert (tmp_path / "one.stdout").read_text().count("\n") == 100_000
    assert_all_end(mended, before)  # by themselves: nothing can tell them


def test_when_sshd_is_killed_what_runs_is_lost_and_ends_and_the_next_request_connects_again(
    mended: Nodes, tmp_path: Path
) -> None:
    async def story(host: AgentHost) -> tuple[Exit, str, str]:
        process = await host.start(at_base(tmp_path, "sleep 1000"))
        mended["n1"].kill_sshd()
        found = await process.wait()
        with pytest.raises(HostLost) as gone:
            await host.request("missing", onces={})
        mended.restart("n1")
        while not await _answers(host):
            await asyncio.sleep(0.1)
        return found, str(gone.value), await name_of(host)

    found, gone, name = talk(mended, login(mended), story)
    assert found.cause == "lost"
    assert found.error is not None
    assert "the other side closed it: its sshd was ended, or the node went down" in found.error
    assert "; and then: node n1 (10.77.0.1) refuses the connection" in gone
    assert name == "n1"
    wait_until(mended["n1"].idle, timeout_s=30)


async def _answers(host: AgentHost) -> bool:
    try:
        await host.request("missing", onces={})
    except HostLost:
        return False
    return True


def test_a_runner_that_stops_answering_is_taken_for_gone_by_the_agent(nodes: Nodes, tmp_path: Path) -> None:
    """A runner that is stopped keeps its connection: only the agent can see that nobody is there."""
    runner = os.fork()
    if not runner:
        try:
            talk(nodes, login(nodes, keepalive_s=100.0), lambda host: _sleeping(host, tmp_path))
        finally:
            os._exit(0)
    try:
        wait_until((nodes["n1"].seen / "pid").exists)
        before = nodes["n1"].started()
        os.kill(runner, signal.SIGSTOP)
        assert_all_end(nodes, before)
    finally:
        os.kill(runner, signal.SIGKILL)
        os.waitpid(runner, 0)
        (nodes["n1"].seen / "pid").unlink()


async def _sleeping(host: AgentHost, run: Path) -> None:
    await host.start(at_base(run, "sleep 1000 & echo $$ > pid; sleep 1000"))
    await asyncio.sleep(1000)
