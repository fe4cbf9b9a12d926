"""How an end that comes from outside reaches a running plan: the operator's wish, or that it cannot go on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from milabench.execute.hosts import Process
from milabench.outcome import Cause


class Interrupt:
    """The first ``set`` is gentle, a second one is not. Processes that start later are ended in the same way."""

    def __init__(self) -> None:
        self.asked = False
        self.loses_nothing = False
        self._ending: tuple[Cause, float | None] | None = None
        self._processes: set[Process] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._hearers: list[Callable[[], object]] = []

    def set(self) -> None:
        """Take it that the operator wants the run to end."""
        self._end("interrupt", 0.0 if self.asked else None)
        self.asked = True
        for hear in self._hearers:
            hear()

    def tell(self, hear: Callable[[], object]) -> None:
        """Have something called whenever the operator wants the run to end."""
        self._hearers.append(hear)

    def break_off(self) -> None:
        """End what runs because the plan cannot go on: of what it measures nothing could be written down."""
        if self._ending is None:
            self._end("lost", None)

    @contextmanager
    def losing_nothing(self) -> Iterator[None]:
        """For a block in which nothing has begun: already the first wish breaks it off. Raises CancelledError.

        Nodes that do not answer are waited for there, for longer than anybody waits for a Ctrl-C.
        """
        if self.asked:
            raise asyncio.CancelledError
        self.loses_nothing = True
        try:
            yield
        finally:
            self.loses_nothing = False

    @property
    def ends_something(self) -> bool:
        """Whether anything runs that it ends."""
        return bool(self._processes)

    async def watch(self, process: Process) -> None:
        self._processes.add(process)
        if self._ending is not None:
            await process.stop(*self._ending)

    def unwatch(self, process: Process) -> None:
        self._processes.discard(process)

    def _end(self, cause: Cause, grace_s: float | None) -> None:
        self._ending = (cause, grace_s)
        for process in self._processes:
            task = asyncio.ensure_future(process.stop(cause, grace_s))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
