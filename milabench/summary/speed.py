"""Measured steps → how fast they were made: throughput, times and whether they are steady."""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from benchmate import statistics, verdict
from benchmate.statistics import Estimate, Statistic, scaled
from benchmate.verdict import Steadiness
from milabench.summary.series import Series
from milabench.summary.types import Speed, StepTimes

_NS: Final = 1e-9
CENTRAL: Final[tuple[Statistic, ...]] = ("mean", "p50")
_TAILS: Final[tuple[Statistic, ...]] = ("p50", "p90", "p95", "p99", "p99.9")


def speed_of(series: Series) -> Speed:
    """Return how fast the steps of one process were."""
    return Speed(
        throughput=throughput(series),
        times=step_times(series.durations_ns),
        first_s=None if series.first_ns is None else series.first_ns * _NS,
        parts=times_of_parts([series.parts]),
    )


def throughput(series: Series) -> Estimate:
    """Return what was done per second, with its interval."""
    counts, durations_ns = series.work()
    return statistics.throughput(counts, durations_ns)


def steadiness_of(rates: Sequence[float], step: str = "step") -> Steadiness | None:
    """Return whether the rates of steps are steady; None without any."""
    return verdict.steadiness(rates, f"its {step}s' rates") if rates else None


def step_times(durations_ns: array[int], known: Mapping[Statistic, Estimate] | None = None) -> StepTimes | None:
    """Return how long steps took, in s, None where that is not known; ``known``: what others say of them, in s."""
    if not durations_ns:
        return None
    asked = [name for name in ("mean", *_TAILS) if name not in (known or {})]
    found = {**(known or {}), **_estimates(durations_ns, asked)}
    return StepTimes(
        n=len(durations_ns),
        min_s=min(durations_ns) * _NS,
        max_s=max(durations_ns) * _NS,
        mean=found["mean"],
        quantiles={name: found[name] for name in _TAILS},
    )


def times_of_parts(several: Sequence[Mapping[str, array[int]]]) -> dict[str, StepTimes]:
    """Return how long each part of steps took that were timed part by part, of all processes together."""
    found: dict[str, StepTimes] = {}
    for name in dict.fromkeys(name for parts in several for name in parts):
        values = array("q")
        for parts in several:
            values.extend(parts.get(name, ()))
        if (times := step_times(values)) is not None:
            found[name] = times
    return found


def central(durations_ns: array[int]) -> dict[Statistic, Estimate]:
    """Return mean and median of the time that steps took, in s."""
    return _estimates(durations_ns, CENTRAL)


def _estimates(durations_ns: array[int], asked: Sequence[Statistic]) -> dict[Statistic, Estimate]:
    made = statistics.estimates(durations_ns, asked)
    return {name: scaled(estimate, _NS) for name, estimate in made.items()}


def together(several: Sequence[Estimate]) -> Estimate:
    """Return the sum of what ran at the same time.

    Its interval is as wide as theirs together: they share a machine, and what slows one slows the others.
    """
    known = [each for each in several if each.value is not None]
    n, value = sum(each.n for each in several), math.fsum(each.value for each in known if each.value is not None)
    if not known:
        return replace(statistics.of_repeats(()), n=n)
    if len(known) == 1:
        return known[0]
    halves = [each.half for each in known if each.half is not None]
    return statistics.around(n, value, math.fsum(halves) if len(halves) == len(known) else None, "batch means")
