"""Two summaries → Comparison: each benchmark's ratio, all judged together, and the facts that changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from milabench.compare import work
from milabench.compare.alarms import Judged, judge
from milabench.compare.facts import differences, without_code
from milabench.compare.failures import failing
from milabench.compare.overall import SCORE, overall, scores
from milabench.compare.repeats import Repeats, measured, rates
from milabench.compare.sides import Entry, entries
from milabench.compare.types import Absent, BenchmarkComparison, Comparison, Verdict
from milabench.compare.verdicts import by_ratio, with_ratio, without_ratio
from milabench.summary import Summary
from milabench.summary.areas import Facts


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    """One benchmark that both runs were to run, with its throughput by repeat."""

    before: Entry
    after: Entry
    repeats: tuple[Repeats, Repeats]

    @property
    def is_comparable(self) -> bool:
        return all(self.repeats) and self.before.unit == self.after.unit


def compare(before: Summary, after: Summary, tolerance: float | None = None) -> Comparison:
    """Compare the summaries of two runs, A and B, or of runs pooled as repeats on either side.

    ``tolerance``: a change smaller than this share counts as none. Without one a change of 1 % or more may be an
    alarm, and what is the same is so within ±2 %.
    """
    pairs = _pairs(before, after)
    measured_in_both = {name: pair.repeats for name, pair in pairs.items() if pair.is_comparable}
    whole = scores(measured_in_both, {name: pair.after.weight for name, pair in pairs.items()})
    throughputs = {name: (rates(one), rates(other)) for name, (one, other) in measured_in_both.items()}
    if whole.benchmarks:
        throughputs[SCORE] = whole.before, whole.after
    judged = judge(throughputs, tolerance)
    benchmarks = tuple(_benchmark(name, pair, judged) for name, pair in pairs.items())
    facts = differences(_common(before, after), _common(after, before))
    return Comparison(
        before=before.runs,
        after=after.runs,
        benchmarks=benchmarks,
        absent=tuple(_absent(before, after, pairs)),
        overall=overall(whole, judged, benchmarks),
        changed=facts.changed,
        same=facts.same,
        unknown=facts.unknown,
        comparisons=judged.comparisons,
        target=judged.target,
        same_within=judged.rule.same,
        warnings=tuple(_warnings(before, after, pairs)),
    )


def _pairs(before: Summary, after: Summary) -> dict[str, _Pair]:
    first, second = entries(before), entries(after)
    return {
        name: _Pair(before=one, after=other, repeats=measured(one.processes, other.processes))
        for name, one in first.items()
        if (other := second.get(name)) is not None
    }


def _benchmark(name: str, pair: _Pair, judged: Judged) -> BenchmarkComparison:
    first, second = pair.repeats
    before, after = pair.before.side(first), pair.after.side(second)
    ratio = judged.ratios.get(name)
    verdict: Verdict
    if ratio is not None:
        failures = failing(pair.before.processes, pair.after.processes)
        verdict, reason = with_ratio(by_ratio(ratio, judged.rule, judged.needs(name)), before, after, failures)
    elif first and second:
        verdict, reason = "not comparable", f"it counts in {before.unit} in A and in {after.unit} in B"
    else:
        verdict, reason = without_ratio(pair.before.state(first), pair.after.state(second))
    return BenchmarkComparison(
        name=name,
        verdict=verdict,
        reason=reason,
        before=before,
        after=after,
        ratio=ratio.value if ratio else None,
        low=ratio.low if ratio else None,
        high=ratio.high if ratio else None,
        needed=judged.repeats.get(name),
        changed=tuple(work.changes(pair.before.found, pair.after.found)),
        weight=pair.after.weight,
    )


def _absent(before: Summary, after: Summary, pairs: Mapping[str, _Pair]) -> Iterator[Absent]:
    """Yield what only one run has, or what one skipped, each with why."""
    sides = {side: _known(summary) for side, summary in (("A", before), ("B", after))}
    for name in dict.fromkeys((*sides["A"], *sides["B"])):
        if name in pairs:
            continue
        there = {side: known[name] for side, known in sides.items() if name in known}
        skipped = [f"skipped in {side}: {why}" for side, why in there.items() if why]
        yield Absent(benchmark=name, reason="; ".join(skipped) if len(there) > 1 else f"only in {next(iter(there))}")


def _known(summary: Summary) -> dict[str, str]:
    """Return the benchmarks of a summary, each with why it was skipped where it was."""
    started = {found.name: found.skipped or "" for found in summary.benchmarks}
    return started | {absent.benchmark: "" for absent in summary.missing}


def _common(own: Summary, other: Summary) -> Facts:
    """Return the facts of a run without the code that only benchmarks have which the other was not to run."""
    there, known = _known(other), _definitions(own)
    both = {folder for name, folder in known.items() if name in there}
    return without_code(own.facts, {folder for folder in known.values() if folder not in both})


def _definitions(summary: Summary) -> dict[str, str]:
    """Return the folders of the benchmarks of a summary by their names, as far as their configs tell them."""
    found = {each.name: [process.config.get("definition") for process in each.processes] for each in summary.benchmarks}
    started = {name: next((each for each in several if isinstance(each, str)), "") for name, several in found.items()}
    return started | {absent.benchmark: absent.definition for absent in summary.missing}


def _warnings(before: Summary, after: Summary, pairs: Mapping[str, _Pair]) -> Iterator[str]:
    for name, pair in pairs.items():
        first, second = pair.before.weight, pair.after.weight
        if first != second:
            yield f"{name}: its weight is {first:g} in A and {second:g} in B, which counts"
    for side, summary in (("A", before), ("B", after)):
        yield from (f"{side}: {warning}" for warning in summary.warnings)
