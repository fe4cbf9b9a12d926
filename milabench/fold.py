"""The steps of a dead process folded into at most 1,000 ``rate`` lines, in memory that does not grow with them."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
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
        for phase, stretch in _stretches(part):
            if phase in open_lines:
                lines += open_lines[phase].add(stretch.good(phase), part.unit, part.zero_ns)
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

    def add(self, good: wire.Good, unit: str, zero_ns: int) -> list[dict[str, Any]]:
        """Take steps that count; return the lines that are full."""
        full: list[dict[str, Any]] = []
        self._units = f"{unit}/s"
        first = 0
        while first < len(good.count):
            until = min(first + self._size - self._steps, len(good.count))
            counts = good.count[first:until]
            known = array("q", self.counts or ()) + counts
            self.counts = min(known), max(known)
            self._steps += len(counts)
            self._count += sum(counts)
            self._ns += sum(good.durations_ns[first:until])
            self._wall_s = (zero_ns + good.end[until - 1]) / 1e9
            full += self.rest() if self._steps == self._size else []
            first = until
        return full

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


def _stretches(part: wire.Steps) -> Iterator[tuple[int, wire.Steps]]:
    """Yield each run of rows of one phase."""
    first = 0
    for phase, rows in groupby(part.columns["phase"]):
        last = first + sum(1 for _ in rows)
        yield phase, replace(part, columns={name: column[first:last] for name, column in part.columns.items()})
        first = last
