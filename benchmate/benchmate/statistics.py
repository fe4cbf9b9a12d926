"""Pure functions of samples: the same numbers inside a benchmark, in the report and in benchit. Standard library only.

Samples of one process are autocorrelated, so intervals come from batch means (Law & Kelton, *Simulation Modeling and
Analysis*, on output analysis) and not from σ/√n, which is far too narrow on them; what correlation is left between
batches widens them. Tails use order statistics with an effective number of samples. Where the samples do not suffice,
the answer says so instead of giving a number. How often intervals hold the truth: docs/explanation/numbers.md.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Final, Literal

from benchmate.student import normal, student_t

Statistic = Literal["mean", "p50", "p90", "p95", "p99", "p99.9"]
Method = Literal["batch means", "order statistics", "repeats", "none"]
Verdict = Literal["ok", "wide", "too few"]

QUANTILES: Final[dict[str, float]] = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}
BATCHES: Final = 20
MIN_BATCHES: Final = 5  # fewer say nothing about the spread between batches
WIDE: Final = 0.05  # a half-width above this share of the value
PRECISE_FROM: Final = 40  # samples; with fewer a narrow interval may be luck
UNSEEN: Final = 4.0  # steps that a mean may lack, over those it is of: see precise
LUCK: Final = 1.2  # how much narrower than asked an interval must be, since looking again and again finds lucky moments
REPEATS_DECIDE: Final = 2  # from so many repeats on the spread between them gives the interval: see of_repeats

_TAIL: Final = 0.025  # on each side of a 95 % interval
_MOST_CORRELATED: Final = 0.8  # batches; above, their number says nothing of how far they reach
_BATCH: Final = 4  # samples in a batch, if that leaves MIN_BATCHES: the median of two is their mean
_EXACT_UP_TO: Final = 500  # expected exceedances; above, the normal approximation is as good


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A statistic of ``n`` samples and its two-sided 95 % interval, in the samples' unit.

    The interval of what is not negative (a rate, a time) ends at 0.

    ``value`` is None where n is too small for the statistic to mean anything; ``low`` and ``high`` are None where n is
    too small for an interval. ``verdict``: ``wide`` where the interval's half-width is above 5 % of the value.
    """

    n: int
    value: float | None
    low: float | None
    high: float | None
    method: Method
    verdict: Verdict

    @property
    def half(self) -> float | None:
        """How far the interval reaches from the value, on its longer side; None without an interval."""
        if self.low is None or self.high is None or self.value is None:
            return None
        return max(self.high - self.value, self.value - self.low)

    @property
    def relative_error(self) -> float | None:
        """That as a share of the value; None without an interval or for a value of 0."""
        return self.half / abs(self.value) if self.half is not None and self.value else None


def scaled(found: Estimate, factor: float) -> Estimate:
    """Return an estimate in another unit."""
    value, low, high = (None if each is None else each * factor for each in (found.value, found.low, found.high))
    return replace(found, value=value, low=low, high=high)


def mean(samples: Sequence[float]) -> float:
    """Return the arithmetic mean. Raises ValueError without samples."""
    if not samples:
        raise ValueError("no samples")
    return _sum(samples) / len(samples)


def _sum(samples: Sequence[float]) -> float:
    """Return the exact sum, of an array of whole numbers in less time."""
    return sum(samples) if isinstance(samples, array) and samples.typecode == "q" else math.fsum(samples)


def std(samples: Sequence[float], ddof: int = 0) -> float:
    """Return the standard deviation; ``ddof`` 0 divides by n, 1 by n − 1. ValueError: not over ddof samples."""
    if len(samples) <= ddof:
        raise ValueError(f"{len(samples)} samples are too few")
    return math.dist(samples, [mean(samples)] * len(samples)) / math.sqrt(len(samples) - ddof)


def quantiles(samples: Sequence[float], shares: Sequence[float]) -> list[float]:
    """Return the quantiles at ``shares`` (0 to 1), linear between order statistics (Hyndman and Fan's type 7)."""
    if not samples:
        raise ValueError("no samples")
    ordered = sorted(samples)
    return [_at(ordered, share) for share in shares]


def quantile(samples: Sequence[float], share: float) -> float:
    """Return one quantile; see ``quantiles``."""
    return quantiles(samples, [share])[0]


def median(samples: Sequence[float]) -> float:
    """Return the quantile at a half."""
    ordered = sorted(samples)
    n = len(ordered)
    if not n:
        raise ValueError("no samples")
    return ordered[n // 2] if n % 2 else (ordered[n // 2 - 1] + ordered[n // 2]) / 2


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


def estimate(samples: Sequence[float], statistic: Statistic = "mean", batches: int = BATCHES) -> Estimate:
    """Return a statistic of samples in the order they were taken, with its 95 % interval.

    Mean and p50 by batch means (fewer batches when there are not four samples for each, no interval under five); the
    quantiles above by order statistics. A tail whose bound does not exist at this n (see ``needed``) is None.
    Raises ValueError for an unknown statistic.
    """
    return estimates(samples, [statistic], batches)[statistic]


def estimates(
    samples: Sequence[float], statistics: Iterable[Statistic], batches: int = BATCHES
) -> dict[Statistic, Estimate]:
    """Return several statistics of the same samples, which are sorted once; see ``estimate``."""
    asked = tuple(statistics)
    for statistic in asked:
        if statistic != "mean" and statistic not in QUANTILES:
            raise ValueError(f"unknown statistic {statistic!r}; known: mean, {', '.join(QUANTILES)}")
    if asked != ("mean",) and isinstance(samples, array):
        samples = samples.tolist()  # whose numbers need not be made again and again
    parts = [sorted(part) for part in split(samples, batches)] if "p50" in asked else []
    # Sorted batches are merged in a fraction of the time that sorting all again takes.
    ordered = () if asked == ("mean",) else sorted(chain.from_iterable(parts) if parts else samples)
    if not samples:
        return dict.fromkeys(asked, _nothing(0))
    found: dict[Statistic, Estimate] = {}
    for statistic in asked:
        if statistic == "mean":
            found[statistic] = _mean(samples, batches)
        elif statistic == "p50":
            half = _half_of_batches(map(median, parts))
            found[statistic] = around(len(samples), _at(ordered, 0.5), half, "batch means")
        else:
            found[statistic] = _by_order(samples, ordered, QUANTILES[statistic], batches)
    return found


def _mean(samples: Sequence[float], batches: int) -> Estimate:
    return around(len(samples), mean(samples), _half_of_batches(map(mean, split(samples, batches))), "batch means")


def throughput(counts: Sequence[float], durations_ns: Sequence[float], batches: int = BATCHES) -> Estimate:
    """Return what was done per second, Σ counts / Σ time, of steps in the order they were made, with its 95 % interval.

    By batch means of what each batch did over or under its time's worth: a ratio of sums, so that long steps weigh
    what they took. Raises ValueError where the two differ in length or a duration is negative.
    """
    n = len(counts)
    if n != len(durations_ns):
        raise ValueError(f"{n} counts and {len(durations_ns)} durations")
    if n and min(durations_ns) < 0:
        raise ValueError("a duration is negative")
    total_ns = _sum(durations_ns)
    if total_ns == 0:
        return _nothing(n)
    rate = _sum(counts) / total_ns  # per ns
    parts = zip(split(counts, batches), split(durations_ns, batches), strict=True)
    half = _half_of_batches((_sum(done) - rate * _sum(took)) / len(done) for done, took in parts)
    return around(n, 1e9 * rate, None if half is None else 1e9 * half * n / total_ns, "batch means")


def precise(found: Estimate, precision: float) -> bool:
    """Return whether the 95 % interval's half-width is at most ``precision`` (a share of the value), and believable.

    For a measurement that ends when its number is precise enough, asked at the numbers of samples that ``next_look``
    gives. Whoever looks again and again stops when the interval happens to be narrow: so it must be narrower by a
    sixth. And before what is rare has been seen at all: steps that take three times as long, once in n/2, are not seen
    in n with a chance of 13 %, and move the mean by 4/n. So no number is precise before it is one of 4/``precision``.
    """
    error = found.relative_error
    enough = max(PRECISE_FROM, UNSEEN / precision) if precision > 0 else math.inf
    return error is not None and error * LUCK <= precision and found.n >= enough


def next_look(n: int) -> int:
    """Return at how many samples to look again after a look at ``n``: a quarter more, as each look may stop by luck."""
    return max(PRECISE_FROM, n + max(1, n // 4))


def of_repeats(repeats: Sequence[Estimate], runs: Sequence[Hashable] = ()) -> Estimate:
    """Return the estimate of a benchmark from that of each repeat (each its own processes).

    The interval of one process covers what varies within it. What differs from process to process (where memory
    lies, which clock and cores it got, how a library tuned itself) shows between repeats only, and is often larger:
    from two on their spread decides, although Student's factor makes it wide for two (12.7) and three (4.3).
    ``runs``: of each repeat the run that it is of, where several are pooled; see ``mean_of_runs``. Repeats without a
    value do not count.
    """
    known = [
        (run, each) for run, each in zip(runs or (None,) * len(repeats), repeats, strict=True) if each.value is not None
    ]
    if len(known) < REPEATS_DECIDE:
        return known[0][1] if known else _nothing(sum(repeat.n for repeat in repeats))
    by_run: dict[Hashable, list[float]] = {}
    for run, each in known:
        by_run.setdefault(run, []).append(each.value or 0.0)
    found = mean_of_runs(list(by_run.values()))
    return around(len(known), found.value, student_t(found.degrees) * math.sqrt(found.variance), "repeats")


def between(values: Sequence[float], sizes: Sequence[int] = ()) -> Estimate:
    """Return the mean of independent repeats (one value each) with the interval their spread gives (Student's t).

    ``sizes``: how many samples each value is of, where the mean is to be that of all samples. One that outweighs the
    others makes the interval wider: what its process had of its own is then in the mean.
    """
    if not values:
        return _nothing(0)
    weights = sizes or [1] * len(values)
    value = math.fsum(weight * each for weight, each in zip(weights, values, strict=True)) / sum(weights)
    return around(len(values), value, _half_width(values, weights), "repeats")


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanOfRuns:
    """A mean, its variance (that of the mean), and of how many degrees of freedom that is; 0 where nothing tells it."""

    value: float
    variance: float
    degrees: int


def mean_of_runs(runs: Sequence[Sequence[float]]) -> MeanOfRuns:
    """Return the mean of repeats: of one run by their spread, of several runs by that of the runs' means.

    What differs from run to run (another hour, another start of the machine) all repeats of a run share: many of them
    in few runs are no more than so many runs. Where runs differ by less than their repeats the latter counts.
    """
    values = [value for run in runs for value in run]
    of_all = std(values, ddof=1) ** 2 / len(values) if len(values) > 1 else 0.0
    if len(runs) == 1:
        return MeanOfRuns(value=mean(values), variance=of_all, degrees=len(values) - 1)
    means = [mean(run) for run in runs]
    of_means = std(means, ddof=1) ** 2 / len(means)
    return MeanOfRuns(value=mean(means), variance=max(of_all, of_means), degrees=len(means) - 1)


def _nothing(n: int, value: float | None = None) -> Estimate:
    return Estimate(n=n, value=value, low=None, high=None, method="none", verdict="too few")


def _half_of_batches(parts: Iterable[float]) -> float | None:
    """Return half the interval of the mean of what each batch shows; None where the batches are too few."""
    values = list(parts)
    if len(values) < MIN_BATCHES:
        return None
    variance, degrees = _of_mean(values)
    return student_t(degrees) * math.sqrt(variance)


def split(samples: Sequence[float], batches: int = BATCHES) -> list[Sequence[float]]:
    """Cut a series into contiguous batches of equal size (± 1): of four samples or more, else few of two or more."""
    n = len(samples)
    count = min(batches, max(n // _BATCH, min(MIN_BATCHES, n // 2)))
    return [samples[index * n // count : (index + 1) * n // count] for index in range(count)]


def _of_mean(values: Sequence[float]) -> tuple[float, float]:
    """Return the variance of the mean of batches' values, and its degrees of freedom.

    Batches too short for the memory of a series resemble their neighbours: their mean varies more, and fewer of them
    say something of their own. A short series shows its correlation too small by 1/count.
    """
    count = len(values)
    larger = inflation(correlation(values) + 1 / count)
    return larger * std(values, ddof=1) ** 2 / count, max(1.0, (count - 1) / larger)


def inflation(correlation: float) -> float:
    """Return how much larger the variance of a mean is for values of the first order that resemble their neighbours."""
    r = min(_MOST_CORRELATED, max(0.0, correlation))
    return (1 + r) / (1 - r)


def correlation(values: Sequence[float]) -> float:
    """Return how much values resemble their successors (−1 to 1), −1/count for values that do not vary."""
    centre = mean(values)
    off = [value - centre for value in values]
    power = math.fsum(value * value for value in off)
    if power <= 0:
        return -1 / len(values)
    return math.fsum(one * next_one for one, next_one in zip(off, off[1:], strict=False)) / power


def _half_width(values: Sequence[float], weights: Sequence[int]) -> float | None:
    if len(values) < 2:
        return None
    unlike = math.sqrt(math.fsum(weight * weight for weight in weights)) / sum(weights)  # 1/√n where all are alike
    return student_t(len(values) - 1) * std(values, ddof=1) * unlike


def around(n: int, value: float, half: float | None, method: Method) -> Estimate:
    """Return the estimate of a value with half of its interval; one without interval where that is None."""
    if half is None:
        return _nothing(n, value)
    verdict: Verdict = "wide" if half > WIDE * abs(value) else "ok"
    low = value - half if value < 0 else max(value - half, 0.0)
    return Estimate(n=n, value=value, low=low, high=value + half, method=method, verdict=verdict)


def _by_order(samples: Sequence[float], ordered: Sequence[float], share: float, batches: int) -> Estimate:
    n = len(samples)
    if n < needed(share):
        return _nothing(n)
    value = _at(ordered, share)
    bound = ordered[bisect_right(ordered, value) - 1]  # a whole number if they are: those are compared in half the time
    effective = _effective(bytes([sample > bound for sample in samples]), batches)
    if effective < needed(share):
        return _nothing(n)  # as many as say no more than too few
    few, many = _exceedances(effective, 1 - share)
    high = ordered[n - 1 - few * n // effective]
    low = ordered[max(0, n - math.ceil(many * n / effective))]
    wide = max(value - low, high - value) > WIDE * abs(value)
    verdict: Verdict = "wide" if wide else "ok"
    return Estimate(
        n=n, value=value, low=min(low, value), high=max(high, value), method="order statistics", verdict=verdict
    )


def _effective(above: bytes, batches: int) -> int:
    """Return how many independent samples say as much about how often something holds as these, at most their number.

    ``above``: 1 for each sample of which it holds, else 0. By what differs between batches, or by how often it holds
    of a sample and of the next one, whichever says less: in a short series either may miss what the other sees.
    """
    n, chance = len(above), above.count(1) / len(above)
    of_one = chance * (1 - chance)
    parts = [part.count(1) / len(part) for part in split(above, batches)]
    if of_one == 0 or len(parts) < MIN_BATCHES:
        return n
    bits = int.from_bytes(above, "big")
    both = (bits & bits >> 8).bit_count() / (n - 1)
    of_mean = max(_of_mean(parts)[0], inflation((both - chance * chance) / of_one) * of_one / n)
    return max(1, min(n, math.floor(of_one / of_mean)))


def _exceedances(n: int, chance: float) -> tuple[int, int]:
    """Return, of K ~ Binomial(n, chance), the largest k of P(K ≤ k) ≤ 2.5 % and the smallest of P(K ≥ k) ≤ 2.5 %."""
    expected = n * chance
    if expected > _EXACT_UP_TO:
        reach = normal(0.95) * math.sqrt(expected * (1 - chance))
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
