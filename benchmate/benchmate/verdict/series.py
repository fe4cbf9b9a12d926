"""Is a series of samples steady: how long its warm-up is, whether its level drifts, whether it has two."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from benchmate.statistics import mean, quantile

Kind = Literal["steady", "drifting", "bimodal", "too short"]

SHORTEST: Final = 30  # samples; fewer do not show a level
PARTS: Final = 20  # of a series, for its level over time
DRIFT: Final = 0.01  # a change of the level over the whole series, as a share of it, that matters
RARE: Final = 0.05  # a second mode of fewer samples are outliers
APART: Final = 0.02  # two modes nearer than this share of the median are one

_Z_DRIFT: Final = 3.29  # p < 0.001, two-sided
_VALLEY: Final = 0.25  # density between two modes, over that of the lower one


@dataclass(frozen=True, slots=True, kw_only=True)
class Steadiness:
    """How a series behaves. ``warmup``: samples at the front that are not steady yet: told, never cut."""

    kind: Kind
    warmup: int
    detail: str


def steadiness(samples: Sequence[float]) -> Steadiness:
    """Judge a series of durations or rates in the order they were taken."""
    n = len(samples)
    if n < SHORTEST:
        return Steadiness(kind="too short", warmup=0, detail=f"{n} samples; {SHORTEST} show whether a series is steady")
    warmup = _front(samples)
    rest = samples[warmup:]
    level = quantile(rest, 0.5)
    drift = _drift(rest)
    if level and abs(drift / level) >= DRIFT:
        detail = f"the level went {'up' if drift * level > 0 else 'down'} by {abs(drift / level):.1%} over the series"
        return Steadiness(kind="drifting", warmup=warmup, detail=detail)
    if modes := _two_modes(rest):
        return Steadiness(kind="bimodal", warmup=warmup, detail=modes)
    front = f"steady after {warmup} samples" if warmup else "steady from the first sample on"
    return Steadiness(kind="steady", warmup=warmup, detail=front)


def _front(samples: Sequence[float]) -> int:
    """Return how many leading samples lie outside of what the later half shows."""
    later = sorted(samples[len(samples) // 2 :])
    low, middle, high = (quantile(later, share) for share in (0.1, 0.5, 0.9))
    reach = max(1.5 * (high - low), DRIFT * abs(middle))
    count, most = 0, len(samples) // 3
    while count < most and abs(samples[count] - middle) > reach:
        count += 1
    return count


def _drift(samples: Sequence[float]) -> float:
    """Return how far the level moves over the series (Theil-Sen), 0 where chance may do it (Mann-Kendall)."""
    n = len(samples)
    count = min(PARTS, n // 2)
    parts = [mean(samples[index * n // count : (index + 1) * n // count]) for index in range(count)]
    slopes = [(parts[j] - parts[i]) / (j - i) for i in range(count) for j in range(i + 1, count)]
    rises = sum((slope > 0) - (slope < 0) for slope in slopes)
    z = rises / math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    return quantile(slopes, 0.5) * count if abs(z) > _Z_DRIFT else 0.0


def _two_modes(samples: Sequence[float]) -> str:
    """Say which two levels a series has, each with a real share of the samples and a valley between; else nothing."""
    ordered = sorted(samples)
    for _ in range(3):
        cut = _cut(ordered)
        rare = min(cut, len(ordered) - cut)
        if rare >= RARE * len(samples):
            return _described(ordered[:cut], ordered[cut:])
        ordered = ordered[:cut] if cut > len(ordered) // 2 else ordered[cut:]
    return ""


def _cut(ordered: Sequence[float]) -> int:
    """Return where to cut sorted samples so that the two classes differ most (Otsu)."""
    n, total, best, found, below = len(ordered), math.fsum(ordered), -1.0, 1, 0.0
    for index in range(1, n):
        below += ordered[index - 1]
        between = (below / index - (total - below) / (n - index)) ** 2 * index * (n - index)
        if between > best:
            best, found = between, index
    return found


def _described(lower: Sequence[float], upper: Sequence[float]) -> str:
    low, high = quantile(lower, 0.5), quantile(upper, 0.5)
    width, valley = (high - low) / 4, (mean(lower) + mean(upper)) / 2
    both = (*lower, *upper)
    between, one, other = (sum(abs(x - centre) <= width / 2 for x in both) for centre in (valley, low, high))
    if width <= 0 or high - low < APART * abs(quantile(both, 0.5)) or between > _VALLEY * min(one, other):
        return ""
    share = len(upper) / len(both)
    return f"two levels: {1 - share:.0%} of the samples around {low:.4g}, {share:.0%} around {high:.4g}"
