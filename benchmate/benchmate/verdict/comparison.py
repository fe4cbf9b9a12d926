"""Is one measurement better than another: the ratio of their repeats, with its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from benchmate.statistics import mean, std
from benchmate.student import student_t

RatioVerdict = Literal["better", "worse", "same", "undecided"]

ALARM: Final = 0.99  # confidence of an alarm: one comparison in a hundred of equals may raise one, not one in twenty
MATERIAL: Final = 0.01  # a change smaller than this share is no alarm, however certain
SAME: Final = 0.02  # an interval within ± this share of 1 says that nothing changed


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """When a ratio is an alarm, and when it says that nothing changed; shares of 1.

    ``confidence``: of the interval without 1 that an alarm takes; higher where many ratios are judged at once.
    ``degrees``: the share of Welch's degrees of freedom that counts for it, but not fewer than the smaller side has.
    They are estimated too: far out in the tails, where many ratios are judged at once, all of them are too many.
    """

    confidence: float = ALARM
    material: float = MATERIAL
    same: float = SAME
    degrees: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """What is after over what was before, of higher-is-better numbers, with its two-sided 95 % interval.

    ``n``: repeats before and after. ``value`` is None without repeats; ``low`` and ``high`` where nothing says how
    much repeats differ. ``verdict`` is stricter than the interval: see ``ratio``.
    """

    value: float | None
    low: float | None
    high: float | None
    n: tuple[int, int]
    verdict: RatioVerdict
    reason: str


_RULE: Final = Rule()


def ratio(before: Sequence[float], after: Sequence[float], rule: Rule = _RULE) -> Ratio:
    """Compare the throughputs of repeats (one value each, higher is better), independent of each other.

    By logarithms, with Welch's t. Unless the rule says otherwise, ``better`` or ``worse`` needs a 99 % interval
    without 1 and a change of 1 % or more: most comparisons are of what did not change. ``same``: the 95 % interval
    lies within ±2 %. All else is ``undecided``. One repeat beside three or more is taken to vary as they do.
    """
    n = (len(before), len(after))
    values = (*before, *after)
    if not before or not after:
        return _undecided(None, n, f"nothing to compare: {n[0]} repeats before, {n[1]} after")
    if not all(math.isfinite(value) and value > 0 for value in values):
        return _undecided(None, n, "a repeat has no throughput above 0")
    old, new = [math.log(value) for value in before], [math.log(value) for value in after]
    change = mean(new) - mean(old)
    spread = _spread(old, new)
    if spread is None:
        return _undecided(
            math.exp(change), n, f"{n[0]} and {n[1]} repeats do not say how much repeats differ: run 5 or more of each"
        )
    return _judged(change, spread, n, rule)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Spread:
    error: float  # standard error of the difference of logarithms
    degrees: float


def _spread(old: Sequence[float], new: Sequence[float]) -> _Spread | None:
    """Return the error of the difference of two means (Welch); a side of one repeat takes the other's spread."""
    if min(len(old), len(new)) >= 2:
        parts = [(std(side, ddof=1) ** 2 / len(side), len(side) - 1) for side in (old, new)]
        variance = sum(part for part, _ in parts)
        below = sum(part**2 / degrees for part, degrees in parts)
        degrees = variance**2 / below if below > 0 else float(len(old) + len(new) - 2)
        return _Spread(error=math.sqrt(variance), degrees=max(1.0, degrees))
    several = max(old, new, key=len)
    if len(several) < 3:
        return None
    return _Spread(error=std(several, ddof=1) * math.sqrt(1 + 1 / len(several)), degrees=len(several) - 1)


def _judged(change: float, spread: _Spread, n: tuple[int, int], rule: Rule) -> Ratio:
    half = student_t(spread.degrees) * spread.error
    least = max(1, (min(n) if min(n) >= 2 else max(n)) - 1)
    alarm = student_t(max(least, rule.degrees * spread.degrees), rule.confidence) * spread.error
    value, low, high = (math.exp(change + shift) for shift in (0.0, -half, half))
    verdict: RatioVerdict = "undecided"
    if abs(change) > alarm and abs(value - 1) >= rule.material:
        verdict = "better" if change > 0 else "worse"
    elif low >= 1 - rule.same and high <= 1 + rule.same:
        verdict = "same"
    alone = ", that alone taken to vary as the others do" if min(n) == 1 else ""
    found = f"{value - 1:+.1%} ({low - 1:+.1%} to {high - 1:+.1%}; {n[0]} and {n[1]} repeats{alone})"
    return Ratio(value=value, low=low, high=high, n=n, verdict=verdict, reason=f"{found}: {_reason(verdict, rule)}")


def _reason(verdict: RatioVerdict, rule: Rule) -> str:
    match verdict:
        case "better" | "worse":
            return "more than repeats differ by themselves"
        case "same":
            return f"within ±{100 * rule.same:g} %"
        case "undecided":
            return "repeats differ too much to tell; more of them narrow it"


def _undecided(value: float | None, n: tuple[int, int], reason: str) -> Ratio:
    return Ratio(value=value, low=None, high=None, n=n, verdict="undecided", reason=reason)
