"""The formulas of milabench's report, on plain numbers: what old runs scored there they score here."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Mapping, Sequence

from benchmate.statistics import mean

TRIM_FROM = 5  # from so many rates on, one minimum and one maximum are left out


def trimmed(rates: Sequence[float]) -> Sequence[float]:
    """Return the rates in their order, without one minimum and one maximum when there are at least five."""
    if len(rates) < TRIM_FROM:
        return rates
    low, high = min(rates), max(rates)
    kept = array("d", rates)
    kept.remove(low)
    kept.remove(high if high > low else low)
    return kept


def performance(rates: Sequence[float]) -> float | None:
    """Return the mean of the trimmed rates, None without any."""
    return mean(trimmed(rates)) if rates else None


def score(by_device: Mapping[str, float | None], perf: float | None, n: int, failed: int) -> float:
    """Return what a benchmark scores: the whole machine's rate, less the share of its processes that failed.

    ``by_device``: perf of each device, or node, for a plan of one process on each, else empty; ``perf`` counts then.
    """
    machine = sum(each or 0.0 for each in by_device.values())
    return (machine or perf or 0.0) * (1 - failed / max(n, 1))


def total(weighted: Iterable[tuple[float, float]]) -> float | None:
    """Return exp(Σ w·ln(score + 1) / Σ w) of (weight, score) pairs; None when no weight is above 0."""
    pairs = [(weight, max(value, 0.0)) for weight, value in weighted if weight > 0]
    if not pairs:
        return None
    logarithm = math.fsum(weight * math.log1p(value) for weight, value in pairs)
    return math.exp(logarithm / math.fsum(weight for weight, _ in pairs))
