"""The state of a node that a measurement depends on, read from the kernel: disks, limits, processor, memory, load.

What a kernel, a container or a file system does not tell is None: not known, never an error. ``root`` stands before
``/proc`` and ``/sys``, for tests.
"""

from __future__ import annotations

import ctypes
import os
import re
import resource
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from milabench.agent import accelerators, once

Known = dict[str, Any]
ROOT = Path("/")
_LIMITS = ("nofile", "nproc", "memlock", "stack", "core")
_LOOK_S = 0.1
_TIME_ERROR = 5  # what adjtimex() returns for a clock that nothing keeps right


def conditions(asked: Mapping[str, Any]) -> Known:
    """Return the conditions of this node.

    ``asked`` has ``arch``, ``folders`` (path by name), ``files`` (paths, to say which are there), ``environments`` and
    ``data`` (what makes them needed once, by name); ``nofile`` are the limits that benchmarks start with, where this
    process has raised its own.
    """
    busy = busy_cores()  # first: what follows is work, too
    return {
        "load": {"busy_cores": busy, **load()},
        "disks": {name: disk(Path(path)) for name, path in asked["folders"].items()},
        "shared_memory": disk(Path("/dev/shm")) if Path("/dev/shm").is_dir() else None,  # noqa: S108 - it is asked about
        "files": [path for path in asked["files"] if Path(path).is_file()],
        "limits": limits(asked.get("nofile")),
        "cpu": cpu(),
        "memory": memory(),
        "kernel": kernel(),
        "accelerators": accelerators.state(asked["arch"]),
        "environments": {name: once.state(each) for name, each in asked["environments"].items()},
        "data": [name for name, each in asked["data"].items() if once.done(each)],
    }


# Disks ---------------------------------------------------------------------------------------------------------------


def disk(path: Path, root: Path = ROOT) -> Known | None:
    """Return the file system that a path is on or, where nothing is there yet, would be on."""
    there = next((each for each in (path, *path.parents) if each.exists()), None)
    if there is None:
        return None
    try:
        found = os.statvfs(there)
    except OSError:
        return None
    return {
        "path": str(path),
        "kind": _kind(there.resolve(), root),
        "total_bytes": found.f_blocks * found.f_frsize,
        "free_bytes": found.f_bavail * found.f_frsize,
        "free_files": found.f_favail if found.f_files else None,  # btrfs and others have no such limit
        "device": there.stat().st_dev,
        "writable": os.access(there, os.W_OK | os.X_OK) and not found.f_flag & os.ST_RDONLY,
    }


def _kind(path: Path, root: Path) -> str | None:
    """Return the type of the file system at a path: that of the last mount at the longest of its parents."""
    best: tuple[int, str | None] = (0, None)
    for line in _lines(root / "proc/self/mounts"):
        fields = line.split()
        if len(fields) < 3:
            continue
        mount = Path(re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), fields[1]))
        if path.is_relative_to(mount) and len(mount.parts) >= best[0]:
            best = (len(mount.parts), fields[2])
    return best[1]


# Limits --------------------------------------------------------------------------------------------------------------


def limits(nofile: tuple[int, int] | None = None) -> dict[str, list[int | None]]:
    """Return the soft and the hard limits of processes, None is unlimited; of open files those that are given."""
    found = {name: resource.getrlimit(getattr(resource, f"RLIMIT_{name.upper()}")) for name in _LIMITS}
    found |= {} if nofile is None else {"nofile": nofile}
    return {
        name: [None if value == resource.RLIM_INFINITY else value for value in pair] for name, pair in found.items()
    }


# Processor -----------------------------------------------------------------------------------------------------------


def cpu(root: Path = ROOT) -> Known:
    """Return the cores, what of them may be used, and how their clocks are kept; frequencies in kHz."""
    policies = sorted((root / "sys/devices/system/cpu/cpufreq").glob("policy*"))
    bounds = ((_number(each / "scaling_max_freq"), _number(each / "cpuinfo_max_freq")) for each in policies)
    limited = [(allowed, most) for allowed, most in bounds if allowed and most and allowed < most]
    return {
        "cores": os.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0)),
        "quota_cores": _quota(root),
        "governors": dict(Counter(word for each in policies if (word := _word(each / "scaling_governor")))),
        "driver": _word(policies[0] / "scaling_driver") if policies else None,
        "boost": _boost(root),
        "limited_khz": min(limited, default=None),
    }


def _quota(root: Path) -> float | None:
    """Return how many cores' worth of time the control groups grant."""
    granted: list[float] = []
    for folder in _groups(root, "cpu"):
        words = (_word(folder / "cpu.max") or "").split()  # version 2: quota and period in one file
        quota = words[0] if words else _word(folder / "cpu.cfs_quota_us")
        period = words[1] if len(words) > 1 else _word(folder / "cpu.cfs_period_us")
        with suppress(TypeError, ValueError, ZeroDivisionError):
            granted.append(float(str(quota)) / float(str(period)))
    return min((each for each in granted if each > 0), default=None)


def _boost(root: Path) -> bool | None:
    cpus = root / "sys/devices/system/cpu"
    off, on = _number(cpus / "intel_pstate/no_turbo"), _number(cpus / "cpufreq/boost")
    if off is not None:
        return off == 0
    return None if on is None else on == 1


# Memory --------------------------------------------------------------------------------------------------------------


def memory(root: Path = ROOT) -> Known:
    """Return the memory of the machine and what the control groups leave of it, in bytes."""
    rows = (line.replace(":", "").split() for line in _lines(root / "proc/meminfo"))
    found = {row[0]: int(row[1]) * 1024 for row in rows if len(row) == 3 and row[1].isdigit()}
    limit, left = _memory_limit(root)
    return {
        "total_bytes": found.get("MemTotal"),
        "available_bytes": found.get("MemAvailable"),
        "swap_bytes": found.get("SwapTotal"),
        "swap_used_bytes": found["SwapTotal"] - found["SwapFree"]
        if {"SwapTotal", "SwapFree"} <= found.keys()
        else None,
        "limit_bytes": limit,
        "left_bytes": left,
    }


def _memory_limit(root: Path) -> tuple[int | None, int | None]:
    """Return the tightest limit of a control group, and the least that is left below one; caches count as left."""
    limits, left = [], []
    for folder in _groups(root, "memory"):
        limit = _number(folder / "memory.max") or _number(folder / "memory.limit_in_bytes")
        if limit is None or limit >= 2**60:  # version 1 writes a number of its own for "none"
            continue
        limits.append(limit)
        used = _number(folder / "memory.current") or _number(folder / "memory.usage_in_bytes")
        if used is not None:
            left.append(limit - used + _cached(folder))
    return min(limits, default=None), min(left, default=None)


def _cached(folder: Path) -> int:
    rows = dict(line.split()[:2] for line in _lines(folder / "memory.stat") if line.count(" ") == 1)
    value = rows.get("total_inactive_file") or rows.get("inactive_file") or "0"
    return int(value) if value.isdigit() else 0


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of the control groups of this process, from its own to the outermost that can be seen."""
    top = root / "sys/fs/cgroup"
    for line in _lines(root / "proc/self/cgroup"):
        number, controllers, path = (line.split(":", 2) + ["", ""])[:3]
        if controller in controllers.split(","):
            folder = next((top / name for name in (controllers, controller) if (top / name).is_dir()), None)
        else:
            folder = top if number == "0" and not controllers else None
        if folder is not None:
            own = folder / path.strip("/")
            yield from (each for each in (own, *own.parents) if each == folder or folder in each.parents)


# Load ----------------------------------------------------------------------------------------------------------------


def busy_cores() -> float | None:
    """Return how many cores of the whole machine do not idle in the tenth of a second that this takes."""
    before = _ticks(ROOT)
    time.sleep(_LOOK_S)
    now = _ticks(ROOT)
    if before is None or now is None or now[1] <= before[1]:
        return None
    return round((1 - (now[0] - before[0]) / (now[1] - before[1])) * (os.cpu_count() or 1), 2)


def _ticks(root: Path) -> tuple[int, int] | None:
    """Return the time that all cores together idled, and all their time, in ticks."""
    for line in _lines(root / "proc/stat"):
        if line.startswith("cpu "):
            counts = [int(word) for word in line.split()[1:9] if word.isdigit()]
            return (sum(counts[3:5]), sum(counts)) if len(counts) == 8 else None
    return None


def load(root: Path = ROOT) -> Known:
    """Return the mean number of running processes, and the share of the last ten seconds in which some waited."""
    means = (_word(root / "proc/loadavg") or "").split()
    return {
        "mean_1min": float(means[0]) if len(means) == 5 else None,
        "waiting": {name: _pressure(root / f"proc/pressure/{name}") for name in ("cpu", "memory", "io")},
    }


def _pressure(path: Path) -> float | None:
    found = re.search(r"^some avg10=([\d.]+)", "\n".join(_lines(path)), re.MULTILINE)
    return float(found[1]) / 100 if found else None


# Kernel --------------------------------------------------------------------------------------------------------------


def kernel(root: Path = ROOT) -> Known:
    """Return the settings of the kernel that a measurement feels."""
    nodes = [path for path in (root / "sys/devices/system/node").glob("node[0-9]*") if path.is_dir()]
    balancing = _number(root / "proc/sys/kernel/numa_balancing")
    pages = re.search(r"\[(\w+)\]", _word(root / "sys/kernel/mm/transparent_hugepage/enabled") or "")
    return {
        "clock": _word(root / "sys/devices/system/clocksource/clocksource0/current_clocksource"),
        "clock_is_kept_right": _is_kept_right(),
        "huge_pages": pages[1] if pages else None,
        "numa_nodes": len(nodes) or None,
        "numa_balancing": None if balancing is None else balancing > 0,
        "core_pattern": _word(root / "proc/sys/kernel/core_pattern"),
    }


def _is_kept_right() -> bool | None:
    """Say whether something keeps the wall clock right (NTP, PTP, the host of a virtual machine), by ``adjtimex``."""
    try:
        state: int = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.create_string_buffer(512))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != _TIME_ERROR


def _lines(path: Path) -> Sequence[str]:
    try:
        return path.read_text(errors="replace").splitlines()
    except OSError:
        return ()


def _word(path: Path) -> str | None:
    lines = _lines(path)
    return lines[0].strip() if lines else None


def _number(path: Path) -> int | None:
    word = _word(path)
    return int(word) if word is not None and word.removeprefix("-").isdigit() else None
