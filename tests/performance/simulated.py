"""Series of step durations whose truth is known: what measure_statistics.py tries the statistics on.

All are relative to a step of 1 with a spread (standard deviation) of 1 %.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import NormalDist

SPREAD = 0.01
DRIFT = 0.02  # over the series
RAISED, RAISED_BY = 0.1, 1.1  # share and level of the second mode
OUTLIERS, OUTLIER_BY = 0.01, 3.0

Make = Callable[[random.Random, int], list[float]]
_NORMAL = NormalDist()


@dataclass(frozen=True)
class Kind:
    """How a series is made, whether it is steady, and the true values of its distribution.

    A quantile that lies in the gap between two modes has no true value and is left out.
    """

    make: Make
    steady: bool
    truth: Mapping[str, float] = field(default_factory=dict)


def ar1(memory: float) -> Make:
    """Return a maker of series of the first order: each step resembles the one before by ``memory``."""

    def make(chance: random.Random, steps: int) -> list[float]:
        gauss, fresh = chance.gauss, SPREAD * math.sqrt(1 - memory**2)
        level, made = gauss(0, SPREAD), []
        for _ in range(steps):
            made.append(1 + level)
            level = memory * level + gauss(0, fresh)
        return made

    return make


def drift(chance: random.Random, steps: int) -> list[float]:
    gauss, middle = chance.gauss, (steps - 1) / 2
    return [gauss(1 + DRIFT * (index - middle) / steps, SPREAD) for index in range(steps)]


def bimodal(chance: random.Random, steps: int) -> list[float]:
    gauss, draw = chance.gauss, chance.random
    return [gauss(1, SPREAD) * (RAISED_BY if draw() < RAISED else 1) for _ in range(steps)]


def outliers(chance: random.Random, steps: int) -> list[float]:
    gauss, draw = chance.gauss, chance.random
    return [gauss(1, SPREAD) * (OUTLIER_BY if draw() < OUTLIERS else 1) for _ in range(steps)]


def starting(first: float, level: float) -> Make:
    """Return a maker of series of which the first steps (so many, or such a share of all) are at another level."""

    def make(chance: random.Random, steps: int) -> list[float]:
        many = first if first >= 1 else first * steps
        return [chance.gauss(1, SPREAD) * (level if index < many else 1) for index in range(steps)]

    return make


def settling(share: float, excess: float) -> Make:
    """Return a maker of series that begin above their level and come down to it, to a third after a share of steps."""

    def make(chance: random.Random, steps: int) -> list[float]:
        return [chance.gauss(1, SPREAD) + excess * math.exp(-index / (share * steps)) for index in range(steps)]

    return make


def _at(share: float) -> float:
    """Return a quantile of the plain step."""
    return 1 + SPREAD * _NORMAL.inv_cdf(share)


def _truth(mean: float, **quantiles: float) -> dict[str, float]:
    return {"mean": mean, "throughput": 1 / mean, **quantiles}


_PLAIN = _truth(1, p50=1, p90=_at(0.9), p99=_at(0.99))
_MORE, _LONGER = 1 + RAISED * (RAISED_BY - 1), 1 + OUTLIERS * (OUTLIER_BY - 1)

KINDS: dict[str, Kind] = {
    "white": Kind(ar1(0), True, _PLAIN),
    "AR(1) 0.5": Kind(ar1(0.5), True, _PLAIN),
    "AR(1) 0.9": Kind(ar1(0.9), True, _PLAIN),
    "outliers": Kind(outliers, True, _truth(_LONGER, p50=_at(0.5 / (1 - OUTLIERS)), p90=_at(0.9 / (1 - OUTLIERS)))),
    "drift": Kind(drift, False),
    "bimodal": Kind(bimodal, False, _truth(_MORE, p50=_at(0.5 / (1 - RAISED)), p99=RAISED_BY * _at(0.9))),
}

STARTS: dict[str, Make] = {
    "first step ×10": starting(1, 10),
    "first 5 steps ×1.5": starting(5, 1.5),
    "first 20 % of steps +5 %": starting(0.2, 1.05),
    "+50 %, settling over 5 %": settling(0.05, 0.5),
}
