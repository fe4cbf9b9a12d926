"""Many ratios judged at once: which of them are alarms, and how many repeats would show more."""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from benchmate.statistics import mean, std
from benchmate.student import student_t
from benchmate.verdict import Ratio, Rule, Runs, ratio_of_runs

Pair = tuple[Runs, Runs]  # the rates of the repeats of each run, of A and of B

FAMILY: Final = 0.05  # chance that any of all ratios is an alarm where nothing has changed
_TARGET: Final = 0.03  # the change that repeats are to show where no tolerance is asked for
_LEAST: Final = 0.001  # and the smallest that any tolerance asks for
# Of Welch's degrees of freedom: with all of them 5 repeats a side of which one varies 3 times as much as the other
# raise an alarm in 8 % of suites of 54 benchmarks in which nothing changed, with three quarters in 3 %.
_DEGREES: Final = 0.75
_POWER: Final = 0.8  # how often it is to be seen
_MOST: Final = 200  # repeats that anybody would make


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """How many repeats a side would show a ``change``, a share; None where the spread tells no number.

    Where several runs are pooled on a side it is so many runs.
    """

    change: float
    repeats: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The ratio B/A of each pair by its name, by which ``rule``, and what would show a change of ``target``.

    ``comparisons``: of how many pairs it is known how much repeats differ.
    """

    ratios: Mapping[str, Ratio]
    repeats: Mapping[str, int | None]
    rule: Rule
    target: float
    comparisons: int

    def needs(self, name: str) -> Needs:
        return Needs(change=self.target, repeats=self.repeats.get(name))

    def alone(self, pair: Pair) -> Ratio:
        """Return the ratio of a further pair: an alarm where it would be the first among all of them."""
        return ratio_of_runs(*pair, replace(self.rule, confidence=confidence(self.comparisons)))


def judge(pairs: Mapping[str, Pair], tolerance: float | None = None) -> Judged:
    """Return the ratios; better or worse only as far as all of them together allow.

    Step down (Holm, *A simple sequentially rejective multiple test procedure*, 1979): the strictest level is for the
    first alarm among all, the next for one among those that are left. Where nothing has changed the chance of any
    alarm at all stays under 5 %, however the ratios depend on one another.
    """
    rule = Rule(degrees=_DEGREES)
    if tolerance is not None:
        rule = replace(rule, material=tolerance, same=tolerance)
    target = _TARGET if tolerance is None else max(tolerance, _LEAST)
    ratios: dict[str, Ratio] = {}
    left, comparisons = list(pairs), 0
    while left:
        strict = replace(rule, confidence=confidence(len(left)))
        ratios |= {name: ratio_of_runs(*pairs[name], strict) for name in left}
        known = [name for name in left if ratios[name].low is not None]
        comparisons = max(comparisons, len(known))
        open_ = [name for name in known if ratios[name].verdict not in ("better", "worse")]
        left = open_ if len(open_) < len(left) else []
    repeats = {name: needed(pair, comparisons, target) for name, pair in pairs.items()}
    return Judged(ratios=ratios, repeats=repeats, rule=rule, target=target, comparisons=comparisons)


def confidence(comparisons: int) -> float:
    """Return the confidence that the first alarm among so many ratios takes; that of a single one at least."""
    return max(Rule().confidence, 1 - FAMILY / max(comparisons, 1))


def needed(pair: Pair, comparisons: int, change: float) -> int | None:
    """Return how many repeats a side would show a change, as an alarm among so many ratios, four times in five.

    By the spread that the repeats have, of several runs a side the runs; None where it is not known, or no number that
    anybody would make suffices.
    """
    logs = [side for side in _logarithms(pair) if len(side) >= 2]
    if not logs:
        return None
    degrees = sum(len(side) - 1 for side in logs)
    spread = math.sqrt(math.fsum(std(side, ddof=1) ** 2 * (len(side) - 1) for side in logs) / degrees)
    level = confidence(comparisons)

    def shows(n: int) -> bool:
        factor = student_t(_DEGREES * (2 * n - 2), level) + student_t(2 * n - 2, 2 * _POWER - 1)
        return factor * spread * math.sqrt(2 / n) <= math.log1p(change)

    n = 2 + bisect.bisect_left(range(2, _MOST + 1), True, key=shows)
    return n if n <= _MOST else None


def _logarithms(pair: Pair) -> list[list[float]]:
    """Return for either side what is independent: its repeats, or the means of its runs where a side has several."""
    sides = [[[math.log(rate) for rate in run] for run in side] for side in pair]
    if max(map(len, sides)) > 1:
        return [[mean(run) for run in side] for side in sides]
    return [rates for side in sides for rates in side]
