"""What a node's monitor saw: its file as columns, and of any window of time the growth, extremes and mean of each.

Counters (``busy_s``, ``energy_j`` …) only grow, so that what happened in a window is a difference; between two values
they are taken to grow evenly. Where the file says too little of a window the answer is None: a monitor that was killed
or stalled, a clock that was set meanwhile, values that no machine can have.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final, TypeGuard

from benchmate.wire import is_number
from milabench.options import MOST_INTERVAL_S
from milabench.untrusted import mapping

# Between two values: one sample may be missed, and samples come a little late. A stall is longer.
_MOST_GAP_NS: Final = (2 * MOST_INTERVAL_S + 1) * 10**9
_MOST_LATE_S: Final = 3600.0
_MOST_CORES: Final = 1 << 20
_COVERED: Final = 0.9  # of a window, at least
_POSSIBLE: Final = 1.1  # of the time that all cores have; more, and a clock was set

_MOST_NS: Final = 1 << 62  # in the year 2116

# The numbers that are kept of a sample and of each of its devices.
_CPU: Final = ("busy_s", "steal_s", "ours_s", "pressure_s", "mhz")
_DEVICE: Final = ("energy_j", "power_w", "clock_mhz")
_ECC: Final = ("corrected", "uncorrected")


@dataclass(slots=True, kw_only=True)
class Column:
    """The values of one thing and when each was so."""

    times_ns: array[int] = field(default_factory=lambda: array("q"))
    values: array[float] = field(default_factory=lambda: array("d"))

    def add(self, time_ns: int, value: float) -> None:
        """Add a value; one that is not later than the last one says nothing new."""
        if not self.times_ns or time_ns > self.times_ns[-1]:
            self.times_ns.append(time_ns)
            self.values.append(value)

    def inside(self, begin_ns: int, end_ns: int) -> Sequence[float]:
        """Return the values within a window."""
        return self.values[bisect_left(self.times_ns, begin_ns) : bisect_right(self.times_ns, end_ns)]

    def at(self, time_ns: int) -> float | None:
        """Return the value at a moment, by those before and after it; None where they lie too far apart."""
        after = bisect_left(self.times_ns, time_ns)
        if after < len(self.times_ns) and self.times_ns[after] == time_ns:
            return self.values[after]
        if not 0 < after < len(self.times_ns):
            return None
        times, values = self.times_ns[after - 1 : after + 1], self.values[after - 1 : after + 1]
        if times[1] - times[0] > _MOST_GAP_NS:
            return None
        return values[0] + (time_ns - times[0]) / (times[1] - times[0]) * (values[1] - values[0])

    def mean(self, begin_ns: int, end_ns: int) -> float | None:
        """Return the mean over a window, by trapezia between values; None where two lie too far apart."""
        low, high = self.at(begin_ns), self.at(end_ns)
        if low is None or high is None:
            return None
        first, last = bisect_right(self.times_ns, begin_ns), bisect_left(self.times_ns, end_ns)
        known = zip(self.times_ns[first:last], self.values[first:last], strict=True)
        points = [(begin_ns, low), *known, (end_ns, high)]
        if any(after[0] - before[0] > _MOST_GAP_NS for before, after in pairwise(points)):
            return None
        area = math.fsum((after[0] - before[0]) * (after[1] + before[1]) / 2 for before, after in pairwise(points))
        return area / (end_ns - begin_ns)


@dataclass(slots=True, kw_only=True)
class Device:
    """One device of a monitor's samples. ``names``: its number and UUID; ``throttled``: when it was slowed, and why."""

    name: str
    names: frozenset[str]
    columns: dict[str, Column] = field(default_factory=dict)
    throttled: list[tuple[int, tuple[str, ...]]] = field(default_factory=list)

    def add(self, time_ns: int, data: Mapping[str, Any]) -> None:
        """Add what a sample says of it; a device that answered late says of how long before that is."""
        late_s = data.get("late_s")
        time_ns -= round(late_s * 1e9) if is_number(late_s) and 0 < late_s <= _MOST_LATE_S else 0
        ecc = mapping(data.get("ecc"))
        _add(self.columns, {name: data.get(name) for name in _DEVICE}, time_ns)
        _add(self.columns, {name: ecc.get(name) for name in _ECC}, time_ns)
        words = data.get("throttle")
        if isinstance(words, list) and words:
            self.throttled.append((time_ns, tuple(word for word in words if isinstance(word, str))))


@dataclass(slots=True, kw_only=True)
class Stretch:
    """Samples of one monitor between which its clock went forward."""

    cores: int | None = None
    begin_ns: int = 0
    end_ns: int = 0
    columns: dict[str, Column] = field(default_factory=dict)
    devices: dict[str, Device] = field(default_factory=dict)

    def overlap_ns(self, begin_ns: int, end_ns: int) -> int:
        """Return how much of a window lies between the first and the last sample."""
        return max(min(end_ns, self.end_ns) - max(begin_ns, self.begin_ns), 0)

    def add(self, time_ns: int, data: Mapping[str, Any]) -> None:
        """Add a sample."""
        self.begin_ns, self.end_ns = self.begin_ns or time_ns, time_ns
        power = mapping(data.get("power"))
        _add(self.columns, {name: mapping(data.get("cpu")).get(name) for name in _CPU}, time_ns)
        _add(self.columns, {f"rapl.{name}": value for name, value in mapping(power.get("rapl_j")).items()}, time_ns)
        _add(self.columns, {"ipmi_w": power.get("ipmi_w"), "own_cpu_s": data.get("own_cpu_s")}, time_ns)
        several = data.get("devices")
        for each in several if isinstance(several, list) else ():
            names = [str(each[key]) for key in ("id", "uuid") if mapping(each).get(key) is not None]
            if names:
                device = self.devices.setdefault(names[-1], Device(name=names[0], names=frozenset(names)))
                device.add(time_ns, each)


def read(lines: Iterable[Mapping[str, Any]]) -> list[Stretch]:
    """Return the samples of a monitor's file in stretches, by its lines.

    A new one begins with each monitor that wrote it (a resumed run has several) and where the clock was set back.
    """
    found: list[Stretch] = []
    for line in lines:
        event, time_ns, data = line.get("event"), line.get("time_ns"), line.get("data")
        if not is_moment(time_ns) or not isinstance(data, Mapping):
            continue
        if event == "monitor":
            cores = data.get("cores")
            found.append(Stretch(cores=cores if type(cores) is int and 0 < cores <= _MOST_CORES else None))
        elif event == "sample":
            if not found:
                found.append(Stretch())
            if time_ns <= found[-1].end_ns:
                found.append(Stretch(cores=found[-1].cores))
            found[-1].add(time_ns, data)
    return found


def is_moment(value: object) -> TypeGuard[int]:
    """Say whether a value is a time in ns since 1970; files may hold anything."""
    return type(value) is int and 0 < value < _MOST_NS


def _add(columns: dict[str, Column], values: Mapping[str, object], time_ns: int) -> None:
    for name, value in values.items():
        if is_number(value):
            columns.setdefault(name, Column()).add(time_ns, float(value))


class Window:
    """A span of time on a stretch of samples, wall clock in ns; ``seconds`` of it are covered by them."""

    def __init__(self, stretch: Stretch, begin_ns: int, end_ns: int) -> None:
        self.stretch = stretch
        self.asked_s = (end_ns - begin_ns) / 1e9
        self._begin_ns, self._end_ns = max(begin_ns, stretch.begin_ns), min(end_ns, stretch.end_ns)
        self.seconds = (self._end_ns - self._begin_ns) / 1e9

    def devices(self, names: Collection[str]) -> list[Device]:
        """Return the devices of these numbers or UUIDs."""
        return [device for device in self.stretch.devices.values() if not device.names.isdisjoint(names)]

    def growth(self, column: Column | None) -> float | None:
        """Return by how much a counter grew; None where it is not known, or was set back."""
        if column is None:
            return None
        before, after = column.at(self._begin_ns), column.at(self._end_ns)
        return after - before if before is not None and after is not None and after >= before else None

    def power(self, column: Column | None) -> float | None:
        """Return the mean growth of a counter a second; None in a window with too few values: it would be a guess."""
        grown = self.growth(column) if self._knows(column) else None
        return None if grown is None else grown / self.seconds

    def mean(self, column: Column | None) -> float | None:
        """Return the mean of what a meter said; None where too few values lie in the window, or a gap."""
        known = column is not None and self._knows(column)
        return column.mean(self._begin_ns, self._end_ns) if column is not None and known else None

    def cpu_share(self, seconds: float | None) -> float | None:
        """Return a time of all cores as a share of what they have; None where that is more than there is."""
        if seconds is None or self.stretch.cores is None:
            return None
        share = seconds / (self.stretch.cores * self.seconds)
        return min(share, 1.0) if share <= _POSSIBLE else None

    def wall_share(self, seconds: float | None) -> float | None:
        """Return a time as a share of the window; None where that is more than there is."""
        if seconds is None or seconds > _POSSIBLE * self.seconds:
            return None
        return min(seconds / self.seconds, 1.0)

    def values(self, column: Column | None) -> Sequence[float]:
        """Return what was told within the window."""
        return () if column is None else column.inside(self._begin_ns, self._end_ns)

    def throttled(self, device: Device) -> Iterator[str]:
        """Yield the reasons for which a device was slowed, by what was told within the window."""
        for time_ns, words in device.throttled:
            if self._begin_ns <= time_ns <= self._end_ns:
                yield from words

    def _knows(self, column: Column | None) -> bool:
        return len(self.values(column)) >= 2


def window(stretches: Sequence[Stretch], begin_ns: int, end_ns: int) -> Window | None:
    """Return a window on the samples that cover it; None where none do, or two do, since a clock was set."""
    if end_ns <= begin_ns:
        return None
    least = _COVERED * (end_ns - begin_ns)
    covering = [stretch for stretch in stretches if stretch.overlap_ns(begin_ns, end_ns) >= least]
    return Window(covering[0], begin_ns, end_ns) if len(covering) == 1 else None
