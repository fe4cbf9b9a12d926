"""Whether benchmarks fit into the memory of their devices, by what was seen of them (scaling files)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from milabench import amounts
from milabench.plan.scaling import Observation
from milabench.plan.sizing import fit
from milabench.preflight import accelerators
from milabench.preflight.conditions import Conditions
from milabench.preflight.types import Finding, Wanted
from milabench.system.types import System

_ARGUMENTS = ("--batch-size", "--batch_size", "--per_gpu_batch_size", "--per-device-batch-size")


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """The memory that a batch size takes, in bytes; ``seen``: at least so much was taken, at it or a smaller one."""

    memory_bytes: int
    seen: bool
    how: str


def findings(conditions: Conditions, system: System, wanted: Wanted) -> Iterator[Finding]:
    """Yield the benchmarks that need more memory than a device has, or has left."""
    scaling = wanted.scaling
    devices = accelerators.devices_of(system, wanted)
    total = min((each.memory_bytes for each in devices if each.memory_bytes), default=None)
    if scaling is None or total is None:
        return
    whole = (each for each in accelerators.used(conditions, system, wanted) if not each.divided)
    held = max((each.used_bytes or 0 for each in whole), default=0)
    for name, size in batch_sizes(wanted):
        entry = scaling.entries.get(name)
        known = need(size, entry.observations) if entry else None
        if known is not None and known.memory_bytes > total - held:
            yield _too_large(name, size, known, total, held)


def _too_large(name: str, size: int, known: Need, total: int, held: int) -> Finding:
    over = known.memory_bytes > total
    has = f"the device has {amounts.size(total)}"
    has += "" if over else f", of which {amounts.size(held)} are held already"
    return Finding(
        code="device-memory",
        severity="blocking" if over and known.seen else "warning",
        subject=name,
        what=f"{name} takes {amounts.size(known.memory_bytes)} at batch size {size} ({known.how}), {has}",
        consequence="it runs out of memory, and counts as failed",
        remedy=f"choose a smaller batch size (--override system.options.sizer.auto=1 chooses), or --exclude {name}",
    )


def batch_sizes(wanted: Wanted) -> Iterator[tuple[str, int]]:
    """Yield the batch size of each benchmark of which it is known: as planned, or as its arguments have it."""
    planned: dict[str, int] = {}
    for each in wanted.plan.sizes:
        planned[each.benchmark] = max(each.batch_size, planned.get(each.benchmark, 0))
    for name, config in wanted.benchmarks.items():
        size = planned.get(name) or _argument(config)
        if size:
            yield name, size


def _argument(config: Mapping[str, Any]) -> int | None:
    argv = config.get("argv", {})
    found = (argv[name] for name in _ARGUMENTS if isinstance(argv, Mapping) and name in argv)
    return next((int(str(value)) for value in found if str(value).isdecimal()), None)


def need(size: int, observations: tuple[Observation, ...]) -> Need | None:
    """Return the memory that a batch size takes: the most seen at it, else by the line through what was seen.

    Where there is no line, what a smaller batch size took is the least it takes. None: not known.
    """
    at_it = [each.memory_bytes for each in observations if each.batch_size == size]
    if at_it:
        return Need(memory_bytes=max(at_it), seen=True, how="seen")
    below = max((each.memory_bytes for each in observations if each.batch_size < size), default=0)
    points = [(each.batch_size, each.memory_bytes) for each in observations]
    line = fit(*zip(*points, strict=True)) if points else None
    if line is not None and line[0] > 0:
        estimate = int(line[0] * size + line[1])
        if estimate > below:
            return Need(memory_bytes=estimate, seen=False, how=f"by a line through {len(points)} points")
    return Need(memory_bytes=below, seen=True, how="seen at a smaller one") if below else None
