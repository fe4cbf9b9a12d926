"""Ports that groups of ranks meet at: free when a group starts, and no two groups of a node have the same."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from milabench.execute.hosts import Host
from milabench.plan.launchtime import lowest_port
from milabench.plan.types import Command


def leader_of(command: Command) -> str:
    """Return the tag of the command whose node a group meets at."""
    return command.tag if command.ranks is None else command.ranks.leader


class Ports:
    """The ports that are given away, by node."""

    def __init__(self, hosts: Mapping[str, Host]) -> None:
        self._hosts = hosts
        self._taken: dict[str, set[int]] = defaultdict(set)
        self._asking: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    @asynccontextmanager
    async def of(self, commands: Sequence[Command]) -> AsyncIterator[Mapping[str, int]]:
        """Give each group of the commands that asks for a port one, by its leader's tag, until the block ends.

        Raises HostLost, and PreflightError where no port is free.
        """
        nodes = {command.tag: command.node for command in commands}
        given: dict[str, int] = {}
        try:
            for command in commands:
                lowest, leader = lowest_port(command), leader_of(command)
                if lowest is not None and leader not in given:
                    given[leader] = await self._take(nodes[leader], lowest)
            yield given
        finally:
            for leader, port in given.items():
                self._taken[nodes[leader]].discard(port)

    async def _take(self, node: str, lowest: int) -> int:
        async with self._asking[node]:  # a node that does not answer holds up no other
            taken = self._taken[node]
            reply = await self._hosts[node].request("port", lowest=lowest, taken=sorted(taken))
            port = int(reply["port"])
            taken.add(port)
            return port
