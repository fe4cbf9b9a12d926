"""Two summaries → Comparison: what became faster, slower, or cannot be told, and the facts that changed."""

from __future__ import annotations

from milabench.compare.compare import compare
from milabench.compare.types import (
    VERDICTS,
    Absent,
    BenchmarkComparison,
    Change,
    Comparison,
    Overall,
    Side,
    Verdict,
)

__all__ = [
    "VERDICTS",
    "Absent",
    "BenchmarkComparison",
    "Change",
    "Comparison",
    "Overall",
    "Side",
    "Verdict",
    "compare",
]
