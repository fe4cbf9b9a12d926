"""What a process says of its measurement as a whole: what it used meanwhile, and of its device's memory at most."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from benchmate.device import Accelerator
from benchmate.usage import Usage, usage

Write = Callable[[str, object], None]
LOOK_EVERY_NS: Final = 250_000_000


class Account:
    """The account of one task, kept from its measurement's begin to its end; ``write`` takes an event and its data."""

    def __init__(self, task: str, accelerator: Accelerator, write: Write) -> None:
        self._task, self._accelerator, self._write = task, accelerator, write
        self._begun: Usage | None = None
        self._ended: Usage | None = None
        self._memory_bytes = 0  # as last written

    @property
    def is_open(self) -> bool:
        return self._begun is not None

    def moved_to(self, accelerator: Accelerator) -> None:
        """Ask another device from now on."""
        self._accelerator = accelerator

    def begin(self) -> None:
        self._begun = usage()

    def end(self) -> None:
        self._ended = usage()

    def end_for_now(self) -> None:
        """Take this for the end until a later one comes; not each, where these follow each other quickly."""
        if self._ended is None or time.monotonic_ns() - self._ended.monotonic_ns >= LOOK_EVERY_NS:
            self.end()

    def used(self) -> dict[str, object] | None:
        """Return what was used from begin to end, as data of an event; None where there is no such time."""
        return None if self._begun is None or self._ended is None else self._ended.since(self._begun)

    def say_memory(self) -> None:
        """Write the most that the process held on its device, where it is more than was said before."""
        memory = self._accelerator.peak_memory()
        if memory is not None and memory[0] > self._memory_bytes:
            self._memory_bytes, source = memory
            data = {"memory_peak_bytes": self._memory_bytes, "source": source, "device": self._accelerator.name}
            self._write("data", {"task": "main", **data})

    def say_measured(self, steps: int, overhead_ns: Callable[[], float | None], load_s: float | None = None) -> None:
        """Write what was used while steps were measured, and what measuring one cost: nothing where there was none.

        ``overhead_ns`` returns None where that is not to be found out any more. ``load_s``: what loading took before,
        where there was any.
        """
        used = self.used()
        if used is not None and steps > 0:
            cost_ns = overhead_ns()
            overhead = {"overhead_ns": None if cost_ns is None else round(cost_ns)}
            load = {} if load_s is None else {"load_s": load_s}
            self._write("measured", {"task": self._task, "steps": steps, **used, **overhead, **load})
