"""Comparison → the JSON of ``milabench compare --json``: versioned, additions only, never NaN."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any, Final

from milabench.compare import BenchmarkComparison, Comparison, Side
from milabench.summary import RunFacts

VERSION: Final = 1


def render(found: Comparison) -> str:
    """Return the comparison as indented JSON. Throughputs are in ``unit``; ratios are B/A."""
    return json.dumps(document(found), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def document(found: Comparison) -> dict[str, Any]:
    """Return what ``render`` writes."""
    overall = found.overall
    return {
        "version": VERSION,
        "verdict": found.verdict,
        "before": {"runs": [_run(run) for run in found.before]},
        "after": {"runs": [_run(run) for run in found.after]},
        "benchmarks": [_benchmark(each) for each in found.benchmarks],
        "absent": [asdict(each) for each in found.absent],
        "score": {
            "verdict": overall.verdict,
            "reason": overall.reason,
            "ratio": overall.ratio,
            "low": overall.low,
            "high": overall.high,
            "n": list(overall.n),
            "benchmarks": list(overall.benchmarks),
            "left_out": list(overall.left_out),
        },
        "counts": dict(found.counts),
        "changed": [asdict(each) for each in found.changed],
        "same": list(found.same),
        "unknown": list(found.unknown),
        "comparisons": found.comparisons,
        "target": found.target,
        "same_within": found.same_within,
        "warnings": list(found.warnings),
    }


def _run(run: RunFacts) -> dict[str, Any]:
    return {"name": run.name, "started": run.started or None, "path": run.path}


def _benchmark(found: BenchmarkComparison) -> dict[str, Any]:
    return {
        "name": found.name,
        "verdict": found.verdict,
        "reason": found.reason,
        "ratio": found.ratio,
        "low": found.low,
        "high": found.high,
        "before": _side(found.before),
        "after": _side(found.after),
        "repeats_needed": found.needed,
        "changed": [{"name": each.name, "before": each.before, "after": each.after} for each in found.changed],
        "weight": found.weight,
    }


def _side(side: Side) -> dict[str, Any]:
    return {
        "throughput": side.throughput,
        "low": side.low,
        "high": side.high,
        "unit": side.unit,
        "repeats": list(side.repeats),
        "processes": side.processes,
        "failed": side.failed,
        "noise": {"verdict": side.noise.verdict, "reasons": list(side.noise.reasons)},
    }
