"""What two runs are beside each other: frozen values, plain enough to be written as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from benchmate.verdict import Noise
from milabench.summary import RunFacts

Verdict = Literal["better", "worse", "same", "undecided", "not comparable"]
VERDICTS: tuple[Verdict, ...] = ("worse", "better", "undecided", "not comparable", "same")  # the first to be read first


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A fact that is not the same in A and B; None where a side does not say it, or has nothing of the kind.

    ``area``: ``machine``, ``software``, ``code``, ``suite``, ``environ``, ``conditions``, ``environment <group>``, or
    ``work``: what a benchmark was asked to do.
    """

    area: str
    name: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One benchmark in A or in B.

    ``throughput`` is that of one process, in ``unit``, with its 95 % interval: of processes that ran at the same time
    the mean, so that it is the same on any number of devices; by ``repeats``, which has it for each in which all that
    is compared went well. None where nothing was measured. ``processes`` and ``failed`` count all that were started.
    ``noise``: what more than half of the processes that measured something say of it.
    """

    throughput: float | None = None
    low: float | None = None
    high: float | None = None
    unit: str = ""
    repeats: tuple[float, ...] = ()
    processes: int = 0
    failed: int = 0
    noise: Noise = Noise(verdict="unknown")


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkComparison:
    """One benchmark that both runs were to run.

    ``ratio`` is B/A with ``low`` and ``high``, its 95 % interval: None where there is none. ``needed``: repeats a side
    that would show the comparison's ``target`` four times in five (runs where several are pooled), None where the
    spread between them is not known.
    ``changed``: what differs in what it was asked to do.
    """

    name: str
    verdict: Verdict
    reason: str
    before: Side
    after: Side
    ratio: float | None
    low: float | None
    high: float | None
    needed: int | None
    changed: tuple[Change, ...]
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent:
    """A benchmark that only one run was to run, or that was skipped: nothing is said of it, and nothing follows."""

    benchmark: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Overall:
    """The score of B over that of A: the geometric mean of the ratios of ``benchmarks``, by their weights.

    ``left_out``: benchmarks with a weight that have no ratio, or lack some of the repeats that count.
    """

    verdict: Verdict
    reason: str
    ratio: float | None
    low: float | None
    high: float | None
    n: tuple[int, int]
    benchmarks: tuple[str, ...]
    left_out: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two runs, or two sets of runs pooled as repeats, beside each other.

    ``before`` and ``after`` are A and B. ``same`` are the areas of facts that are known and equal, ``unknown`` those
    that a side does not tell. ``comparisons``: how many ratios were judged together. ``target``: the change, a share of
    1, that the benchmarks' ``needed`` repeats would show. ``same_within``: the share that an interval lies within where
    the verdict is the same.
    """

    before: tuple[RunFacts, ...]
    after: tuple[RunFacts, ...]
    benchmarks: tuple[BenchmarkComparison, ...]
    absent: tuple[Absent, ...]
    overall: Overall
    changed: tuple[Change, ...]
    same: tuple[str, ...]
    unknown: tuple[str, ...]
    comparisons: int
    target: float
    same_within: float
    warnings: tuple[str, ...] = ()

    @property
    def counts(self) -> Mapping[Verdict, int]:
        """How many benchmarks have each verdict."""
        return {verdict: sum(each.verdict == verdict for each in self.benchmarks) for verdict in VERDICTS}

    @property
    def verdict(self) -> Verdict:
        """The verdict on the whole: worse where anything is, else undecided where any benchmark is open."""
        if not self.benchmarks:
            return "not comparable"
        found = {each.verdict for each in self.benchmarks}
        if "worse" in found or self.overall.verdict == "worse":
            return "worse"
        if opened := found & {"undecided", "not comparable"}:
            return "undecided" if "undecided" in opened else "not comparable"
        return "better" if "better" in found or self.overall.verdict == "better" else "same"
