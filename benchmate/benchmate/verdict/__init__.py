"""What may be said of a number: is it steady, was the machine quiet, is it better than another. Pure, stdlib only."""

from __future__ import annotations

from benchmate.verdict.comparison import Ratio, Rule, Runs, ratio, ratio_of_runs
from benchmate.verdict.evenness import UNEVEN, Apart, Evenness, evenness
from benchmate.verdict.evidence import OVERHEAD, Evidence, Noise, noise, pooled
from benchmate.verdict.figures import interval, percent, rounded, too_few
from benchmate.verdict.grading import Grade, Word, grade
from benchmate.verdict.series import Steadiness, steadiness

__all__ = [
    "OVERHEAD",
    "UNEVEN",
    "Apart",
    "Evenness",
    "Evidence",
    "Grade",
    "Noise",
    "Ratio",
    "Rule",
    "Runs",
    "Steadiness",
    "Word",
    "evenness",
    "grade",
    "interval",
    "noise",
    "percent",
    "pooled",
    "ratio",
    "ratio_of_runs",
    "rounded",
    "steadiness",
    "too_few",
]
