"""Virtual time: an event loop whose clock jumps to what is due next instead of waiting. Public, for exact tests."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Stuck(RuntimeError):
    """Everything waits and nothing is due: the schedule would never go on."""


class VirtualTime:
    """A clock that tasks under ``run`` share: their sleeps and time-outs take no time, and happen in order.

    ``now_ns`` is the wall clock of records (ns since 1970), which begins at ``start_ns``.
    """

    def __init__(self, start_ns: int = 1_700_000_000_000_000_000) -> None:
        self._start_ns = start_ns
        self.seconds = 0.0

    def now_ns(self) -> int:
        return self._start_ns + round(self.seconds * 1e9)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end. Raises Stuck when it waits for what can never happen."""
        loop = _Loop(self)
        try:
            return loop.run_until_complete(coroutine)
        finally:
            for task in (left := asyncio.all_tasks(loop)):
                task.cancel()
            if left:
                loop.run_until_complete(asyncio.wait(left))
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self, clock: VirtualTime) -> None:
        super().__init__(_Jumping(clock))
        self._clock_of_all = clock

    def time(self) -> float:
        return self._clock_of_all.seconds


class _Jumping(selectors.DefaultSelector):
    """A selector that lets the clock jump over the time it would have waited, unless something is ready now."""

    def __init__(self, clock: VirtualTime) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is None:
            raise Stuck("everything waits and nothing is due")
        if not ready and timeout:
            self._clock.seconds += timeout
        return ready
