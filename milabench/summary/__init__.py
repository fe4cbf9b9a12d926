"""Run directory → Summary: perf, outcomes and score, by one function."""

from __future__ import annotations

from milabench.summary.series import Series
from milabench.summary.summarize import summarize
from milabench.summary.types import (
    BenchmarkSummary,
    Ecc,
    Energy,
    Failure,
    Losses,
    Memory,
    Missing,
    Precision,
    ProcessSummary,
    Run,
    RunFacts,
    Speed,
    StepTimes,
    Summary,
    Surroundings,
    Trust,
)

__all__ = [
    "BenchmarkSummary",
    "Ecc",
    "Energy",
    "Failure",
    "Losses",
    "Memory",
    "Missing",
    "Precision",
    "ProcessSummary",
    "Run",
    "RunFacts",
    "Series",
    "Speed",
    "StepTimes",
    "Summary",
    "Surroundings",
    "Trust",
    "summarize",
]
