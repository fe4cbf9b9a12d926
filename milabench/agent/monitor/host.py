"""How a node is by its kernel's own files: CPU, memory, disks, network. Nothing has to be installed for it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from milabench.agent.monitor.reader import State
from milabench.agent.monitor.tree import Tree

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_SECTOR: Final = 512  # bytes: what /proc/diskstats counts in, whatever a disk has
_BUSIEST: Final = 4  # cores whose clock is read: reading hundreds costs, and may interrupt each of them
_MOSTLY: Final = 0.5  # of its time a core has to have been busy: one that idles is slow because it idles
_LOOK_TICKS: Final = max(_TICKS // 4, 1)  # between two looks at who was busy: in fewer ticks it is chance
_UNREADABLE = (OSError, ValueError, IndexError, KeyError)


class Host:
    """Reads the kernel's files below ``root``; ``states`` says of each part how it stands."""

    def __init__(self, tree: Callable[[], Tree], root: Path = Path("/")) -> None:
        self._root, self._make_tree = str(root).rstrip("/"), tree
        self._tree: Tree | None = None
        self._cores: list[list[str]] = []
        self._clocks = _Clocks()
        self._disks, self._links = _Hardware(root / "sys/block"), _Hardware(root / "sys/class/net")
        self._parts: list[tuple[str, str, str, Callable[[], dict[str, float | int]]]] = [
            ("cpu", "cpu", "/proc/stat", self._cpu),
            ("ours", "cpu", "/proc/PID/stat", self._ours),
            ("pressure", "cpu", "/proc/pressure/cpu", self._pressure),
            ("clock", "cpu", "/sys/devices/system/cpu/*/cpufreq", self._clock),
            ("memory", "memory", "/proc/meminfo", self._memory),
            ("disk", "disk", "/proc/diskstats", self._disk),
            ("network", "network", "/proc/net/dev", self._network),
        ]
        self.states: dict[str, State] = {}

    def read(self) -> dict[str, Any]:
        """Return the parts of a sample; what cannot be read is left out."""
        found: dict[str, Any] = {}
        for name, section, path, read in self._parts:
            try:
                found.setdefault(section, {}).update(read())
                self.states[name] = {"by": path}
            except _UNREADABLE as problem:
                self.states[name] = {"missing": _why(path, problem)}
        return {section: values for section, values in found.items() if values}

    def _text(self, path: str) -> str:
        with open(f"{self._root}/{path}") as file:  # noqa: PTH123 - some of them every second
            return file.read()

    def _cpu(self) -> dict[str, float | int]:
        rows = [line.split() for line in self._text("proc/stat").split("intr", 1)[0].splitlines()]
        user, nice, system, _idle, _waiting, irq, softirq, steal = map(int, rows[0][1:9])
        self._cores = rows[1:]
        return {"busy_s": (user + nice + system + irq + softirq) / _TICKS, "steal_s": steal / _TICKS}

    def _ours(self) -> dict[str, float | int]:
        self._tree = self._tree or self._make_tree()
        return {"ours_s": self._tree.seconds()}

    def _pressure(self) -> dict[str, float | int]:
        """Read ``some avg10=0.00 avg60=0.00 avg300=0.00 total=12345``, in µs."""
        some = self._text("proc/pressure/cpu").splitlines()[0]
        return {"pressure_s": int(some.rpartition("total=")[2]) / 1e6}

    def _clock(self) -> dict[str, float | int]:
        """Read the clock of the cores that have been busy, each by its busy time; nothing where none has."""
        path = "sys/devices/system/cpu/{}/cpufreq/scaling_cur_freq"
        busy = self._clocks.busy(self._cores)
        if not busy:
            os.stat(f"{self._root}/{path.format('cpu0')}")  # noqa: PTH116 - raises OSError where there are no clocks
            return {}
        khz = sum(int(self._text(path.format(core))) * ticks for core, ticks in busy.items()) / sum(busy.values())
        return {"mhz": round(khz / 1000)}

    def _memory(self) -> dict[str, float | int]:
        rows = (line.split() for line in self._text("proc/meminfo").splitlines())
        found = {row[0]: int(row[1]) * 1024 for row in rows}
        return {
            "used_bytes": found["MemTotal:"] - found["MemAvailable:"],
            "total_bytes": found["MemTotal:"],
            "swap_bytes": found["SwapTotal:"] - found["SwapFree:"],
        }

    def _disk(self) -> dict[str, float | int]:
        rows = {row[2]: row for row in (line.split() for line in self._text("proc/diskstats").splitlines())}
        disks = [rows[name] for name in self._disks.among(rows)]
        return {
            "read_bytes": sum(int(row[5]) for row in disks) * _SECTOR,
            "written_bytes": sum(int(row[9]) for row in disks) * _SECTOR,
        }

    def _network(self) -> dict[str, float | int]:
        lines = (line.partition(":") for line in self._text("proc/net/dev").splitlines()[2:])
        rows = {name.strip(): counts.split() for name, _, counts in lines}
        links = [rows[name] for name in self._links.among(rows)]
        return {
            "received_bytes": sum(int(row[0]) for row in links),
            "sent_bytes": sum(int(row[8]) for row in links),
        }


class _Clocks:
    """Tells whose clock says how fast the work of a node goes."""

    def __init__(self) -> None:
        self._before: dict[str, tuple[int, int]] = {}
        self._chosen: list[str] = []

    def busy(self, cores: Iterable[Sequence[str]]) -> dict[str, int]:
        """Return the busy ticks since the last look of some cores that were busy most of that time.

        By their rows in /proc/stat. A look soon after another is none: the next is since the one before.
        """
        now = {row[0]: (sum(map(int, row[1:4])), sum(map(int, row[1:9]))) for row in cores}
        before = {core: ticks for core, ticks in self._before.items() if core in now}
        grown = {core: (now[core][0] - busy, now[core][1] - passed) for core, (busy, passed) in before.items()}
        if self._before and max((passed for _, passed in grown.values()), default=_LOOK_TICKS) < _LOOK_TICKS:
            return {}
        self._before = now
        mostly = {core: busy for core, (busy, passed) in grown.items() if 0 < passed * _MOSTLY <= busy}
        # Those of the last look first: other cores may have another clock without anything having changed.
        self._chosen = sorted(mostly, key=lambda core: (core not in self._chosen, -mostly[core]))[:_BUSIEST]
        return {core: mostly[core] for core in self._chosen}


class _Hardware:
    """Tells which of the kernel's devices are hardware: what passes through a bridge, say, would count twice."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, bool] = {}

    def among(self, names: Iterable[str]) -> list[str]:
        for name in names:
            if name not in self._known:
                self._known[name] = (self._folder / name.replace("/", "!") / "device").exists()
        return [name for name in names if self._known[name]]


def _why(path: str, problem: Exception) -> str:
    if isinstance(problem, FileNotFoundError):
        return f"{path} is not there"
    if isinstance(problem, OSError):
        return f"{path}: {problem.strerror}"
    return f"{path} has another form than is known"
