"""Is one measurement better than another: the ratio of their repeats, with its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from benchmate.statistics import MeanOfRuns, mean_of_runs
from benchmate.student import student_t
from benchmate.verdict.figures import percent

Runs = Sequence[Sequence[float]]  # the throughputs of each run's repeats
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

    ``n``: repeats before and after, ``runs``: of how many runs they are. ``value`` is None without repeats; ``low`` and
    ``high`` where nothing says how much repeats differ. ``verdict`` is stricter than the interval: see ``ratio``.
    """

    value: float | None
    low: float | None
    high: float | None
    n: tuple[int, int]
    runs: tuple[int, int]
    verdict: RatioVerdict
    reason: str


_RULE: Final = Rule()


def ratio(before: Sequence[float], after: Sequence[float], rule: Rule = _RULE) -> Ratio:
    """Compare the throughputs of repeats (one value each, higher is better), independent of each other.

    By logarithms, with Welch's t. Unless the rule says otherwise, ``better`` or ``worse`` needs a 99 % interval
    without 1 and a change of 1 % or more: most comparisons are of what did not change. ``same``: the 95 % interval
    lies within ±2 %. All else is ``undecided``. One repeat beside three or more is taken to vary as they do.
    """
    return ratio_of_runs([before], [after], rule)


def ratio_of_runs(before: Runs, after: Runs, rule: Rule = _RULE) -> Ratio:
    """Compare as ``ratio`` does the repeats of several runs a side, which resemble those of their own run.

    Where a side has several runs their means are what is compared: of two runs next to nothing is known.
    """
    before, after = ([run for run in side if run] for side in (before, after))
    n = (sum(map(len, before)), sum(map(len, after)))
    runs = (len(before), len(after))
    values = [value for side in (before, after) for run in side for value in run]
    if not before or not after:
        return _undecided(None, n, f"nothing to compare: {n[0]} repeats before, {n[1]} after", runs)
    if not all(math.isfinite(value) and value > 0 for value in values):
        return _undecided(None, n, "a repeat has no throughput above 0", runs)
    old, new = (mean_of_runs([[math.log(value) for value in run] for run in side]) for side in (before, after))
    spread = _spread(_of_one(old, runs[0], runs), _of_one(new, runs[1], runs))
    if spread is None:
        what, told = ("repeats", n) if max(runs) == 1 else ("runs", runs)
        reason = f"{told[0]} and {told[1]} {what} do not say how much {what} differ: run 5 or more of each"
        return _undecided(math.exp(new.value - old.value), n, reason, runs)
    return _judged(new.value - old.value, spread, _Counts(n=n, runs=runs), rule)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counts:
    n: tuple[int, int]
    runs: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Spread:
    """The standard error of the difference of logarithms; ``least``: the degrees of freedom of the smaller side."""

    error: float
    degrees: float
    least: int
    is_lone: bool = False  # a side is one repeat (or run)


def _of_one(side: MeanOfRuns, own: int, runs: tuple[int, int]) -> MeanOfRuns:
    """Return a side; of one run beside several its repeats do not say how much it differs from other runs."""
    return replace(side, degrees=0) if own == 1 < max(runs) else side


def _spread(old: MeanOfRuns, new: MeanOfRuns) -> _Spread | None:
    """Return the error of the difference of two means (Welch); a side of one repeat, or run, takes the other's."""
    if old.degrees and new.degrees:
        variance = old.variance + new.variance
        below = sum(side.variance**2 / side.degrees for side in (old, new))
        degrees = variance**2 / below if below > 0 else float(old.degrees + new.degrees)
        return _Spread(error=math.sqrt(variance), degrees=max(1.0, degrees), least=min(old.degrees, new.degrees))
    lone, several = sorted((old, new), key=lambda side: side.degrees)
    if several.degrees < 2:
        return None
    of_lone = max(lone.variance, several.variance * (several.degrees + 1))
    error = math.sqrt(several.variance + of_lone)
    return _Spread(error=error, degrees=several.degrees, least=several.degrees, is_lone=True)


def _judged(change: float, spread: _Spread, counts: _Counts, rule: Rule) -> Ratio:
    half = student_t(spread.degrees) * spread.error
    alarm = student_t(max(spread.least, rule.degrees * spread.degrees), rule.confidence) * spread.error
    value, low, high = (math.exp(change + shift) for shift in (0.0, -half, half))
    verdict: RatioVerdict = "undecided"
    if abs(change) > alarm and abs(value - 1) >= rule.material:
        verdict = "better" if change > 0 else "worse"
    elif low >= 1 - rule.same and high <= 1 + rule.same:
        verdict = "same"
    alone = ", that alone taken to vary as the others do" if spread.is_lone else ""
    of_runs = "" if max(counts.runs) == 1 else f" of {counts.runs[0]} and {counts.runs[1]} runs"
    several = f"{counts.n[0]} and {counts.n[1]} repeats{of_runs}{alone}"
    change_by, least, most = (percent(each - 1, "+.1f") for each in (value, low, high))
    reason = f"{change_by} ({least} to {most}; {several}): {_reason(verdict, rule)}"
    return Ratio(value=value, low=low, high=high, n=counts.n, runs=counts.runs, verdict=verdict, reason=reason)


def _reason(verdict: RatioVerdict, rule: Rule) -> str:
    match verdict:
        case "better" | "worse":
            return "more than repeats differ by themselves"
        case "same":
            return f"within ±{100 * rule.same:g} %"
        case "undecided":
            return "repeats differ too much to tell; more of them narrow it"


def _undecided(value: float | None, n: tuple[int, int], reason: str, runs: tuple[int, int]) -> Ratio:
    return Ratio(value=value, low=None, high=None, n=n, runs=runs, verdict="undecided", reason=reason)
