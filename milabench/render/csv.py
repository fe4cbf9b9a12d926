"""Summary → CSV: a row a benchmark, plain numbers, for spreadsheets and other programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Final

from milabench.summary import BenchmarkSummary, Summary

COLUMNS: Final = (
    *("name", "status", "n", "failed", "perf", "unit", "std", "sem", "low", "high", "verdict"),
    *("warmup_steps", "measured_steps", "ngpu", "devices", "peak_memory_bytes", "peak_memory_source"),
    *("seconds", "score", "weight", "enabled", "labels", "reasons"),
)


def render(summary: Summary) -> str:
    """Return a header and a row for each benchmark, skipped and missing ones included (see ``status``).

    ``devices`` are joined by spaces, ``labels`` (``key=value``) and ``reasons`` by ``; ``; what is not known is empty.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(_row(found) for found in summary.benchmarks)
    for absent in summary.missing:
        writer.writerow(
            {
                "name": absent.benchmark,
                "status": "missing",
                "n": 0,
                "failed": 0,
                "weight": absent.weight,
                "enabled": str(absent.enabled).lower(),
                "reasons": absent.reason,
            }
        )
    return text.getvalue()


def _row(found: BenchmarkSummary) -> dict[str, object]:
    return {
        "name": found.name,
        "status": "skipped" if found.skipped else "failed" if found.failed else "ok",
        "n": found.n,
        "failed": found.failed,
        "perf": found.perf,
        "unit": found.unit,
        "std": found.std,
        "sem": found.sem,
        "low": found.interval.low,
        "high": found.interval.high,
        "verdict": found.interval.verdict if found.perf is not None else None,
        "warmup_steps": found.warmup_steps,
        "measured_steps": found.measured_steps,
        "ngpu": found.ngpu,
        "devices": " ".join(map(str, found.devices)),
        "peak_memory_bytes": found.memory.peak_bytes if found.memory else None,
        "peak_memory_source": found.memory.source if found.memory else None,
        "seconds": found.seconds,
        "score": found.score,
        "weight": found.weight,
        "enabled": str(found.enabled).lower(),
        "labels": "; ".join(f"{key}={value}" for key, value in found.labels.items()),
        "reasons": found.skipped or "; ".join(_reasons(found)),
    }


def _reasons(found: BenchmarkSummary) -> Iterator[str]:
    for failure in found.failures:
        yield f"{failure.tag}: {failure.outcome}: {failure.reason}".removesuffix(": ")
