"""How far what is sent to nodes is: told from time to time, in the same words for all that travels."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from milabench.amounts import size

TELL_S: Final = 10.0
MOST_TOLD: Final = 20  # nodes at a time


@dataclass(slots=True)
class SoFar:
    """In bytes: all that a node is to have, how much is known to be there, and how much of that was sent."""

    total: int = 0  # none, while it is not known
    there: int = 0
    sent: int = 0

    def told(self, there: int, sent: int) -> None:
        self.there, self.sent = self.there + there, self.sent + sent


class Travel:
    """Something on its way to nodes; as an asynchronous context manager it says every ``TELL_S`` how far each is.

    ``what`` it is begins each line. How much was sent is said of a node in the end where that took so long; with
    ``always`` whenever something was.
    """

    def __init__(self, what: str, say: Callable[[str], object], *, always: bool = False) -> None:
        self._what, self._say, self._always = what, say, always
        self._under_way: dict[str, SoFar] = {}
        self._telling: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Travel:
        self._telling = asyncio.ensure_future(self._tell())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._telling is not None
        self._telling.cancel()
        await asyncio.wait((self._telling,))

    @contextmanager
    def to(self, node: str, total: int = 0) -> Iterator[SoFar]:
        """Have it be on its way to a node for as long as this goes on; ``total`` where it is known before."""
        clock = asyncio.get_running_loop().time
        so_far, began = SoFar(total), clock()
        self._under_way[node] = so_far
        try:
            yield so_far
        finally:
            del self._under_way[node]
        if so_far.sent and (self._always or clock() - began >= TELL_S):
            before = f", {size(so_far.total - so_far.sent)} was there" if so_far.sent < so_far.total else ""
            self._say(f"{self._what} is on node {node}: {size(so_far.sent)} sent{before}")

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(TELL_S)
            known = [(node, each) for node, each in self._under_way.items() if each.total]
            for node, each in known[:MOST_TOLD]:
                self._say(f"{self._what} is on its way to node {node}: {size(each.there)} of {size(each.total)}")
            if len(known) > MOST_TOLD:
                self._say(f"{self._what} is on its way to {len(known) - MOST_TOLD} more nodes")
