"""Agents over SSH on two nodes of namespaces: who logs in there, and what is asked of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agents import launch
from milabench.errors import PreflightError
from milabench.execute.hosts import Launch
from milabench.execute.hosts.agent import AgentHost
from milabench.execute.hosts.boot import Boot
from milabench.execute.hosts.login import Login
from milabench.execute.hosts.ssh import SSHHost
from nodes import BASE, USER, Nodes

LINK_S, SILENCE_S = 0.5, 3.0


def login(nodes: Nodes, **keys: Any) -> Login:
    known = Login(name="n1", address=nodes["n1"].address, user=USER, connect_s=10.0, keepalive_s=LINK_S)
    return replace(known, **keys)


def talk(nodes: Nodes, who: Login, story: Callable[[AgentHost], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        async with SSHHost(who, Boot.made(nodes.environ()), nodes.environ(), SILENCE_S) as host:
            return await story(host)

    return asyncio.run(asyncio.wait_for(main(), 60))


async def name_of(host: AgentHost) -> str:
    return str((await host.hello())["host"])


def refusal(nodes: Nodes, **keys: Any) -> str:
    """Return why there can be no connection."""
    with pytest.raises(PreflightError) as found:
        talk(nodes, login(nodes, **keys), name_of)
    return str(found.value)


def at_base(run: Path, script: str) -> Launch:
    """Return the launch of a line of shell on the first node."""
    return launch(run, script, node="n1", cwd=str(BASE))
