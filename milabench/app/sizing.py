"""Scaling files on disk: the one that batch sizes are worked out of, and the one that takes what a run shows."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import yaml

from milabench import document, resources
from milabench.errors import ConfigurationError, UsageError
from milabench.options import Sizer
from milabench.paths import exists, expanded, is_folder
from milabench.plan import Plan, Size, scaling
from milabench.plan.scaling import Observation, Scaling
from milabench.summary import BenchmarkSummary, summarize
from milabench.summary.types import Run
from milabench.system.types import System


def wanted(system: System) -> Scaling | None:
    """Return the scaling file that batch sizes are worked out of, None where none is needed, or there is none.

    Raises UsageError where ``sizer.config`` or ``sizer.save`` names what cannot be read or written, and
    ConfigurationError with every mistake in a file.
    """
    sizer = system.options.sizer
    if sizer.save is not None:
        _check_can_be_saved(sizer.save)
    fixed = sizer.batch_size is not None or sizer.add is not None or sizer.mult is not None
    path = _path(system, sizer) if sizer.auto and not fixed else None
    return None if path is None else scaling.read(path)


def known(system: System) -> Scaling | None:
    """Return what is known of the memory that benchmarks take on the system's devices, whether or not it is sized by.

    None where there is no scaling file that can be read: nothing depends on it then.
    """
    try:
        path = _path(system, system.options.sizer)
        return None if path is None else scaling.read(path)
    except (ConfigurationError, UsageError):
        return None


def save(plan: Plan, record: Run, path: Path) -> int:
    """Add what a run shows of its benchmarks to a scaling file; return how many were added.

    It shows something of a benchmark where none of its processes failed, and the memory of devices was read. Raises
    ConfigurationError where the file cannot be read any more, OSError where it cannot be written.
    """
    found = list(_observations(plan, record))
    if found:
        written = {}
        if path.exists():
            scaling.read(path)
            written = document.plain(document.read(path))
        content = scaling.with_observations(written, found)
        partial = path.with_name(f"{path.name}.partial")
        partial.write_text(yaml.safe_dump(content, default_flow_style=None, sort_keys=False, width=1000))
        partial.replace(path)
    return len(found)


def _observations(plan: Plan, record: Run) -> Iterator[tuple[str, Observation]]:
    sizes: dict[str, list[Size]] = {}
    for size in plan.sizes:
        sizes.setdefault(size.benchmark, []).append(size)
    for found in summarize(record).benchmarks:
        chosen = sizes.get(found.name, [])
        if len(chosen) == 1 and _shows(found) and found.memory and found.perf:
            yield (
                found.name,
                Observation(
                    batch_size=chosen[0].batch_size,
                    memory_bytes=found.memory.peak_bytes,
                    perf=found.perf,
                    cpu=chosen[0].workers or 0,
                    time=int(time.time()),
                ),
            )


def _shows(found: BenchmarkSummary) -> bool:
    return found.n > 0 and found.failed == 0 and found.memory is not None and found.memory.source == "device"


def _path(system: System, sizer: Sizer) -> Path | None:
    """Return the file that is named, by its path or as one that milabench brings, or that of the device."""
    folder = resources.data_root() / "config" / "scaling"
    if sizer.config is None:
        device = next(iter(system.main.devices), None)
        path = folder / f"{device.name.replace('/', '-')}.yaml" if device else None
        return path if path and exists(path) else None
    named = expanded(sizer.config)
    if exists(named):
        return named
    brought = (folder / named.name).with_suffix(".yaml")
    if named.name == sizer.config and exists(brought):
        return brought
    if sizer.config == sizer.save:
        return None  # to be begun by this run
    raise UsageError(f"sizer.config: there is no scaling file {sizer.config}: give the path of one")


def _check_can_be_saved(name: str) -> None:
    """Raise an error before a run, not after it, where a file cannot take what it shows."""
    path = expanded(name)
    if exists(path):
        scaling.read(path)
    elif not is_folder(path.parent):
        raise UsageError(f"sizer.save: there is no folder {path.parent}: make it, or name another file")
