"""Pure functions of samples: the same numbers inside a benchmark, in the report and in benchit. Standard library only.

Samples of one process are autocorrelated, so intervals come from batch means (Law & Kelton, *Simulation Modeling and
Analysis*, on output analysis) and not from σ/√n, which is far too narrow on them; tails use order statistics with an
effective number of samples. Where the samples do not suffice, the answer says so instead of giving a number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

Statistic = Literal["mean", "p50", "p90", "p95", "p99", "p99.9"]
Method = Literal["batch means", "order statistics", "repeats", "none"]
Verdict = Literal["ok", "noisy", "too few"]

QUANTILES: Final[dict[str, float]] = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}
MIN_BATCHES: Final = 5  # fewer say nothing about the spread between batches
NOISY: Final = 0.05  # a half-width above this share of the value

_TAIL: Final = 0.025  # on each side of a 95 % interval
_Z: Final = 1.959963984540054
_T: Final = (
    *(12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281),
    *(2.2010, 2.1788, 2.1604, 2.1448, 2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860),
    *(2.0796, 2.0739, 2.0687, 2.0639, 2.0595, 2.0555, 2.0518, 2.0484, 2.0452, 2.0423),
)  # Student's t, 97.5 %, for 1 to 30 degrees of freedom
_EXACT_UP_TO: Final = 500  # expected exceedances; above, the normal approximation is as good


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A statistic of ``n`` samples and its two-sided 95 % interval, in the samples' unit.

    ``value`` is None where n is too small for the statistic to mean anything; ``low`` and ``high`` are None where n is
    too small for an interval. ``verdict``: ``noisy`` where the interval's half-width is above 5 % of the value.
    """

    n: int
    value: float | None
    low: float | None
    high: float | None
    method: Method
    verdict: Verdict

    @property
    def relative_error(self) -> float | None:
        """Half the interval's width over the value; None without an interval or for a value of 0."""
        if self.low is None or self.high is None or not self.value:
            return None
        return (self.high - self.low) / 2 / abs(self.value)


def mean(samples: Sequence[float]) -> float:
    """Return the arithmetic mean. Raises ValueError without samples."""
    if not samples:
        raise ValueError("no samples")
    return math.fsum(samples) / len(samples)


def std(samples: Sequence[float], ddof: int = 0) -> float:
    """Return the standard deviation; ``ddof`` 0 divides by n, 1 by n − 1. ValueError: not over ddof samples."""
    if len(samples) <= ddof:
        raise ValueError(f"{len(samples)} samples are too few")
    centre = mean(samples)
    return math.sqrt(math.fsum((sample - centre) ** 2 for sample in samples) / (len(samples) - ddof))


def quantiles(samples: Sequence[float], shares: Sequence[float]) -> list[float]:
    """Return the quantiles at ``shares`` (0 to 1), linear between order statistics (Hyndman and Fan's type 7)."""
    if not samples:
        raise ValueError("no samples")
    ordered = sorted(samples)
    return [_at(ordered, share) for share in shares]


def quantile(samples: Sequence[float], share: float) -> float:
    """Return one quantile; see ``quantiles``."""
    return quantiles(samples, [share])[0]


def _at(ordered: Sequence[float], share: float) -> float:
    if not 0 <= share <= 1:
        raise ValueError(f"{share} is not between 0 and 1")
    position = share * (len(ordered) - 1)
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    low, high = ordered[below], ordered[above]
    return min(high, low + (high - low) * (position - below))


def needed(share: float) -> int:
    """Return how many independent samples a quantile's two-sided 95 % bound takes: 36 for 0.9, 368 for 0.99."""
    return math.ceil(math.log(_TAIL) / math.log(max(share, 1 - share)))


def student_t(degrees: int) -> float:
    """Return the 97.5 % point of Student's t: the factor of a two-sided 95 % interval. Raises ValueError under 1.

    Above 30 degrees of freedom by its expansion around the normal (Abramowitz and Stegun, 26.7.5).
    """
    if degrees < 1:
        raise ValueError("at least one degree of freedom is needed")
    if degrees <= len(_T):
        return _T[degrees - 1]
    z, z3, z5, z7 = _Z, _Z**3, _Z**5, _Z**7
    return (
        z
        + (z3 + z) / (4 * degrees)
        + (5 * z5 + 16 * z3 + 3 * z) / (96 * degrees**2)
        + (3 * z7 + 19 * z5 + 17 * z3 - 15 * z) / (384 * degrees**3)
    )


def estimate(samples: Sequence[float], statistic: Statistic = "mean", batches: int = 20) -> Estimate:
    """Return a statistic of samples in the order they were taken, with its 95 % interval.

    Mean and p50 by batch means (fewer batches when there are not two samples for each, no interval under five); the
    quantiles above by order statistics. A tail whose bound does not exist at this n (see ``needed``) is None.
    Raises ValueError for an unknown statistic.
    """
    if statistic != "mean" and statistic not in QUANTILES:
        raise ValueError(f"unknown statistic {statistic!r}; known: mean, {', '.join(QUANTILES)}")
    n = len(samples)
    if n == 0:
        return _nothing(0)
    if statistic == "mean":
        return _by_batches(samples, mean, batches)
    if statistic == "p50":
        return _by_batches(samples, lambda batch: quantile(batch, 0.5), batches)
    share = QUANTILES[statistic]
    return _by_order(samples, share, batches) if n >= needed(share) else _nothing(n)


def between(values: Sequence[float]) -> Estimate:
    """Return the mean of independent repeats (one value each) with the interval their spread gives (Student's t)."""
    if not values:
        return _nothing(0)
    return _with_interval(len(values), mean(values), _half_width(values), "repeats")


def _nothing(n: int, value: float | None = None) -> Estimate:
    return Estimate(n=n, value=value, low=None, high=None, method="none", verdict="too few")


def _by_batches(samples: Sequence[float], statistic: Callable[[Sequence[float]], float], batches: int) -> Estimate:
    parts = _split(samples, batches)
    half = _half_width([statistic(part) for part in parts]) if len(parts) >= MIN_BATCHES else None
    return _with_interval(len(samples), statistic(samples), half, "batch means")


def _split(samples: Sequence[float], batches: int) -> list[Sequence[float]]:
    """Cut into contiguous batches of equal size (± 1), at least two samples in each."""
    n, count = len(samples), min(batches, len(samples) // 2)
    return [samples[index * n // count : (index + 1) * n // count] for index in range(count)]


def _half_width(values: Sequence[float]) -> float | None:
    if len(values) < 2:
        return None
    return student_t(len(values) - 1) * std(values, ddof=1) / math.sqrt(len(values))


def _with_interval(n: int, value: float, half: float | None, method: Method) -> Estimate:
    if half is None:
        return _nothing(n, value)
    verdict: Verdict = "noisy" if half > NOISY * abs(value) else "ok"
    return Estimate(n=n, value=value, low=value - half, high=value + half, method=method, verdict=verdict)


def _by_order(samples: Sequence[float], share: float, batches: int) -> Estimate:
    n, ordered = len(samples), sorted(samples)
    value = _at(ordered, share)
    effective = effective_n([float(sample > value) for sample in samples], batches)
    if effective < needed(share):
        return _nothing(n, value)
    few, many = _exceedances(effective, 1 - share)
    high = ordered[n - 1 - few * n // effective]
    low = ordered[max(0, n - math.ceil(many * n / effective))]
    wide = max(value - low, high - value) > NOISY * abs(value)
    verdict: Verdict = "noisy" if wide else "ok"
    return Estimate(
        n=n, value=value, low=min(low, value), high=max(high, value), method="order statistics", verdict=verdict
    )


def effective_n(samples: Sequence[float], batches: int = 20) -> int:
    """Return how many independent samples say as much about the mean as these, at most their number.

    The variance of single samples over that which batch means give for the mean.
    """
    n, parts = len(samples), _split(samples, batches)
    if len(parts) < MIN_BATCHES:
        return n
    of_mean = std([mean(part) for part in parts], ddof=1) ** 2 / len(parts)
    of_one = std(samples, ddof=1) ** 2
    return n if of_mean * n <= of_one else max(1, math.floor(of_one / of_mean))


def _exceedances(n: int, chance: float) -> tuple[int, int]:
    """Return, of K ~ Binomial(n, chance), the largest k of P(K ≤ k) ≤ 2.5 % and the smallest of P(K ≥ k) ≤ 2.5 %."""
    expected = n * chance
    if expected > _EXACT_UP_TO:
        reach = _Z * math.sqrt(expected * (1 - chance))
        return math.floor(expected - reach - 0.5), math.ceil(expected + reach + 0.5)
    at, below, few = (1 - chance) ** n, 0.0, 0
    for k in range(n + 1):
        if 1 - below <= _TAIL:
            return few, k
        below += at
        if below <= _TAIL:
            few = k
        at *= (n - k) / (k + 1) * chance / (1 - chance)
    return few, n
