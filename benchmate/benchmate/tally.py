"""What is kept of the steps of a script that was run by hand, where there is no file to write them to."""

from __future__ import annotations

import sys
from array import array

from benchmate.statistics import throughput
from benchmate.wire import GOOD, MEASURED


class Tally:
    """The counts and durations of good measured steps."""

    __slots__ = ("_counts", "_durations")

    def __init__(self) -> None:
        self._counts, self._durations = array("q"), array("q")

    def append(self, start_ns: int, end_ns: int, count: int, phase: int, status: int) -> None:
        if phase == MEASURED and status == GOOD and start_ns < end_ns:  # those that ``Steps.good`` has
            self._counts.append(count)
            self._durations.append(end_ns - start_ns)

    def reserve(self) -> int:
        """Return for how many more steps there is room."""
        return sys.maxsize

    def work(self) -> tuple[array[int], array[int]]:
        """Return the counts and the durations (ns)."""
        return self._counts, self._durations

    def describe(self, unit: str) -> str:
        found = throughput(self._counts, self._durations)
        if not found.value:
            return "no step was measured"
        error = found.relative_error
        interval = "" if error is None else f" ± {error:.2%}"
        return f"{found.value:.6g} {unit}/s{interval} over {found.n} steps"
