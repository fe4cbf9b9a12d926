"""The measured steps of one process, in the order taken, and what is to be told of their times."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress, repeat
from operator import truediv
from typing import Final

from benchmate.wire import GOOD, MEASURED, PARTS, WARMUP, Steps

_NO_TIME: Final = 1 << 63  # ns: more than a column holds


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Measured steps: how long each took and what it did; of steps told as rates only those (``printed``).

    There may be millions: what is kept is 16 bytes a step, 24 where they did not all do the same. ``rates`` are those
    of the steps, in ``unit``: count / (end − start). ``counts`` is what each step did, one number where all did the
    same. ``warmup``: steps that are not in it. ``first_ns``: how long the very first step took, warm-up included; None
    where the file has no possible time. ``parts``: the ns of each part of them, by name, where they were timed by
    themselves. ``begin_ns`` and ``end_ns`` (wall clock) are those of the measurement.
    """

    unit: str = ""
    durations_ns: array[int] = field(default_factory=lambda: array("q"), repr=False)
    counts: int | array[int] = field(default=0, repr=False)
    printed: array[float] = field(default_factory=lambda: array("d"), repr=False)
    warmup: int = 0
    first_ns: int | None = None
    parts: Mapping[str, array[int]] = field(default_factory=dict, repr=False)
    begin_ns: int | None = None
    end_ns: int | None = None
    rates: array[float] = field(init=False, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.durations_ns) or len(self.printed)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rates", self._rates())

    def _rates(self) -> array[float]:
        if not self.durations_ns:
            return self.printed
        counts = repeat(self.counts) if isinstance(self.counts, int) else self.counts
        return array("d", map(truediv, counts, map(truediv, self.durations_ns, repeat(1e9))))

    @property
    def done(self) -> int | None:
        """What all steps did together; None where only their rates are known."""
        if not self.durations_ns:
            return None
        return self.counts * len(self) if isinstance(self.counts, int) else sum(self.counts)

    @property
    def extremes(self) -> tuple[int, int] | None:
        """The least and the most that one step did; None where only their rates are known."""
        if not self.durations_ns:
            return None
        return (self.counts, self.counts) if isinstance(self.counts, int) else (min(self.counts), max(self.counts))

    def work(self) -> tuple[Sequence[float], Sequence[float]]:
        """Return what each step did and how long it took, in ns; those of which the rate is known did 1 each."""
        if not self.durations_ns:
            times = array("d", (1e9 / rate for rate in self.printed if rate > 0))
            return array("d", repeat(1.0, len(times))), times
        counts = array("q", [self.counts]) * len(self) if isinstance(self.counts, int) else self.counts
        return counts, self.durations_ns


def read_series(parts: Iterable[Steps]) -> Series | None:
    """Return the good measured steps of a process that come in parts; None where there are no steps at all."""
    gathering = _Gathering()
    for part in parts:
        gathering.add(part)
    return gathering.series() if gathering.rows else None


class _Gathering:
    """Steps put together as they are read."""

    def __init__(self) -> None:
        self.rows = self._warmup = 0
        self._unit = ""
        self._durations = array("q")
        self._counts: int | array[int] = 0
        self._first_ns: int | None = None
        self._parts: dict[str, array[int]] = {}
        self._begin_ns: int | None = None
        self._end_ns: int | None = None

    def add(self, part: Steps) -> None:
        self._unit = f"{part.unit}/s"
        if len(part) and not self.rows:
            first_ns = part.columns["end"][0] - part.columns["start"][0]
            self._first_ns = first_ns if 0 < first_ns < _NO_TIME else None  # a damaged file may hold anything
        self.rows += len(part)
        self._warmup += part.columns["phase"].count(WARMUP)
        good = part.good()
        if not good.count:
            return
        if self._begin_ns is None:
            self._begin_ns = part.zero_ns + good.start[0]
        self._end_ns = part.zero_ns + good.end[-1]
        self._add_counts(good.count)
        self._add_parts(part.columns)
        self._durations.extend(good.durations_ns)

    def _add_parts(self, columns: Mapping[str, array[int]]) -> None:
        names = [name for name in PARTS if name in columns]
        if names:
            measured = [row == (MEASURED, GOOD) for row in zip(columns["phase"], columns["status"], strict=True)]
            for name in names:
                self._parts.setdefault(name, array("q")).extend(compress(columns[name], measured))

    def _add_counts(self, counts: array[int]) -> None:
        """Add what steps did: as one number for as long as it is the same."""
        same = counts.count(counts[0]) == len(counts)
        if not self._durations and same:
            self._counts = counts[0]
            return
        if isinstance(self._counts, int):
            if same and counts[0] == self._counts:
                return
            self._counts = array("q", repeat(self._counts, len(self._durations)))
        self._counts.extend(counts)

    def series(self) -> Series:
        return Series(
            unit=self._unit,
            durations_ns=self._durations,
            counts=self._counts,
            warmup=self._warmup,
            first_ns=self._first_ns,
            parts=self._parts,
            begin_ns=self._begin_ns,
            end_ns=self._end_ns,
        )
