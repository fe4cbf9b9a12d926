"""Where the rows of steps wait: behind the events of a device."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Final

from benchmate.device import Accelerator, Event
from benchmate.wire import GOOD, MEASURED, WARMUP

RESOLVED_AT_ONCE: Final = 4
Append = Callable[[int, int, int, int, int], None]


class Lane:
    """Where a pass is on the device's clock: the end of its latest step that was resolved, in ns."""

    __slots__ = ("end_ns",)

    def __init__(self) -> None:
        self.end_ns = 0


class Ring:
    """Steps whose device events have not passed yet, oldest first.

    The loop never waits for the device here. After every step the oldest events that have passed are resolved, a few
    at most, so that a burst of them costs no single step its time; more than one a step, so that the rest is caught up
    with. What stays open is the lead of the host over the device, which the device's own queue bounds: ``drain`` writes
    it when the pass or the measurement ends, and a process that is killed loses it.

    Times are summed from event to event: the device gives an interval as a 32-bit float of milliseconds, which from
    one anchor would resolve 60 µs after ten minutes.
    """

    def __init__(self, accelerator: Accelerator, append: Append) -> None:
        self._accelerator, self._append = accelerator, append
        self._open: deque[tuple[Event, Lane, int | None, int, int]] = deque()
        accelerator.synchronize()
        self._last, self._now_ns = accelerator.event(), time.monotonic_ns()

    def push(self, event: Event, lane: Lane, count: int | None, phase: int = WARMUP, status: int = GOOD) -> None:
        """Add the end of a step; with no count, the start of a pass."""
        self._open.append((event, lane, count, phase, status))

    def resolve(self) -> int:
        """Write the rows of the oldest steps that have passed; return the measured time among them, in ns."""
        waiting, measured_ns, most = self._open, 0, RESOLVED_AT_ONCE
        while most and waiting and waiting[0][0].query():
            measured_ns += self._take()
            most -= 1
        return measured_ns

    def drain(self) -> int:
        """Wait for the device and write every row; return the measured time among them, in ns."""
        if self._open:
            self._accelerator.synchronize()
        measured_ns = 0
        while self._open:
            measured_ns += self._take()
        return measured_ns

    def _take(self) -> int:
        event, lane, count, phase, status = self._open.popleft()
        self._now_ns += round(self._last.elapsed_time(event) * 1e6)
        self._last = event
        start_ns, lane.end_ns = lane.end_ns, self._now_ns
        if count is None:
            return 0
        self._append(start_ns, self._now_ns, count, phase, status)
        return self._now_ns - start_ns if phase == MEASURED and status == GOOD else 0
