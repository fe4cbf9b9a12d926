"""How long inferences took, a line for each benchmark of them: the median, the tails, and the very first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from benchmate import verdict
from benchmate.statistics import Estimate
from milabench.outcome import INFERENCE
from milabench.render import units
from milabench.summary import BenchmarkSummary, Summary
from milabench.summary.types import StepTimes

_SHOWN: Final = ("p50", "p90", "p99", "p99.9")


def latencies(summary: Summary) -> list[tuple[str, ...]]:
    """Return (benchmark, its latencies) of those that measured inferences."""
    return [
        (found.name, ", ".join(_of(found, found.speed.times)))
        for found in summary.benchmarks
        if found.speed.times is not None and any(process.task == INFERENCE for process in found.processes)
    ]


def _of(found: BenchmarkSummary, times: StepTimes) -> Iterator[str]:
    few = [name for name in _SHOWN if times.quantiles[name].value is None]
    yield from (f"{name} {_told(times.quantiles[name])}" for name in _SHOWN if name not in few)
    if few:
        yield verdict.too_few(times.n, few[0])
    yield f"longest {units.seconds(times.max_s)}"
    yield f"first {units.seconds(found.speed.first_s)}"
    if found.speed.load_s is not None:
        yield f"loading {units.seconds(found.speed.load_s)}"
    for part, of_part in found.speed.parts.items():
        yield f"{part} {', '.join(_of_part(of_part))}"


def _of_part(times: StepTimes) -> Iterator[str]:
    """Return median and p99 of a part, where n suffices for them."""
    for name in ("p50", "p99"):
        if times.quantiles[name].value is not None:
            yield f"{name} {_told(times.quantiles[name])}"


def _told(found: Estimate) -> str:
    """Return a time with half its 95 % interval as a share, where that says something."""
    return f"{units.seconds(found.value)}{verdict.interval(found)}"
