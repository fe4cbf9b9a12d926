"""Where the rows of steps wait or end: behind a device's events, or in a sum when nothing is to be written."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from benchmate.device import Accelerator, Event
from benchmate.wire import MEASURED

Append = Callable[[int, int, int, int, int], None]


class Ring:
    """Steps whose device events have not passed yet, oldest first.

    Times are summed from event to event: the device gives an interval as a 32-bit float of milliseconds, which from
    one anchor would resolve 60 µs after ten minutes.
    """

    def __init__(self, accelerator: Accelerator, append: Append) -> None:
        self._accelerator, self._append = accelerator, append
        self._open: deque[tuple[Event, int | None, int]] = deque()
        accelerator.synchronize()
        self._last, self._now_ns = accelerator.event(), time.monotonic_ns()

    def push(self, event: Event, count: int | None, phase: int) -> None:
        """Add the end of a step; with no count, the start of a pass."""
        self._open.append((event, count, phase))

    def resolve(self) -> int:
        """Write the rows of all steps that have passed; return the measured time among them, in ns."""
        waiting, measured_ns = self._open, 0
        while waiting and waiting[0][0].query():
            measured_ns += self._take()
        return measured_ns

    def drain(self) -> None:
        """Wait for the device and write every row."""
        if self._open:
            self._accelerator.synchronize()
        while self._open:
            self._take()

    def _take(self) -> int:
        event, count, phase = self._open.popleft()
        start_ns = self._now_ns
        self._now_ns += round(self._last.elapsed_time(event) * 1e6)
        self._last = event
        if count is None:
            return 0
        self._append(start_ns, self._now_ns, count, phase, 0)
        return self._now_ns - start_ns if phase == MEASURED else 0


class Tally:
    """What is kept of the steps of a script that was run by hand."""

    __slots__ = ("count", "measured_ns", "steps")

    def __init__(self) -> None:
        self.count = self.measured_ns = self.steps = 0

    def append(self, start_ns: int, end_ns: int, count: int, phase: int, _status: int) -> None:
        if phase == MEASURED:
            self.steps += 1
            self.count += count
            self.measured_ns += end_ns - start_ns

    def describe(self, unit: str) -> str:
        if not self.measured_ns:
            return "no step was measured"
        return f"{self.count / (self.measured_ns / 1e9):.6g} {unit}/s over {self.steps} steps"
