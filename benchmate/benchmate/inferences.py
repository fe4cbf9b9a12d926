"""Inferences made in chunks: a stamp before and after each and nothing else; all that is looked at lies between chunks.

A stamp costs a call of the clock and a store (tests/performance/measure_session.py); a generator, a context manager or
a lock in the loop would cost ten times as much, and a queue a hundred times.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable
from operator import sub
from typing import Any, Final, Protocol

from benchmate.device import Accelerator, Event
from benchmate.wire import BASE_COLUMNS, GOOD

Call = Callable[..., Any]
Stamp = Callable[[], int]  # ns

MOST_CALLS: Final = 1 << 13  # of a chunk
LONGEST_CHUNK_NS: Final = 100_000_000  # so that a follower sees it go on, and a killed process loses little
RARELY: Final = 100  # times as long as the look after it a chunk is, or longer
PARTS: Final = ("pre", "infer", "post")


class Timer(Protocol):
    """Makes inferences one after the other and keeps their stamps; ``columns`` are those of its rows."""

    @property
    def columns(self) -> tuple[str, ...]: ...
    def make(self, calls: int) -> None:
        """Make so many inferences, at most MOST_CALLS; what one of them raises comes through."""
        ...

    def read(self, calls: int) -> dict[str, array[int]]:
        """Return the columns of those that were finished, of the ``calls`` that were to be made last; ns."""
        ...


class Whole:
    """Times inferences as wholes; on a device each is waited for before its end is stamped."""

    columns: Final = BASE_COLUMNS

    def __init__(self, infer: Call, accelerator: Accelerator, clock: Stamp) -> None:
        self._infer, self._clock = infer, clock
        self._synchronize = accelerator.synchronize if accelerator.clock == "device" else None
        self._stamps = array("q", bytes(16 * MOST_CALLS))

    def make(self, calls: int) -> None:
        infer, clock, synchronize, stamps = self._infer, self._clock, self._synchronize, self._stamps
        stamps[: 2 * calls] = array("q", bytes(16 * calls))
        if synchronize is None:
            for place in range(0, 2 * calls, 2):
                stamps[place] = clock()
                infer()
                stamps[place + 1] = clock()
        else:
            for place in range(0, 2 * calls, 2):
                stamps[place] = clock()
                infer()
                synchronize()
                stamps[place + 1] = clock()

    def read(self, calls: int) -> dict[str, array[int]]:
        start, end = (self._stamps[first : 2 * calls : 2] for first in (0, 1))
        done = _finished(end)
        return {"start": start[:done], "end": end[:done]}


class InParts:
    """Times what is done before an inference, the inference, and what is done with its result, each by itself.

    On a device the inference's own time is that between two events which the device itself stamps; before the result
    is gone on with, and at the end, the device is waited for.
    """

    columns: Final = (*BASE_COLUMNS, *PARTS)

    def __init__(self, parts: tuple[Call, Call, Call], accelerator: Accelerator, clock: Stamp) -> None:
        self._parts, self._clock = parts, clock
        self._device = accelerator if accelerator.clock == "device" else None
        self._stamps = array("q", bytes(32 * MOST_CALLS))
        self._events: list[tuple[Event, Event]] = []

    def make(self, calls: int) -> None:
        self._stamps[: 4 * calls] = array("q", bytes(32 * calls))
        self._events.clear()
        if self._device is None:
            self._on_host(calls)
        else:
            self._on_device(calls, self._device)

    def _on_host(self, calls: int) -> None:
        (pre, infer, post), clock, stamps = self._parts, self._clock, self._stamps
        for place in range(0, 4 * calls, 4):
            stamps[place] = clock()
            given = pre()
            stamps[place + 1] = clock()
            made = infer(given)
            stamps[place + 2] = clock()
            post(made)
            stamps[place + 3] = clock()

    def _on_device(self, calls: int, device: Accelerator) -> None:
        (pre, infer, post), clock, stamps = self._parts, self._clock, self._stamps
        event, synchronize, keep = device.event, device.synchronize, self._events.append
        for place in range(0, 4 * calls, 4):
            stamps[place] = clock()
            given = pre()
            stamps[place + 1] = clock()
            begun = event()
            made = infer(given)
            keep((begun, event()))
            synchronize()
            stamps[place + 2] = clock()
            post(made)
            synchronize()
            stamps[place + 3] = clock()

    def read(self, calls: int) -> dict[str, array[int]]:
        start, ready, made, end = (self._stamps[first : 4 * calls : 4] for first in range(4))
        done = _finished(end)
        start, ready, made, end = (column[:done] for column in (start, ready, made, end))
        infer = array("q", map(sub, made, ready))
        if self._device is not None:
            infer = array("q", (round(begun.elapsed_time(ended) * 1e6) for begun, ended in self._events[:done]))
        pre, post = array("q", map(sub, ready, start)), array("q", map(sub, end, made))
        return {"start": start, "end": end, "pre": pre, "infer": infer, "post": post}


def _finished(end: array[int]) -> int:
    """Return how many inferences have an end: one that raised has none, nor those that were to come after it."""
    return end.index(0) if 0 in end else len(end)


def rows(read: dict[str, array[int]], columns: tuple[str, ...], items: int, phase: int) -> array[int]:
    """Return the values of rows, one after the other, of what a timer has read."""
    done, width = len(read["start"]), len(columns)
    same = {"count": items, "phase": phase, "status": GOOD}
    values = array("q", bytes(8 * width * done))
    for index, name in enumerate(columns):
        values[index::width] = array("q", [same[name]]) * done if name in same else read[name]
    return values


class Pace:
    """How many inferences to make before the next look.

    So many that looking takes a hundredth of the time or less, and at most twice as many as were made before: one at
    first, since nothing is known then.
    """

    def __init__(self) -> None:
        self._calls, self._wanted = 0, 1
        self._each_ns, self._look_ns = 0.0, 0.0

    def calls(self, most: int, left_ns: int) -> int:
        """Return it: at most ``most``, and no more than are likely to fit into ``left_ns``."""
        fitting = left_ns // self._each_ns if self._each_ns else most
        self._calls = max(1, min(self._wanted, most, MOST_CALLS, int(fitting)))
        return self._calls

    def took(self, chunk_ns: int, look_ns: int) -> None:
        """Take note of how long the last chunk took, and the look after it."""
        self._each_ns = max(chunk_ns / self._calls, 1.0)
        self._look_ns = min(float(look_ns), 2 * self._look_ns or look_ns)  # one that was interrupted says little
        rare = math.ceil(RARELY * self._look_ns / self._each_ns)
        longest = int(LONGEST_CHUNK_NS / self._each_ns)
        self._wanted = max(1, min(2 * self._calls, rare, longest))
