"""When enough was measured: the amounts that are wanted, and whoever hears of observations one by one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Final, Literal, get_args

from benchmate.statistics import Estimate, estimate, next_look, precise, throughput
from benchmate.wire import MEASURED, WARMUP

NEVER: Final = 2**62
PrecisionOf = Literal["throughput", "p50"]
Need = Literal["first", "all"]
MOST_S: Final = 1e9  # 31 years
_SECONDS: Final = "a number of seconds from 0 to 1e9"
_EXPECTED: Final = {
    "observations": "a whole number above 0",
    "seconds": _SECONDS,
    "maximum_s": _SECONDS,
    "precision": "a share above 0 and under 1 (0.02 is 2 %)",
}


@dataclass(frozen=True, kw_only=True)  # no slots: see benchmate.target
class Stop:
    """When a measurement ends: at the first of the given amounts (None: no limit), or at the last where all are needed.

    ``observations`` and ``seconds`` are those measured, without warm-up. ``precision`` is the half-width of a 95 %
    interval as a share of its value (above 0 and under 1): of the throughput, or of the median time
    (``precision_of``). ``maximum_s``, in seconds too, ends it whatever is missing. Raises TypeError for what is no
    number, ValueError for one that is none of these.
    """

    observations: int | None = None
    seconds: float | None = None
    precision: float | None = None
    precision_of: PrecisionOf = "throughput"
    need: Need = "first"
    maximum_s: float | None = None

    def __post_init__(self) -> None:
        for name in ("observations", "seconds", "precision", "maximum_s"):
            amount = getattr(self, name)
            if amount is not None and (isinstance(amount, bool) or not isinstance(amount, Real)):
                raise TypeError(f"{name} is {amount!r}: expected {_EXPECTED[name]}, or None")
        if self.observations is not None and not (isinstance(self.observations, Integral) and self.observations > 0):
            raise ValueError(f"observations is {self.observations!r}: expected {_EXPECTED['observations']}, or None")
        for name in ("seconds", "maximum_s"):
            amount = getattr(self, name)
            if amount is not None and not 0 <= amount <= MOST_S:
                raise ValueError(f"{name} is {amount!r}: expected {_EXPECTED[name]}, or None")
        if self.precision is not None and not 0 < self.precision < 1:
            raise ValueError(f"precision is {self.precision!r}: expected {_EXPECTED['precision']}")
        for name, known in (("precision_of", get_args(PrecisionOf)), ("need", get_args(Need))):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} is {getattr(self, name)!r}: expected {' or '.join(map(repr, known))}")

    @classmethod
    def of_limit(cls, observations: int | None, seconds: float | None, precision: float | None) -> Stop:
        """Return the stop of a process's limit, which may ask for none, or for more seconds than there are."""
        return cls(
            observations=None if observations is None else max(1, observations),
            seconds=None if seconds is None else min(seconds, MOST_S),
            precision=precision,
        )

    @property
    def is_endless(self) -> bool:
        """Whether nothing ends it."""
        return self.observations is self.seconds is self.precision is self.maximum_s is None


class Enough:
    """Whether a stop is reached, asked again and again while more is measured.

    The precision is looked at when a quarter more was measured than at the look before (``statistics.next_look``).
    """

    __slots__ = ("_look", "_met", "stop")

    def __init__(self, stop: Stop) -> None:
        self.stop = stop
        self._look = next_look(0)
        self._met: list[str] = []  # which amounts were reached when it was asked last

    def next_count(self, measured: int) -> int:
        """Return the number of observations at which to ask again, if time does not run out before."""
        counts = [] if self.stop.observations is None else [self.stop.observations]
        counts += [] if self.stop.precision is None else [self._look]
        return min([NEVER, *(count for count in counts if count > measured)])

    def left_ns(self, measured_ns: int) -> int:
        """Return for how much longer to measure before time ends it, or may."""
        ends = [max(1, int(each * 1e9)) for each in (self.stop.seconds, self.stop.maximum_s) if each is not None]
        return min([NEVER, *(end - measured_ns for end in ends if end > measured_ns)])

    def reached(self, measured: int, measured_ns: int, find: Callable[[], Estimate | None]) -> dict[str, object] | None:
        """Return the data of a ``stop`` event once so many observations in so much time are enough, else None.

        ``find`` returns what is to be precise, None where somebody else decides that.
        """
        stop = self.stop
        if not measured:
            return None
        if stop.maximum_s is not None and measured_ns >= int(stop.maximum_s * 1e9):
            return {"reason": "maximum"}
        before, (self._met, missing) = self._met, self._amounts(measured, measured_ns)
        if stop.need == "first" and self._met:
            return {"reason": self._met[0]}
        if stop.need == "all" and missing:
            return None
        if stop.precision is None:
            last = [reason for reason in self._met if reason not in before] or self._met
            return {"reason": last[-1]} if last else None
        return self._precise(measured, stop.precision, find)

    def _amounts(self, measured: int, measured_ns: int) -> tuple[list[str], list[str]]:
        """Return which of the amounts that are counted are reached, and which are not."""
        stop, is_met = self.stop, {}
        if stop.observations is not None:
            is_met["observations"] = measured >= stop.observations
        if stop.seconds is not None:
            is_met["seconds"] = measured_ns >= int(stop.seconds * 1e9)
        met = [name for name, holds in is_met.items() if holds]
        return met, [name for name in is_met if name not in met]

    def _precise(
        self, measured: int, precision: float, find: Callable[[], Estimate | None]
    ) -> dict[str, object] | None:
        if measured < self._look:
            return None
        self._look = next_look(measured)
        found = find()
        if found is None or not precise(found, precision):
            return None
        return {"reason": "precision", "precision": found.relative_error, "observations": found.n}


@dataclass(slots=True, kw_only=True)
class Observations:
    """Tell warm-up from measurement, and when the first of some amounts has been measured (None: no limit).

    For somebody who hears of a process's observations one by one. ``precision`` is that of its rate. Times are ns of
    any one clock; ``since_ns`` is when the first observation begins.
    """

    skip: int
    since_ns: int
    observations: int | None = None
    seconds: float | None = None
    precision: float | None = None
    measured: int = 0
    _warm: int = 0
    _enough: Enough = field(init=False)
    _values: list[float] = field(default_factory=list)
    _durations_ns: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._enough = Enough(Stop.of_limit(self.observations, self.seconds, self.precision))

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
        enough = self._enough.reached(self.measured, now_ns - self.since_ns, self._found)
        return None if enough is None else {**enough, "observations": self.measured}

    def _found(self) -> Estimate:
        if self._durations_ns:
            return throughput(self._values, self._durations_ns)
        return estimate(self._values, "mean")
