"""Comparison → CSV: a row a benchmark, plain numbers, for spreadsheets and other programs."""

from __future__ import annotations

import csv
import io
from typing import Final

from milabench.compare import BenchmarkComparison, Comparison

_SIDE: Final = ("throughput", "low", "high", "unit", "n", "processes", "failed")
COLUMNS: Final = (
    *("name", "verdict", "ratio", "low", "high"),
    *(f"{side}_{name}" for side in ("before", "after") for name in _SIDE),
    *("repeats_needed", "weight", "changed", "reason"),
)


def render(found: Comparison) -> str:
    """Return a header and a row for each benchmark; those of one run only have the verdict ``absent``.

    ``before_n`` and ``after_n`` are repeats. ``changed`` (``name: before → after``) is joined by ``; ``; what is not
    known is empty.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(_row(each) for each in found.benchmarks)
    for absent in found.absent:
        writer.writerow({"name": absent.benchmark, "verdict": "absent", "reason": absent.reason})
    return text.getvalue()


def _row(found: BenchmarkComparison) -> dict[str, object]:
    sides = {"before": found.before, "after": found.after}
    return {
        "name": found.name,
        "verdict": found.verdict,
        "ratio": found.ratio,
        "low": found.low,
        "high": found.high,
        **{
            f"{name}_{key}": len(side.repeats) if key == "n" else getattr(side, key)
            for name, side in sides.items()
            for key in _SIDE
        },
        "repeats_needed": found.needed,
        "weight": found.weight,
        "changed": "; ".join(f"{each.name}: {each.before or ''} → {each.after or ''}" for each in found.changed),
        "reason": found.reason,
    }
