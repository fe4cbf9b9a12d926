"""What voirfiles and scripts written for milabench ask of its monitors.

Here a process of milabench's own watches processors, memory and devices, at the system's ``monitor.interval``: nothing
that shares an interpreter with a measured loop. So these functions start nothing, whatever interval they are given, and
say so in a note; what they return to report metrics with does that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from benchmate import reported
from benchmate.context import Limit, current

Log = Callable[[dict[str, Any]], None]

METRICS: Final = ("value", "rate", "loss", "gpudata", "memory_peak", "cpudata", "process", "iodata", "netdata")
_BESIDE: Final = ("progress", "units", "time")  # they say nothing by themselves


def voirfile_monitor(overseer: Any, options: Any) -> None:
    """Let what the script gives by the names in METRICS be written, and by hand end it after ``options.stop`` rates.

    Rates are written and counted without this too. ``options.dash`` asks for nothing: the runner has a live view.
    """
    del overseer
    metrics = reported.here()
    metrics.take(METRICS)
    stop = getattr(options, "stop", None)
    if not metrics.suite_limits and stop:
        metrics.end_at(Limit(skip=getattr(options, "skip", 0), observations=stop))
    _note("voirfile_monitor")


def monitor_monogpu(poll_interval: float = 1, arch: str | None = None) -> Callable[[Any], None]:
    """Return an instrument that says who watches the device."""
    del poll_interval, arch
    return lambda _: _note("monitor_monogpu")


monitor_process_monogpu = monitor_node = monitor_monogpu


@contextmanager
def bench_monitor(*_: object, **__: object) -> Iterator[Log | None]:
    """Give a block what reports metrics, each a dictionary; None in ranks other than the leader."""
    _note("bench_monitor")
    yield _log if current().rank == 0 else None


multigpu_monitor = monogpu_monitor = bench_monitor


class Watching:
    """What a script stops at its end: nothing that runs in it."""

    def start(self) -> None:
        pass

    def stop(self) -> None:
        pass


def setupvoir(monogpu: bool = True, enabled: bool = True, interval: float = 1) -> tuple[Log, Watching]:
    """Return what reports metrics, each a dictionary, and what a script stops at its end."""
    del monogpu, enabled, interval
    _note("setupvoir")
    return _log, Watching()


def milabench_sys_monitor(monogpu: bool = False) -> tuple[Log, Watching]:
    """Do what ``setupvoir`` does."""
    return setupvoir(monogpu)


def log_patterns() -> tuple[str, ...]:
    """Return the names of metrics to hand to voir's ``log``: what it logs is written here."""
    return (*METRICS, *_BESIDE)


def _log(data: dict[str, Any]) -> None:
    reported.here().push(data)


def _note(name: str) -> None:
    reported.here().note(
        f"{name} starts no monitor in this process: milabench watches the machine and its devices from one of its own"
    )
