"""The peer's BenchObserver around an empty loop: print, in µs, what it adds to each step of some blocks.

Runs in the peer's environment, with its ``benchmate`` on the path. Device events are stamps of the host's clock. What
it does with its events afterwards, at the end of a pass, is not in it.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import time
from collections.abc import Iterable
from itertools import islice, repeat

with contextlib.redirect_stdout(io.StringIO()):  # it says that there is no device
    from benchmate.observer import BenchObserver


class Stamp:
    """A moment, with the names that torch's events have."""

    def __init__(self, **_: object) -> None:
        self.ns = 0

    def record(self) -> None:
        self.ns = time.perf_counter_ns()

    def synchronize(self) -> None:
        """Nothing runs behind the host's back."""

    def elapsed_time(self, end: Stamp) -> float:
        return (end.ns - self.ns) / 1e6


def spent(source: Iterable[object], steps: int) -> int:
    begun = time.perf_counter_ns()
    for _ in islice(source, steps):
        pass
    return time.perf_counter_ns() - begun


def main(steps: int, blocks: int) -> None:
    batches = repeat([0] * 8)
    with contextlib.redirect_stdout(io.StringIO()):
        observer = BenchObserver(Stamp, earlystop=10**9, batch_size_fn=len, raise_stop_program=False)
    passed = iter(observer.iterate(batches))
    costs = [(spent(passed, steps) - spent(batches, steps)) / steps / 1e3 for _ in range(blocks)]
    print(json.dumps(costs), flush=True)
    os._exit(0)  # what it would do with its events now is not measured


main(*map(int, sys.argv[1:]))
