"""Batch sizes: what ``auto_batch(default)`` comes to, and why. Pure; the options are ``sizer.*`` of ``OPTIONS``.

As in milabench: with ``auto``, ``add`` and ``mult`` change a benchmark's own size; ``batch_size`` takes its place;
``optimized`` is the fastest that was seen and fits; else a straight line through what was seen, by least squares of the
batch size over the memory, says what fills the capacity. Other than there, ``batch_size`` needs no ``auto``, a size is
the ``power`` that is no more than what fits whatever the base, and a benchmark of which too little is known keeps its
own size (there it gets 1, or none).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum
from pathlib import Path
from typing import Any

from milabench import amounts
from milabench.options import Options, Sizer
from milabench.plan.scaling import Observation, Scaling
from milabench.plan.types import Size
from milabench.system.types import Arch, Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizing:
    """What sizes are worked out of: the scaling file (None: there is none), and the memory of a device in bytes."""

    scaling: Scaling | None
    memory_bytes: int | None


def sizing(scaling: Scaling | None, arch: Arch, node: Node) -> Sizing:
    """Return what sizes are worked out of on a node: the least memory of its accelerators counts."""
    known = [device.memory_bytes for device in node.devices if device.memory_bytes]
    return Sizing(scaling=scaling, memory_bytes=min(known, default=None) if arch != "cpu" else None)


class Sizes:
    """What the functions of one benchmark's tokens come to on a node; it remembers what it was asked.

    Without ``sizing`` every benchmark keeps its own batch size.
    """

    def __init__(self, benchmark: str, options: Options, sizing: Sizing | None) -> None:
        self._benchmark = benchmark
        self._sizer, self._counts_cores = options.sizer, options.cpu.enabled
        self._sizing = sizing
        self._chosen: dict[int, tuple[int, str]] = {}
        self._workers: int | None = None

    def auto(self, value: Any, default: Any) -> Any:
        """Return the value where cores are counted, else the default."""
        chosen = value if self._counts_cores else default
        if isinstance(chosen, int):
            self._workers = chosen
        return chosen

    def auto_batch(self, default: int) -> int:
        """Return the batch size for a benchmark's own one."""
        if default not in self._chosen:
            known = self._sizing
            found = choose(self._benchmark, default, self._sizer, known) if known else (default, "")
            self._chosen[default] = found
        return self._chosen[default][0]

    def of(self, default: int, node: str) -> Size:
        """Return the batch size for a benchmark's own one, and why it is that, on a node of several that differ."""
        size = self.auto_batch(default)
        reason = self._chosen[default][1]
        return Size(benchmark=self._benchmark, batch_size=size, default=default, reason=reason, node=node)

    def all(self) -> tuple[Size, ...]:
        """Return the batch sizes that were asked for, and why they are what they are."""
        return tuple(
            Size(benchmark=self._benchmark, batch_size=size, default=default, workers=self._workers, reason=reason)
            for default, (size, reason) in self._chosen.items()
        )


def choose(benchmark: str, default: int, sizer: Sizer, sizing: Sizing) -> tuple[int, str]:
    """Return a benchmark's batch size and why it is that; the reason is empty where sizing is off."""
    if sizer.auto and (sizer.add is not None or sizer.mult is not None):
        size = max(int(default * (sizer.mult or 1)) + (sizer.add or 0), 1)
        parts = [f"sizer.mult {sizer.mult:g}"] if sizer.mult else []
        parts += [f"sizer.add {sizer.add}"] if sizer.add is not None else []
        return size, " and ".join(parts) or "sizer.mult 0 changes nothing"
    if sizer.batch_size is not None:
        return sizer.batch_size, "sizer.batch_size"
    if not sizer.auto:
        return default, ""
    try:
        return _from_scaling(benchmark, sizer, sizing)
    except _Unknown as why:
        return default, f"its own, since {why}"


class _Unknown(Exception):
    """Why a batch size cannot be worked out."""


def _from_scaling(benchmark: str, sizer: Sizer, sizing: Sizing) -> tuple[int, str]:
    if sizing.scaling is None:
        raise _Unknown("there is no scaling file for this device (sizer.config names one)")
    file = Path(sizing.scaling.file).name
    entry = sizing.scaling.entries.get(benchmark)
    if entry is None:
        raise _Unknown(f"{file} says nothing of it")
    if sizer.optimized and entry.optimized and not any(each.perf for each in entry.observations):
        return entry.optimized, f"optimized in {file}"
    capacity = sizer.capacity if isinstance(sizer.capacity, int) else sizing.memory_bytes
    if not capacity:
        raise _Unknown("the memory of the device is not known (sizer.capacity says it)")
    room = amounts.size(capacity)
    if sizing.memory_bytes and capacity > sizing.memory_bytes:
        room += f" (the device has {amounts.size(sizing.memory_bytes)})"
    if sizer.optimized:
        fitting = [each for each in entry.observations if each.perf and each.memory_bytes < capacity]
        if not fitting:
            raise _Unknown(f"{file} has seen no batch size that fits into {room}")
        return max(fitting, key=lambda each: each.perf).batch_size, f"the fastest in {file} that fits into {room}"
    points = f"{len(entry.observations)} points of {file}"
    filling = _filling(entry.observations, capacity)
    if filling < 1:
        raise _Unknown(f"nothing fits into {room} by {points}")
    size = rounded(filling, sizer.multiple, sizer.power or 0)
    most = max(each.batch_size for each in entry.observations)
    beyond = f", beyond the {most} seen at most" if size > most else ""
    whole = rounded(filling, 0, 0)
    if size == whole:
        return size, f"fills {room} by {points}{beyond}"
    return size, f"{whole} fills {room} by {points}; {_rounding(whole, sizer)}{beyond}"


def _rounding(whole: int, sizer: Sizer) -> str:
    if sizer.power and sizer.power > 1:
        return f"rounded down to a power of {sizer.power}"
    if whole < sizer.multiple:
        return f"1, since no multiple of {sizer.multiple} is below"
    return f"rounded down to a multiple of {sizer.multiple}"


def _filling(observations: Sequence[Observation], capacity: int) -> float:
    """Return the batch size that fills a capacity by the line through what was seen. Raises _Unknown without one."""
    if len({each.batch_size for each in observations}) < 2:
        raise _Unknown("a line needs observations at two batch sizes")
    line = fit([each.memory_bytes for each in observations], [each.batch_size for each in observations])
    if line is None:
        raise _Unknown("all its observations took the same memory")
    slope, intercept = line
    if slope <= 0:
        raise _Unknown("larger batch sizes did not take more memory: the line through its observations does not rise")
    return slope * capacity + intercept


def fit(xs: Sequence[float], ys: Sequence[float]) -> tuple[float, float] | None:
    """Return slope and intercept of the line of least squares, None where all ``xs`` are the same."""
    x_mean, y_mean = fsum(xs) / len(xs), fsum(ys) / len(ys)
    spread = fsum((x - x_mean) ** 2 for x in xs)
    if spread == 0:
        return None
    slope = fsum((x - x_mean) * (y - y_mean) for x, y in zip(xs, ys, strict=True)) / spread
    return slope, y_mean - slope * x_mean


def rounded(size: float, multiple: int, power: int) -> int:
    """Return a batch size: the nearest whole one, then the multiple below, or the power below; at least 1."""
    whole = int(size)
    if whole <= 0:
        return 1
    if size - whole > 0.5:
        whole += 1
    if power > 1:
        found = 1
        while found * power <= whole:
            found *= power
        return found
    return max(whole // multiple * multiple if multiple else whole, 1)
