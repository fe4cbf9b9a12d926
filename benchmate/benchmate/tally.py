"""What is kept of the steps of a script that was run by hand, where there is no file to write them to."""

from __future__ import annotations

import sys
from array import array

from benchmate.statistics import throughput
from benchmate.verdict import interval
from benchmate.wire import BASE_COLUMNS, Clock, Steps


class Tally:
    """Rows of steps in memory; takes and returns them as a ``StepsWriter`` does."""

    __slots__ = ("_clock", "_columns", "_unit", "_values", "_zero_ns")

    def __init__(
        self, *, unit: str, clock: Clock = "monotonic", zero_ns: int = 0, columns: tuple[str, ...] = BASE_COLUMNS
    ) -> None:
        self._unit, self._clock, self._zero_ns, self._columns = unit, clock, zero_ns, columns
        self._values = array("q")

    def append(self, *values: int) -> None:
        self._values.extend(values)

    def extend(self, values: array[int]) -> None:
        self._values.extend(values)

    def reserve(self) -> int:
        """Return for how many more steps there is room."""
        return sys.maxsize

    def written(self) -> Steps:
        """Return a copy of what is kept."""
        width = len(self._columns)
        columns = {name: self._values[index::width] for index, name in enumerate(self._columns)}
        return Steps(unit=self._unit, clock=self._clock, zero_ns=self._zero_ns, columns=columns)

    def work(self) -> tuple[array[int], array[int]]:
        """Return the counts and the durations (ns) of the good measured steps."""
        return self.written().work()

    def describe(self, step: str = "step") -> str:
        """Return its rate in a line; ``step`` is what one row is of, in words."""
        found = throughput(*self.work())
        if not found.value:
            return f"no {step} was measured"
        return f"{found.value:.6g} {self._unit}/s{interval(found)} over {found.n} {step}s"
