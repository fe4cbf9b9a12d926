"""Run directory → Summary: perf, outcomes and score, by one function."""

from __future__ import annotations

from milabench.summary.summarize import summarize
from milabench.summary.types import (
    BenchmarkSummary,
    Failure,
    Losses,
    Memory,
    Missing,
    ProcessSummary,
    Run,
    RunFacts,
    Summary,
)

__all__ = [
    "BenchmarkSummary",
    "Failure",
    "Losses",
    "Memory",
    "Missing",
    "ProcessSummary",
    "Run",
    "RunFacts",
    "Summary",
    "summarize",
]
