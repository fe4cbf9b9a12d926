"""Summary → the JSON of ``milabench report --json``: versioned, additions only, never NaN."""

from __future__ import annotations

import json
from typing import Any, Final

from milabench.summary import BenchmarkSummary, Losses, ProcessSummary, Summary

VERSION: Final = 1


def render(summary: Summary) -> str:
    """Return the summary as indented JSON. Rates, ``std`` and ``sem`` are in ``unit``, memory in bytes."""
    return json.dumps(document(summary), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def document(summary: Summary) -> dict[str, Any]:
    """Return what ``render`` writes."""
    return {
        "version": VERSION,
        "runs": [{"name": run.name, "started": run.started or None, "path": run.path} for run in summary.runs],
        "benchmarks": [_benchmark(found) for found in summary.benchmarks],
        "score": dict(summary.score),
        "missing": [
            {"benchmark": absent.benchmark, "reason": absent.reason, "weight": absent.weight, "enabled": absent.enabled}
            for absent in summary.missing
        ],
        "skipped": [{"benchmark": skip.benchmark, "reason": skip.reason} for skip in summary.skipped],
        "warnings": list(summary.warnings),
    }


def _benchmark(found: BenchmarkSummary) -> dict[str, Any]:
    interval, memory = found.interval, found.memory
    return {
        "name": found.name,
        "n": found.n,
        "failed": found.failed,
        "outcomes": dict(found.outcomes),
        "perf": found.perf,
        "unit": found.unit,
        "std": found.std,
        "sem": found.sem,
        "low": interval.low,
        "high": interval.high,
        "interval": {"n": interval.n, "method": interval.method, "verdict": interval.verdict},
        "ngpu": found.ngpu,
        "devices": list(found.devices),
        "peak_memory_bytes": memory.peak_bytes if memory else None,
        "peak_memory_source": memory.source if memory else None,
        "steps": {"warmup": found.warmup_steps, "measured": found.measured_steps},
        "losses": _losses(found.losses),
        "seconds": found.seconds,
        "score": found.score,
        "weight": found.weight,
        "enabled": found.enabled,
        "labels": dict(found.labels),
        "failures": [{"tag": fail.tag, "outcome": fail.outcome, "reason": fail.reason} for fail in found.failures],
        "skipped": found.skipped,
        "processes": [_process(process) for process in found.processes],
    }


def _process(process: ProcessSummary) -> dict[str, Any]:
    run, repeat = process.repeat
    return {
        "tag": process.tag,
        "run": run,
        "repeat": repeat,
        "outcome": process.outcome,
        "reason": process.reason,
        "steps": {"warmup": process.warmup, "measured": len(process.rates)},
        "perf": sum(process.rates) / len(process.rates) if process.rates else None,
        "unit": process.unit,
        "devices": list(process.devices),
        "neighbours": list(process.neighbours),
        "peak_memory_bytes": process.memory.peak_bytes if process.memory else None,
        "peak_memory_source": process.memory.source if process.memory else None,
        "losses": _losses(process.losses),
        "seconds": process.seconds,
    }


def _losses(losses: Losses | None) -> dict[str, Any] | None:
    if losses is None:
        return None
    return {"first": losses.first, "last": losses.last, "n": losses.n, "nan": losses.nan}
