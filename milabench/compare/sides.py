"""One benchmark in A or in B: what a summary has of it, and what became of it there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from benchmate.statistics import of_repeats
from milabench.compare import noise
from milabench.compare.repeats import Repeats, broken, cut_off, rates
from milabench.compare.types import Side
from milabench.outcome import UNDECIDED
from milabench.summary import BenchmarkSummary, Missing, ProcessSummary, Summary

State = Literal["measured", "failed", "cut off", "without a rate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A benchmark of one summary: started (``found``), or only planned (``missing``)."""

    found: BenchmarkSummary | None = None
    missing: Missing | None = None

    @property
    def processes(self) -> tuple[ProcessSummary, ...]:
        return self.found.processes if self.found else ()

    @property
    def unit(self) -> str:
        return self.found.unit if self.found else ""

    @property
    def weight(self) -> float:
        """What it counts in the score, 0 where it is not enabled."""
        each = self.found or self.missing
        return each.weight if each and each.enabled else 0.0

    def side(self, repeats: Repeats) -> Side:
        """Return it as a comparison shows it."""
        found, runs = self.found, rates(repeats)
        if found is None:
            return Side()
        whole = of_repeats([*repeats.values()], [run for run, _ in repeats])
        return Side(
            throughput=whole.value,
            low=whole.low,
            high=whole.high,
            unit=found.unit,
            repeats=tuple(rate for run in runs for rate in run),
            processes=found.n,
            failed=len(broken(found.processes)),
            noise=noise.of_processes(found.processes),
        )

    def state(self, repeats: Repeats) -> tuple[State, str]:
        """Return what became of it, and why."""
        if self.missing is not None:
            why = f"not started: {self.missing.reason}"
            return ("cut off" if self.missing.outcome in UNDECIDED else "failed"), why
        if repeats:
            return "measured", ""
        if failed := broken(self.processes):
            return "failed", _why(failed[0])
        if left := cut_off(self.processes):
            return "cut off", _why(left[0])
        return "without a rate", "it ended well"


def entries(summary: Summary) -> dict[str, Entry]:
    """Return what a summary was to run, by name; without what it skipped."""
    started = {found.name: Entry(found=found) for found in summary.benchmarks if not found.skipped}
    return started | {absent.benchmark: Entry(missing=absent) for absent in summary.missing}


def _why(process: ProcessSummary) -> str:
    return ": ".join(part for part in (process.outcome if process.outcome != "failed" else "", process.reason) if part)
