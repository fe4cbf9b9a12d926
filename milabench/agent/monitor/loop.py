"""The monitor's loop: a sample at each interval, and at once when the agent says that a process has begun or ended.

It is a process of its own (``python -I -S``) that reads its settings and then the agent's marks, a byte each, on its
standard input; when that ends it takes a last sample and ends. One byte on standard output says that the first sample
is written.
"""

from __future__ import annotations

import json
import os
import select
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from milabench.agent import processes
from milabench.agent.failures import bug
from milabench.agent.monitor import amd, intel, nvidia, power, samples
from milabench.agent.monitor.host import Host
from milabench.agent.monitor.reader import NOT_YET, Reader, Source, State
from milabench.agent.monitor.tree import Tree
from milabench.agent.usage import usage

LEAST_S: Final = 0.1  # between two samples, however many processes begin and end
_BEGIN_S: Final = 2.0  # so long the first sample waits for sources that load their libraries, start their tools
_WAIT_S: Final = 0.2  # so long a sample waits for what answered in time before
_DIGITS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a monitor is to do. ``devices`` are those that the run knows; ``nvml`` is the file of nvidia-ml-py."""

    path: str
    node: str
    interval_s: float
    arch: str = "cpu"
    devices: Sequence[Mapping[str, Any]] = field(default=())
    nvml: str = ""


class Monitor:
    """Writes the samples; ``marks`` is the descriptor that the agent writes to."""

    def __init__(self, settings: Settings, host: Host, sources: Sequence[Source], *, file: int, marks: int) -> None:
        self._settings, self._host, self._sources = settings, host, sources
        self._file, self._marks = file, marks
        self._interval_s = max(settings.interval_s, LEAST_S)
        self._last = self._ended = self._grid = time.monotonic()  # of the last sample: its begin, its end
        self._marked = self._torn = False
        self._told: dict[str, State] = {}

    def run(self, begun: Callable[[], object]) -> None:
        """Write until the agent closes its end; ``begun`` is called when the first sample is written."""
        self._begin()
        begun()
        while self._is_to_go_on():
            self._sample(_WAIT_S)
        self._sample(_WAIT_S)

    def _begin(self) -> None:
        """Write the first two lines: the sources are known when they have answered once."""
        sample = self._taken(_BEGIN_S)
        self._told = self._states()
        header = {"version": samples.VERSION, "node": self._settings.node, "interval_s": self._interval_s}
        self._write("monitor", sample[0], {**header, "cores": os.cpu_count(), "sources": self._told})
        self._write("sample", *sample)

    def _sample(self, wait_s: float) -> None:
        sample = self._taken(wait_s)
        self._tell_changes()
        self._write("sample", *sample)

    def _taken(self, wait_s: float) -> tuple[int, dict[str, Any]]:
        """Return a sample and when it is of; what a source said late says so itself."""
        self._last, time_ns = time.monotonic(), time.time_ns()
        for source in self._sources:
            source.ask()
        data = self._host.read()
        for source in self._sources:
            answer = source.answer(max(self._last + wait_s - time.monotonic(), 0.0))
            if answer is not None:
                _add(data, answer[1], late_ns=time_ns - answer[0])
        data["own_cpu_s"] = _own_cpu_s()
        return time_ns, data

    def _states(self) -> dict[str, State]:
        return {**self._host.states, **{source.name: source.state for source in self._sources}}

    def _tell_changes(self) -> None:
        """Write which sources stand otherwise than was said last: one that has failed, or answers again."""
        for name, state in self._states().items():
            told = self._told.get(name, {})
            if state.keys() != told.keys() or (told.get("missing") == NOT_YET and state != told):
                self._told = {**self._told, name: state}
                self._write("source", time.time_ns(), {"name": name, **state})

    def _is_to_go_on(self) -> bool:
        """Wait until a sample is due; return False when the agent has closed its end.

        That is looked at before each sample, also where they take so long that the next is always due.
        """
        self._ended = time.monotonic()
        while True:
            if select.select([self._marks], [], [], max(self._due() - time.monotonic(), 0.0))[0]:
                if not os.read(self._marks, 1 << 12):
                    return False
                self._marked = True
            if time.monotonic() >= self._due():
                break
        self._marked = False
        # What was missed while the machine slept stays missed.
        self._grid += max(time.monotonic() - self._grid, 0.0) // self._interval_s * self._interval_s
        return True

    def _due(self) -> float:
        soonest = self._ended + LEAST_S
        return soonest if self._marked else max(soonest, self._grid + self._interval_s)

    def _write(self, event: str, time_ns: int, data: Mapping[str, Any]) -> None:
        """Append a line; where the disk is full it is dropped, and the gap shows."""
        line = json.dumps({"event": event, "time_ns": time_ns, "data": _rounded(data)}).encode() + b"\n"
        if self._torn:
            line = b"\n" + line
        try:
            self._torn = os.write(self._file, line) < len(line)
        except OSError:
            return


def _add(data: dict[str, Any], fragment: Mapping[str, Any], late_ns: int) -> None:
    """Add what a source said; a device that was asked for an earlier sample says how much earlier."""
    for section, values in fragment.items():
        if section == "devices":
            late = {"late_s": late_ns / 1e9} if late_ns > 0 else {}
            data.setdefault(section, []).extend({**each, **late} for each in values)
        else:
            data.setdefault(section, {}).update(values)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, _DIGITS)
    if isinstance(value, Mapping):
        return {name: _rounded(each) for name, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, list) else value


def _own_cpu_s() -> float:
    """Return the CPU time of this process and of the tools that it has started."""
    times, tools = os.times(), processes.children(os.getpid())
    waited_for = times.children_user + times.children_system
    return time.process_time() + waited_for + (usage(tools)["cpu_s"] if tools else 0.0)


def sources(settings: Settings, root: Path = Path("/")) -> list[Source]:
    """Return what is asked besides the kernel: the devices of the run's architecture, and power."""
    devices = settings.devices

    def cuda() -> Reader:
        return nvidia.Nvidia(nvidia.binding(settings.nvml), devices)

    readers: dict[str, tuple[str, Callable[[], Reader], bool]] = {
        "cuda": ("nvidia", cuda, True),
        "rocm": ("amd", lambda: amd.Amd(devices, root), True),
        "xpu": ("intel", lambda: intel.xpu(devices), False),
        "hpu": ("gaudi", lambda: intel.gaudi(devices), False),
    }
    found = [Source("rapl", lambda: power.Rapl(root)), Source("ipmi", power.Ipmi, awaited=False)]
    if settings.arch in readers and devices:
        name, begin, awaited = readers[settings.arch]
        found.insert(0, Source(name, begin, awaited=awaited))
    return found


def main() -> None:
    """Be the monitor of the agent that started this process."""
    try:
        settings = Settings(**json.loads(_first_line()))
        agent, own = os.getppid(), os.getpid()
        file = os.open(settings.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        host = Host(lambda: Tree(Path("/"), agent, own))
        Monitor(settings, host, sources(settings), file=file, marks=0).run(_say_begun)
    except OSError as error:
        _end(f"the monitor has ended: {error.strerror}: {error.filename or ''}".rstrip(": "))
    except Exception as problem:
        _end(f"the monitor has ended: {bug(problem)}")
    os._exit(0)  # threads that hang in a driver are not waited for


def _first_line() -> bytes:
    """Return the settings; what follows their newline is read as marks later."""
    content = b""
    while not content.endswith(b"\n") and (byte := os.read(0, 1)):
        content += byte
    return content


def _say_begun() -> None:
    with suppress(OSError):
        os.write(1, b".")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _end(message: str) -> None:
    with suppress(OSError):
        os.write(2, f"milabench: {message}\n".encode())
    sys.stderr.flush()
    os._exit(1)
