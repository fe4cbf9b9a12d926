"""Is a series of samples steady: how long its warm-up is, whether its level changes, whether it has two.

Steps resemble the steps before them, so that a level seems to wander where nothing changes; each test here leaves room
for that. What they find, and how often they accuse in error: docs/explanation/numbers.md.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from benchmate.statistics import correlation, inflation, mean, median, quantiles, split
from benchmate.student import student_t
from benchmate.verdict.figures import percent

Kind = Literal["steady", "drifting", "bimodal", "too short"]

SHORTEST: Final = 40  # samples; fewer do not show a level
LOOKED_AT: Final = 8_000  # samples of a longer series, one from each stretch
PARTS: Final = 20  # of a series, for its level over time
DRIFT: Final = 0.01  # a change of the level, as a share of it, that matters
CERTAIN: Final = 0.999  # confidence that a change is none of the series' own wandering
LONGEST_WARMUP: Final = 0.3  # of a series; a level that settles later is one that changes
CHANCE: Final = 0.05  # with which the first samples may lie so far off by themselves
RARE: Final = 0.05  # a second level with a smaller share of the samples is outliers,
FEW: Final = 4  # and one with fewer of them
APART: Final = 0.02  # levels nearer to each other than this share of the median are one
VALLEY: Final = 0.25  # density between two levels, over that of the rarer one

_GOLDEN: Final = 0.6180339887498949  # whose multiples are spread evenly over the unit
_ROUNDS: Final = 4  # in which outliers are set aside, the farthest first
_REACH: Final = 1.5  # ranges between p10 and p90 on either side of the median: 3.8 standard deviations of a normal
_FEWEST_DEGREES: Final = 5.0  # of freedom: a curve that no shape fits leaves rests that resemble each other, too


@dataclass(frozen=True, slots=True, kw_only=True)
class Steadiness:
    """How a series behaves. ``warmup``: samples at the front that are not steady yet: told, never cut.

    ``detail`` says it to the user, with figures.
    """

    kind: Kind
    warmup: int
    detail: str


def steadiness(samples: Sequence[float], of: str = "the samples") -> Steadiness:
    """Judge a series of durations or rates in the order they were taken; ``of``: what they are, in words.

    ``drifting``: after the warm-up the level changes by 1 % or more, gradually or at once. ``bimodal``: samples have
    two levels with hardly any between, each with 5 % of them or more; fewer are outliers, which a steady series may
    have. Under 40 samples the answer is ``too short``.
    """
    n = len(samples)
    if n < SHORTEST:
        detail = f"{n} samples are too few to tell whether they are steady: that takes {SHORTEST}"
        return Steadiness(kind="too short", warmup=0, detail=detail)
    places = _places(n)
    looked = samples if len(places) == n else [samples[place] for place in places]
    longest = int(LONGEST_WARMUP * len(looked))
    warmup = _run_in(samples, looked)
    first = bisect_left(places, warmup)
    if change := _change(_levels(looked[first:])):
        settled = _settled(looked[first:], longest - first)
        if settled is None:
            whole = _change(_levels(looked)) if warmup * PARTS >= n else None  # then the front is where a drift begins
            warmup, detail = (0, _told(whole, places)) if whole else (warmup, _told(change, places[first:]))
            return Steadiness(kind="drifting", warmup=warmup, detail=f"the level of {of} {detail}")
        first += settled
        warmup = places[first]
    if levels := _two_levels(looked[first:]):
        return Steadiness(kind="bimodal", warmup=warmup, detail=f"two levels of {of}: {levels}")
    detail = f"steady after the first {warmup} of {n} samples" if warmup else "steady from the first sample on"
    return Steadiness(kind="steady", warmup=warmup, detail=detail)


def _places(n: int) -> Sequence[int]:
    """Return which of n samples to look at: all, or one of each stretch, at another place of it each time.

    So that every tenth step, where these are slow, is neither always looked at nor never.
    """
    if n <= LOOKED_AT:
        return range(n)
    return [int((index + index * _GOLDEN % 1) * n / LOOKED_AT) for index in range(LOOKED_AT)]


def _run_in(samples: Sequence[float], looked: Sequence[float]) -> int:
    """Return how many samples at the very front lie apart from those of the later half, as first steps do.

    0 where so many in a row may be there by chance, as every tenth step is slow, say; and where it is no mere front.
    """
    later, longest = looked[len(looked) // 2 :], int(LONGEST_WARMUP * len(samples))
    low, middle, high = quantiles(later, (0.1, 0.5, 0.9))
    reach = max(_REACH * (high - low), DRIFT * abs(middle))
    count = 0
    while count <= longest and abs(samples[count] - middle) > reach:
        count += 1
    alike = 1 + sum(abs(sample - middle) > reach for sample in later)
    return count if count <= longest and (alike / (1 + len(later))) ** count <= CHANCE else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    """How a level changes: by ``share`` of it, at part ``at`` of all, or over the whole series (None)."""

    share: float
    at: int | None
    parts: int


def _levels(samples: Sequence[float]) -> list[float]:
    """Return the level over time: medians, which outliers do not move."""
    return [median(part) for part in split(samples, PARTS)]


def _change(levels: Sequence[float]) -> _Change | None:
    """Return how a level changes by the shape that explains most of it, None where its own wandering does as well."""
    count, level, centre = len(levels), median(levels), mean(levels)
    off = [value - centre for value in levels]
    power = math.fsum(value * value for value in off)
    at, shape = max(_shapes(count), key=lambda pair: abs(_times(pair[1], off)))
    height = _times(shape, off)
    total = height * (shape[-1] - shape[0])
    if not level or abs(total / level) < DRIFT:
        return None
    larger = inflation(correlation([value - height * part for value, part in zip(off, shape, strict=True)]) + 2 / count)
    error = math.sqrt(max(power - height * height, 0.0) / (count - 3) * larger)
    if abs(height) <= student_t(max(_FEWEST_DEGREES, (count - 3) / larger), CERTAIN) * error:
        return None
    return _Change(share=total / abs(level), at=at, parts=count)


@lru_cache(maxsize=PARTS)
def _shapes(count: int) -> tuple[tuple[int | None, tuple[float, ...]], ...]:
    """Return the ways in which a level may change, as values of mean 0 and length 1, and at which part if at one.

    A line, a step two parts or more from either end, and an exponential that starts or ends within the series.
    """
    places = range(count)
    decays = [[math.exp(-index / count * speed) for index in places] for speed in (3, 6, 12)]
    gradual: list[list[float]] = [[float(index) for index in places], *decays, *(shape[::-1] for shape in decays)]
    steps = [(at, [float(index >= at) for index in places]) for at in range(2, count - 1)]
    return tuple((at, _unit(shape)) for at, shape in [*((None, shape) for shape in gradual), *steps])


def _unit(shape: Sequence[float]) -> tuple[float, ...]:
    centre = mean(shape)
    length = math.sqrt(math.fsum((value - centre) ** 2 for value in shape))
    return tuple((value - centre) / length for value in shape)


def _times(one: Sequence[float], other: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def _settled(samples: Sequence[float], longest: int) -> int | None:
    """Return after how many samples, ``longest`` at most, the level stays; None where it goes on changing.

    It has settled where the rest does not change and is flat beside the whole: half of a drift drifts as the whole.
    """
    n = len(samples)
    whole = _slope(_levels(samples)) / n
    for part in range(1, PARTS):
        first = part * n // PARTS
        if first > longest:
            return None
        levels = _levels(samples[first:])
        if _slope(levels) / (n - first) < whole / 2 and _change(levels) is None:
            return first
    return None


def _slope(levels: Sequence[float]) -> float:
    """Return how far, up or down, the line through levels goes over all of them."""
    (_, line), *_ = _shapes(len(levels))
    return abs(_times(line, levels)) * (line[-1] - line[0])


def _told(change: _Change, places: Sequence[int]) -> str:
    way, far = "rose" if change.share > 0 else "fell", percent(abs(change.share), ".1f")
    if change.at is None:
        return f"{way} by {far} over the series"
    return f"{way} by {far} about sample {places[change.at * len(places) // change.parts]}"


def _two_levels(samples: Sequence[float]) -> str:
    """Say which two levels a series has, each with a real share of the samples; nothing where it has one."""
    ordered = sorted(samples)
    for _ in range(_ROUNDS):
        cut = _cut(ordered)
        if min(cut, len(ordered) - cut) >= max(FEW, RARE * len(samples)):
            return _told_levels(ordered[:cut], ordered[cut:])
        ordered = ordered[:cut] if cut > len(ordered) // 2 else ordered[cut:]  # without outliers
    return ""


def _cut(ordered: Sequence[float]) -> int:
    """Return where to cut sorted samples so that the two classes differ most (Otsu's method)."""
    n, centre, below, most, found = len(ordered), mean(ordered), 0.0, -1.0, 1
    for index in range(1, n):
        below += ordered[index - 1] - centre
        between = below * below / (index * (n - index))
        if between > most:
            most, found = between, index
    return found


def _told_levels(lower: Sequence[float], upper: Sequence[float]) -> str:
    low, high = lower[len(lower) // 2], upper[len(upper) // 2]
    ordered = (*lower, *upper)
    if high - low < max(APART * abs(median(ordered)), 2 * _grain(ordered)):
        return ""
    valley, reach = (mean(lower) + mean(upper)) / 2, (high - low) / 8
    between, of_low, of_high = (
        sum(abs(sample - centre) <= reach for sample in ordered) for centre in (valley, low, high)
    )
    if between > VALLEY * min(of_low, of_high):
        return ""
    rarer, usual = sorted((lower, upper), key=len)
    share, apart, level = len(rarer) / len(ordered), median(rarer) - median(usual), abs(median(usual))
    far = f"{percent(abs(apart) / level)} " if level else ""
    return f"{percent(share)} of them lie {far}{'above' if apart > 0 else 'below'} the others"


def _grain(ordered: Sequence[float]) -> float:
    """Return the least difference of two samples: rounded ones are no levels for that."""
    return min((after - one for one, after in zip(ordered, ordered[1:], strict=False) if after > one), default=0.0)
