"""The score of B over that of A: the geometric mean of the ratios by weight, from one score for each repeat."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from benchmate.statistics import Estimate
from benchmate.verdict import Runs
from milabench.compare.alarms import Judged
from milabench.compare.noise import withheld
from milabench.compare.repeats import Repeat, Repeats, by_run
from milabench.compare.types import BenchmarkComparison, Overall, Verdict
from milabench.compare.verdicts import by_ratio

SCORE: Final = ""  # among the names of benchmarks


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """The score of each repeat of A's and B's runs: the geometric mean of the throughputs of ``benchmarks``, by weight.

    All that ran in one repeat shares its conditions; so the repeats, and not the benchmarks, say how sure it is.
    ``parts`` are their throughputs. ``left_out``: benchmarks that lack a repeat that counts.
    """

    before: Runs
    after: Runs
    parts: Mapping[str, tuple[Repeats, Repeats]]
    weights: Mapping[str, float]
    left_out: tuple[str, ...]

    @property
    def benchmarks(self) -> tuple[str, ...]:
        return tuple(self.parts)

    def without(self, names: Collection[str]) -> Scores:
        """Return the scores without some of the benchmarks."""
        return scores({name: pair for name, pair in self.parts.items() if name not in names}, self.weights)


def scores(measured: Mapping[str, tuple[Repeats, Repeats]], weights: Mapping[str, float]) -> Scores:
    """Return the scores of the repeats in which at least half of the benchmarks were measured, of those that lack none.

    Benchmarks with a weight of 0 are in no score. A repeat that was cut off costs no benchmark then, and a benchmark
    that failed once no repeat.
    """
    counted = {name: pair for name, pair in measured.items() if weights[name] > 0 and all(pair)}
    kept = [_kept([pair[side] for pair in counted.values()]) for side in (0, 1)]
    whole = {name: pair for name, pair in counted.items() if all(set(kept[side]) <= set(pair[side]) for side in (0, 1))}
    before, after = (
        by_run({each: _score({name: pair[side][each] for name, pair in whole.items()}, weights) for each in kept[side]})
        if whole
        else ()
        for side in (0, 1)
    )
    with_weight = [name for name in weights if weights[name] > 0]
    return Scores(
        before=before,
        after=after,
        parts=whole,
        weights=weights,
        left_out=tuple(name for name in with_weight if name not in whole),
    )


def _kept(benchmarks: Sequence[Repeats]) -> list[Repeat]:
    repeats = sorted({repeat for found in benchmarks for repeat in found})
    return [each for each in repeats if 2 * sum(each in found for found in benchmarks) >= len(benchmarks)]


def _score(found: Mapping[str, Estimate], weights: Mapping[str, float]) -> float:
    logarithm = math.fsum(weights[name] * math.log(each.value) for name, each in found.items() if each.value)
    return math.exp(logarithm / math.fsum(weights[name] for name in found))


def overall(found: Scores, judged: Judged, benchmarks: Sequence[BenchmarkComparison]) -> Overall:
    """Return the verdict on the scores; there is no ratio where nothing with a weight was measured in both."""
    ratio = judged.ratios.get(SCORE)
    verdict: Verdict = "not comparable"
    reason = "nothing with a weight was measured in both"
    if ratio is not None:
        verdict, reason = by_ratio(ratio, judged.rule, judged.needs(SCORE))
        if (doubt := _doubt(verdict, found, judged, benchmarks)) is not None:
            verdict, reason = "undecided", doubt
    return Overall(
        verdict=verdict,
        reason=reason,
        ratio=ratio.value if ratio else None,
        low=ratio.low if ratio else None,
        high=ratio.high if ratio else None,
        n=(sum(map(len, found.before)), sum(map(len, found.after))),
        benchmarks=found.benchmarks,
        left_out=found.left_out,
    )


def _doubt(verdict: Verdict, found: Scores, judged: Judged, benchmarks: Sequence[BenchmarkComparison]) -> str | None:
    """Return why the verdict on the scores is withheld: it rests on benchmarks of which noise forbids to say the same.

    It stands where it is that of the others too.
    """
    sides = {each.name: (each.before, each.after) for each in benchmarks}
    doubted = [name for name in found.benchmarks if withheld(verdict, *sides[name]) is not None]
    if not doubted:
        return None
    rest = found.without(doubted)
    if rest.benchmarks and judged.alone((rest.before, rest.after)).verdict == verdict:
        return None
    slower, other = ("B", "A") if verdict == "worse" else ("A", "B")
    noisy = f"{len(doubted)} of {len(found.benchmarks)} benchmarks were measured under noise"
    return f"slower in {slower}, where {noisy}, as in {other} they were not, or it is not known"
