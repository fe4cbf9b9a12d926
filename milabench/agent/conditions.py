"""The state of a node that a measurement depends on, read from the kernel: disks, limits, processor, memory, load.

What a kernel, a container or a file system does not tell is None: not known, never an error. ``root`` stands before
``/proc`` and ``/sys``, for tests.
"""

from __future__ import annotations

import ctypes
import os
import re
import resource
import stat
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from typing import Any

from milabench.agent import accelerators, once

Known = dict[str, Any]
ROOT = Path("/")
_LIMITS = ("nofile", "nproc", "memlock", "stack", "core")
_SHARED = Path("/dev/shm")  # noqa: S108 - it is only looked at
_LOOK_S, _LONG_LOOK_S = 0.1, 0.5
_CALM_CORES = 0.5
_TIME_ERROR = 5  # what adjtimex() returns for a clock that nothing keeps right


def conditions(asked: Mapping[str, Any]) -> Known:
    """Return the conditions of this node.

    ``asked`` has ``arch``, ``folders`` (path by name), ``files`` (paths, to say which are there), ``needed`` (folders,
    to say which are not), ``environments`` and ``data`` (what makes them needed once, by name); ``nofile`` are the
    limits that benchmarks start with, where this process has raised its own.
    """
    busy = busy_cores()  # first: what follows is work, too
    return {
        "load": {"busy_cores": busy, **load()},
        "disks": {name: disk(Path(path)) for name, path in asked["folders"].items()},
        "shared_memory": disk(_SHARED) if _is_folder(_SHARED) else None,
        "files": [path for path in asked["files"] if _is_file(Path(path))],
        "absent": [path for path in asked.get("needed", ()) if not _is_folder(Path(path))],
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
    """Return the file system that a path is on or, where nothing is there yet, would be on.

    A folder that can be neither reached nor made is not writable.
    """
    above = (path, *path.parents)
    absent = tuple(takewhile(lambda each: not _there(each), above))
    if len(absent) == len(above):
        return None
    there = above[len(absent)]
    try:
        found, device = os.statvfs(there), there.stat().st_dev
    except OSError:
        return None
    writable = _is_folder(there) and os.access(there, os.W_OK | os.X_OK) and not found.f_flag & os.ST_RDONLY
    return {
        "path": str(path),
        "kind": _kind(Path(os.path.realpath(there)), root),
        "total_bytes": found.f_blocks * found.f_frsize,
        "free_bytes": found.f_bavail * found.f_frsize,
        "free_files": found.f_favail if found.f_files else None,  # btrfs and others have no such limit
        "device": device,
        "writable": writable and all(map(_can_be_made, absent)),
    }


def _can_be_made(absent: Path) -> bool:
    """Say whether nothing is in the place of what is not there: no link to what is gone, nothing that forbids to look.

    Nor may its name be too long.
    """
    try:
        absent.lstat()
    except FileNotFoundError:
        return True
    except (OSError, ValueError):
        return False
    return False


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
    policies = _matching(root / "sys/devices/system/cpu/cpufreq", "policy*")
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
        share, whole = _real(quota), _real(period)
        if share is not None and share > 0 and whole is not None and whole >= 1:  # -1 and "max" are none
            granted.append(share / whole)
    return min(granted, default=None)


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
    amounts = {row[0]: _whole(row[1]) for row in rows if len(row) == 3}
    found = {name: amount * 1024 for name, amount in amounts.items() if amount is not None}
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
            left.append(min(limit - used + _cached(folder), limit))
    return min(limits, default=None), min(left, default=None)


def _cached(folder: Path) -> int:
    """Return what the kernel takes back when memory is short: read files, and lists of them (version 1: the former)."""
    rows = {line.split(" ")[0]: _whole(line.split(" ")[1]) for line in _lines(folder / "memory.stat") if " " in line}
    own = sum(rows.get(name) or 0 for name in ("inactive_file", "active_file", "slab_reclaimable"))
    below = sum(rows.get(f"total_{name}") or 0 for name in ("inactive_file", "active_file"))  # of all below it, too
    return below or own


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of the control groups of this process, from its own to the outermost that can be seen."""
    top = root / "sys/fs/cgroup"
    for line in _lines(root / "proc/self/cgroup"):
        number, controllers, path = (line.split(":", 2) + ["", ""])[:3]
        if controller in controllers.split(","):
            folder = next((top / name for name in (controllers, controller) if _is_folder(top / name)), None)
        else:
            folder = top if number == "0" and not controllers else None
        if folder is not None:
            own = folder / path.strip("/")
            yield from (each for each in (own, *own.parents) if each == folder or folder in each.parents)


# Load ----------------------------------------------------------------------------------------------------------------


def busy_cores(root: Path = ROOT) -> float | None:
    """Return how many of the cores that this process may use do not idle.

    Where that is next to nothing in a tenth of a second, that is told; else it is the mean of half a second.
    """
    before, busy = _ticks(root), None
    for wait_s in (_LOOK_S, _LONG_LOOK_S - _LOOK_S):
        time.sleep(wait_s)
        busy = _busy(before, _ticks(root))
        if busy is None or busy < _CALM_CORES:
            return busy
    return busy


def _ticks(root: Path) -> dict[str, tuple[int, int]]:
    """Return the time that each core that may be used idled, and all its time, in ticks."""
    usable, found = {f"cpu{number}" for number in os.sched_getaffinity(0)}, {}
    for line in _lines(root / "proc/stat"):
        name, *words = line.split(" ")
        counts = [_whole(word) or 0 for word in words[:8]]
        if name in usable and len(counts) == 8:
            found[name] = (sum(counts[3:5]), sum(counts))
    return found


def _busy(before: Mapping[str, tuple[int, int]], now: Mapping[str, tuple[int, int]]) -> float | None:
    """Return how many cores were busy between two looks, in all."""
    spans = [(now[each][0] - before[each][0], now[each][1] - before[each][1]) for each in before.keys() & now.keys()]
    shares = [1 - idle / whole for idle, whole in spans if 0 <= idle <= whole and whole > 0]
    return round(sum(shares), 2) if shares else None


def load(root: Path = ROOT) -> Known:
    """Return the mean number of running processes, and the share of the last ten seconds in which some waited."""
    means = (_word(root / "proc/loadavg") or "").split()
    return {
        "mean_1min": _real(means[0]) if len(means) == 5 else None,
        "waiting": {name: _pressure(root / f"proc/pressure/{name}") for name in ("cpu", "memory", "io")},
    }


def _pressure(path: Path) -> float | None:
    found = re.search(r"^some avg10=(\S+)", "\n".join(_lines(path)), re.MULTILINE)
    share = _real(found[1]) if found else None
    return None if share is None else share / 100


# Kernel --------------------------------------------------------------------------------------------------------------


def kernel(root: Path = ROOT) -> Known:
    """Return the settings of the kernel that a measurement feels."""
    nodes = [path for path in _matching(root / "sys/devices/system/node", "node[0-9]*") if _is_folder(path)]
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


# Reading: what cannot be read is not there, and what is no number is none -------------------------------------------


def _there(path: Path) -> bool:
    return _mode(path) is not None


def _is_file(path: Path) -> bool:
    return stat.S_ISREG(_mode(path) or 0)


def _is_folder(path: Path) -> bool:
    return stat.S_ISDIR(_mode(path) or 0)


def _mode(path: Path) -> int | None:
    try:
        return path.stat().st_mode
    except (OSError, ValueError):  # also: no permission, a name that is too long, one with a zero byte
        return None


def _matching(folder: Path, pattern: str) -> Sequence[Path]:
    with suppress(OSError, ValueError):
        return sorted(folder.glob(pattern))
    return ()


def _lines(path: Path) -> Sequence[str]:
    try:
        return path.read_text(errors="replace").splitlines()
    except (OSError, ValueError):
        return ()


def _word(path: Path) -> str | None:
    lines = _lines(path)
    return lines[0].strip() if lines else None


def _number(path: Path) -> int | None:
    return _whole(_word(path))


def _whole(word: str | None) -> int | None:
    return int(word) if word is not None and re.fullmatch(r"-?[0-9]{1,20}", word) else None


def _real(word: str | None) -> float | None:
    return float(word) if word is not None and re.fullmatch(r"-?[0-9]{1,20}(\.[0-9]{1,20})?", word) else None
