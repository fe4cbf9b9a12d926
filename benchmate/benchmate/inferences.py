"""Inferences made in chunks: a stamp before and after each and nothing else; all that is looked at lies between chunks.

A stamp costs a call of the clock and a store (tests/performance/measure_session.py); a generator, a context manager or
a lock in the loop would cost ten times as much, and a queue a hundred times.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterator
from operator import sub
from typing import Any, Final, Protocol

from benchmate.device import Accelerator
from benchmate.wire import BASE_COLUMNS, GOOD, PARTS

Call = Callable[..., Any]
Stamp = Callable[[], int]  # ns

MOST_CALLS: Final = 1 << 13  # of a chunk
LONGEST_CHUNK_NS: Final = 100_000_000  # so that a follower sees it go on, and a killed process loses little
RARELY: Final = 100  # times as long as the look after it a chunk is, or longer


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
        self._start, self._end = _stamps(2)

    def make(self, calls: int) -> None:
        infer, clock, synchronize, start, end = self._infer, self._clock, self._synchronize, self._start, self._end
        _empty(end, calls)
        if synchronize is None:
            for index in range(calls):
                start[index] = clock()
                infer()
                end[index] = clock()
        else:
            for index in range(calls):
                start[index] = clock()
                infer()
                synchronize()
                end[index] = clock()

    def read(self, calls: int) -> dict[str, array[int]]:
        done = _finished(self._end[:calls])
        return {"start": self._start[:done], "end": self._end[:done]}


class InParts:
    """Times what is done before an inference, the inference, and what is done with its result, each by itself.

    On a device each part is waited for, so that none is paid for in the next one, and the inference's own time is that
    between two events which the device itself stamps.
    """

    columns: Final = (*BASE_COLUMNS, *PARTS)

    def __init__(self, parts: tuple[Call, Call, Call], accelerator: Accelerator, clock: Stamp) -> None:
        self._parts, self._clock = parts, clock
        self._device = accelerator if accelerator.clock == "device" else None
        self._start, self._ready, self._made, self._end, self._on_device_ns = _stamps(5)

    def make(self, calls: int) -> None:
        _empty(self._end, calls)
        if self._device is None:
            self._by_host(calls)
        else:
            self._by_device(calls, self._device)

    def _by_host(self, calls: int) -> None:
        (pre, infer, post), clock = self._parts, self._clock
        start, ready, done, end = self._start, self._ready, self._made, self._end
        for index in range(calls):
            start[index] = clock()
            given = pre()
            ready[index] = clock()
            made = infer(given)
            done[index] = clock()
            post(made)
            end[index] = clock()

    def _by_device(self, calls: int, device: Accelerator) -> None:
        (pre, infer, post), clock = self._parts, self._clock
        start, ready, done, end, own_ns = self._start, self._ready, self._made, self._end, self._on_device_ns
        event, synchronize, submit = device.event, device.synchronize, device.mark_step
        for index in range(calls):
            start[index] = clock()
            given = pre()
            synchronize()
            ready[index] = clock()
            begun = event()
            made = infer(given)
            submit()
            ended = event()
            synchronize()
            done[index] = clock()
            post(made)
            synchronize()
            over = clock()
            own_ns[index] = round(begun.elapsed_time(ended) * 1e6)  # read at once: events kept are work for the GC
            end[index] = over

    def read(self, calls: int) -> dict[str, array[int]]:
        finished = _finished(self._end[:calls])
        start, ready, made, end = (column[:finished] for column in (self._start, self._ready, self._made, self._end))
        infer = array("q", map(sub, made, ready)) if self._device is None else self._on_device_ns[:finished]
        pre, post = array("q", map(sub, ready, start)), array("q", map(sub, end, made))
        return {"start": start, "end": end, "pre": pre, "infer": infer, "post": post}


def _stamps(each: int) -> Iterator[array[int]]:
    """Return room for so many stamps of each inference of a chunk, made before the first: an array for each."""
    return (array("q", bytes(8 * MOST_CALLS)) for _ in range(each))


def _empty(end: array[int], calls: int) -> None:
    """Let what an earlier chunk left be no end of this one."""
    end[:calls] = array("q", bytes(8 * calls))


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
        self._each_ns = _usual(self._each_ns, max(chunk_ns / self._calls, 1.0))
        self._look_ns = _usual(self._look_ns, look_ns)
        rare = math.ceil(RARELY * self._look_ns / self._each_ns)
        longest = int(LONGEST_CHUNK_NS / self._each_ns)
        self._wanted = max(1, min(2 * self._calls, rare, longest))


def _usual(before: float, now: float) -> float:
    """Return how long something takes: one time that others had the processor meanwhile says little."""
    return min(now, 1.5 * before) if before else now
