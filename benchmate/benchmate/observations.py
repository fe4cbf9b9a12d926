"""Observations of a process by somebody else, who hears of them one by one: when enough of them were measured."""

from __future__ import annotations

from dataclasses import dataclass, field

from benchmate.statistics import Estimate, estimate, next_look, precise, throughput
from benchmate.wire import MEASURED, WARMUP


@dataclass(slots=True, kw_only=True)
class Observations:
    """Tell warm-up from measurement, and when the first of some amounts has been measured (None: no limit).

    ``precision`` is the half-width of the rate's 95 % interval, as a share of the rate; it is looked at when a quarter
    more was measured than at the look before (``statistics.next_look``). Times are ns of any one clock; ``since_ns`` is
    when the first observation begins.
    """

    skip: int
    since_ns: int
    observations: int | None = None
    seconds: float | None = None
    precision: float | None = None
    measured: int = 0
    _warm: int = 0
    _look: int = field(default_factory=lambda: next_look(0))
    _values: list[float] = field(default_factory=list)
    _durations_ns: list[int] = field(default_factory=list)

    def add(self, now_ns: int, *, rate: float | None = None, count: int = 0, duration_ns: int = 0) -> int:
        """Take one: a rate, or what was done in a time. Returns its phase."""
        if self._warm < self.skip:
            self._warm += 1
            self.since_ns = now_ns
            return WARMUP
        self.measured += 1
        if self.precision is not None:
            self._values.append(count if rate is None else rate)
            if rate is None:
                self._durations_ns.append(duration_ns)
        return MEASURED

    def reached(self, now_ns: int) -> dict[str, object] | None:
        """Return the data of a ``stop`` event once a limit is reached, else None."""
        if not self.measured:
            return None
        if self.observations is not None and self.measured >= self.observations:
            return {"reason": "observations", "observations": self.measured}
        if self.seconds is not None and now_ns - self.since_ns >= self.seconds * 1e9:
            return {"reason": "seconds", "observations": self.measured}
        if self.precision is None or self.measured < self._look:
            return None
        self._look = next_look(self.measured)
        return precise_enough(self._found(), self.precision)

    def _found(self) -> Estimate:
        if self._durations_ns:
            return throughput(self._values, self._durations_ns)
        return estimate(self._values, "mean")


def precise_enough(found: Estimate, precision: float | None) -> dict[str, object] | None:
    """Return the data of a ``stop`` event where a rate is known well enough, else None."""
    if precision is None or not precise(found, precision):
        return None
    return {"reason": "precision", "precision": found.relative_error, "observations": found.n}
