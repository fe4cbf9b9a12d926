"""Fleets without processes: of hosts that are made up, for tests of what is done with nodes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from milabench.app.fleet import Fleet
from milabench.errors import PreflightError
from milabench.execute.hosts import Host
from milabench.system.types import Node, System


def alone(host: Host) -> Fleet:
    """Return the fleet of a machine that nothing leads away from, the node ``local``."""
    found = fleet(host, {})
    found.hosts["local"] = host
    return found


def fleet(here: Host, others: Mapping[str, Host | PreflightError]) -> Fleet:
    """Return a fleet whose nodes are hosts by name; those that are errors cannot be connected."""

    @asynccontextmanager
    async def opened(node: Node) -> AsyncIterator[Host]:
        found = others.get(node.name, PreflightError(f"node {node.name} is made up"))
        if isinstance(found, PreflightError):
            raise found
        yield found

    def opens(node: Node, _: System) -> AbstractAsyncContextManager[Host]:
        return opened(node)

    return Fleet(here, opens)


def facts(**changes: Any) -> dict[str, Any]:
    """Return what a small machine says of itself."""
    return {
        "hostname": "there",
        "platform": "Linux-6.1",
        "cpus": 4,
        "cpu_name": "Some CPU",
        "memory_bytes": 2**34,
        "arch": "cpu",
        "devices": [],
        "driver": None,
        "environ": {},
        "indexes": [],
        **changes,
    }
