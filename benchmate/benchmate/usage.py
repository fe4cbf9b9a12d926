"""What the process has used of the machine: differences of two looks are the evidence for or against a number."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What was used up to a moment: ``time_ns`` by the wall clock, which may be set, ``monotonic_ns`` by the other.

    ``waits_ns`` is for each thread how long it was runnable but did not run, None where the kernel does not tell.
    """

    time_ns: int
    monotonic_ns: int
    cpu_s: float
    involuntary: int
    waits_ns: Mapping[str, int] | None

    def since(self, begin: Usage) -> dict[str, object]:
        """Return what was used since an earlier look, as data of an event."""
        return {
            "begin_ns": begin.time_ns,
            "end_ns": self.time_ns,
            "wall_s": (self.monotonic_ns - begin.monotonic_ns) / 1e9,
            "cpu_s": self.cpu_s - begin.cpu_s,
            "wait_s": self._waited_since(begin),
            "involuntary": self.involuntary - begin.involuntary,
        }

    def _waited_since(self, begin: Usage) -> float | None:
        """Return the seconds for which the threads that live now have waited since then."""
        if self.waits_ns is None or begin.waits_ns is None:
            return None
        return sum(ns - begin.waits_ns.get(thread, 0) for thread, ns in self.waits_ns.items()) / 1e9


def usage() -> Usage:
    """Look at the process: microseconds, and some ten more for each of its threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return Usage(
        time_ns=time.time_ns(),
        monotonic_ns=time.monotonic_ns(),
        cpu_s=used.ru_utime + used.ru_stime,
        involuntary=used.ru_nivcsw,
        waits_ns=_waits("/proc/self/task"),
    )


def _waits(folder: str) -> dict[str, int] | None:
    waits = {}
    try:
        for thread in os.listdir(folder):  # noqa: PTH208 - as quickly as can be
            wait = _wait(f"{folder}/{thread}/schedstat")
            if wait is not None:
                waits[thread] = wait
    except OSError:
        return None
    return waits or None


def _wait(path: str) -> int | None:
    """Return the second field; None for a thread that has just ended, and where the kernel keeps no such file."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - of every thread, while others wait for this one
            return int(file.read().split()[1])
    except (OSError, IndexError, ValueError):
        return None
