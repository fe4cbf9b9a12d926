"""Summaries of benchmarks whose rates a test says in a line, as ``summarize`` makes them of runs."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import Any

from benchmate.verdict import Noise
from milabench.outcome import Kind, Outcome
from milabench.plan.types import Skip
from milabench.summary import BenchmarkSummary, Missing, ProcessSummary, RunFacts, Series, Summary, Surroundings
from milabench.summary.benchmark import summarize_benchmark
from milabench.summary.speed import speed_of

STEPS = 20  # of each process, all alike
NOISY = Surroundings(noise=Noise(verdict="noisy", reasons=("tasks waited for a CPU 40 % of the time",)))
QUIET = Surroundings(noise=Noise(verdict="quiet"))
FIVE = [100.0, 101.0, 99.0, 100.5, 99.5]  # repeats of a quiet machine


def process(
    benchmark: str, rate: float | None, *, repeat: int = 0, device: int | None = None, **fields: Any
) -> ProcessSummary:
    """Return a process that measured at one rate; None: at none."""
    parts = [benchmark, *([f"R{repeat}"] if repeat else []), *([f"D{device}"] if device is not None else [])]
    printed = array("d", [] if rate is None else [rate] * STEPS)
    series = Series(unit=fields.pop("unit", "items/s"), printed=printed, warmup=2)
    known: dict[str, Any] = {
        "tag": ".".join(parts),
        "benchmark": benchmark,
        "repeat": (0, repeat),
        "place": "" if device is None else f"D{device}",
        "slot": None if device is None else f"D{device}",
        "outcome": "ok",
        "reason": "",
        "series": series,
        "speed": speed_of(series),
        "losses": None,
        "memory": None,
        "seconds": 1.0,
        "devices": () if device is None else (device,),
        "ngpu": 0 if device is None else 1,
        "config": {"weight": 1.0},
    }
    return ProcessSummary(**{**known, **fields})


def failed(benchmark: str, *, outcome: Kind = "failed", reason: str = "exit code 1", **fields: Any) -> ProcessSummary:
    return process(benchmark, None, outcome=outcome, reason=reason, **fields)


def benchmark(
    name: str, rates: Sequence[float], config: Mapping[str, Any] | None = None, **fields: Any
) -> BenchmarkSummary:
    """Return a benchmark of one process in each repeat, of these rates."""
    told = {"weight": 1.0, **(config or {})}
    return of(
        name, *(process(name, rate, repeat=number, config=told, **fields) for number, rate in enumerate(rates)), **told
    )


def of(name: str, *processes: ProcessSummary, skipped: str | None = None, **config: Any) -> BenchmarkSummary:
    """Return the benchmark of these processes."""
    return summarize_benchmark(name, processes, {"weight": 1.0, **config}, skipped=skipped)


def summary(
    *benchmarks: BenchmarkSummary,
    missing: Mapping[str, Outcome] | None = None,
    facts: Mapping[str, Any] | None = None,
    name: str = "run",
    warnings: Sequence[str] = (),
) -> Summary:
    return Summary(
        runs=(RunFacts(name=name, started="2030-01-01 00:00:00 UTC", path=f"/runs/{name}"),),
        benchmarks=benchmarks,
        missing=tuple(
            Missing(benchmark=each, outcome=why.kind, reason=f"{why.kind}: {why.reason}", weight=1.0, enabled=True)
            for each, why in (missing or {}).items()
        ),
        skipped=tuple(Skip(benchmark=each.name, reason=each.skipped) for each in benchmarks if each.skipped),
        score={},
        facts=facts or {},
        warnings=tuple(warnings),
    )
