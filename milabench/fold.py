"""The steps of a dead process folded into at most 1,000 ``rate`` lines, in memory that does not grow with them."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import sub
from typing import Any

from benchmate import wire

MAX_RATE_LINES = 1000
_TASKS = {wire.WARMUP: "warmup", wire.MEASURED: "train"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Folded:
    """``rate`` lines, how many steps of each kind they stand for, and the least and the most one measured step did."""

    lines: Sequence[dict[str, Any]] = ()
    measured: int = 0
    warmups: int = 0
    counts: tuple[int, int] | None = None


def fold(parts: Iterable[wire.Steps], rows: int) -> Folded:
    """Return the lines of ``rows`` steps that come in parts: one a step, or one for several of one phase.

    Steps that are not good, or took no time, count for nothing.
    """
    size = max(-(-rows // (MAX_RATE_LINES - 2)), 1)  # each phase may end in a line that stands for fewer
    open_lines = {phase: _Line(phase, size) for phase in _TASKS}
    lines: list[dict[str, Any]] = []
    for part in parts:
        for first, last in _stretches(part.columns["phase"]):
            line = open_lines.get(part.columns["phase"][first])
            if line is not None:
                lines += line.add(part, first, last)
    lines += [each for line in open_lines.values() for each in line.rest()]
    measured, warmups = (open_lines[phase].steps for phase in (wire.MEASURED, wire.WARMUP))
    return Folded(lines=lines, measured=measured, warmups=warmups, counts=open_lines[wire.MEASURED].counts)


class _Line:
    """The line that steps of one phase are being gathered for."""

    def __init__(self, phase: int, size: int) -> None:
        self._task, self._size = _TASKS[phase], size
        self._steps = self._count = self._ns = 0
        self._units, self._wall_s = "", 0.0
        self.steps = 0
        self.counts: tuple[int, int] | None = None  # the least and the most of a step

    def add(self, part: wire.Steps, first: int, last: int) -> list[dict[str, Any]]:
        """Take the rows from first to last; return the lines that are full."""
        full: list[dict[str, Any]] = []
        self._units = f"{part.unit}/s"
        while first < last:
            until = min(first + self._size - self._steps, last)
            self._take(part, first, until)
            full += self.rest() if self._steps == self._size else []
            first = until
        return full

    def _take(self, part: wire.Steps, first: int, until: int) -> None:
        """Add the good ones of some rows."""
        ends, counts = part.columns["end"][first:until], part.columns["count"][first:until]
        times = array("q", map(sub, ends, part.columns["start"][first:until]))
        statuses = part.columns["status"][first:until]
        if statuses.count(wire.GOOD) != len(statuses) or min(times) <= 0:
            kept = [n for n, ns in enumerate(times) if ns > 0 and statuses[n] == wire.GOOD]
            ends, counts, times = (array("q", (each[n] for n in kept)) for each in (ends, counts, times))
        if times:
            self._steps += len(times)
            self._count += sum(counts)
            known = array("q", self.counts or ()) + counts
            self.counts = min(known), max(known)
            self._ns += sum(times)
            self._wall_s = (part.zero_ns + ends[-1]) / 1e9

    def rest(self) -> list[dict[str, Any]]:
        """Return the line as it is, if it stands for anything, and begin the next."""
        if not self._steps:
            return []
        rate = self._count / (self._ns / 1e9)
        line = {"task": self._task, "rate": rate, "units": self._units, "time": self._wall_s}
        several = {"steps": self._steps} if self._size > 1 else {}
        self.steps += self._steps
        self._steps = self._count = self._ns = 0
        return [{**line, **several}]


def _stretches(phases: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Yield where each run of rows of one phase begins and ends."""
    first = 0
    for _, rows in groupby(phases):
        last = first + sum(1 for _ in rows)
        yield first, last
        first = last
