"""One word for a number: the first of its faults, with all reasons."""

from __future__ import annotations

import random

import pytest

from benchmate.statistics import Estimate, estimate
from benchmate.verdict import Grade, Noise, Steadiness, grade

_CHANCE = random.Random(3)
GOOD = estimate([_CHANCE.gauss(100, 1) for _ in range(400)])
FEW = estimate([1.0, 2.0])
WIDE = Estimate(n=30, value=100.0, low=92.0, high=108.0, method="batch means", verdict="wide")
STEADY = Steadiness(kind="steady", warmup=0, detail="steady from the first sample on")
SHORT = Steadiness(kind="too short", warmup=0, detail="12 samples are too few")
DRIFTING = Steadiness(kind="drifting", warmup=0, detail="the level rose by 3.0% over the series")
BIMODAL = Steadiness(kind="bimodal", warmup=0, detail="two levels: 10% of the samples lie 10% above the others")
QUIET = Noise(verdict="quiet", reasons=("other processes took 12% of the CPU time",))
NOISY = Noise(verdict="noisy", reasons=("busy", "hot"))
UNKNOWN = Noise(verdict="unknown")


@pytest.mark.parametrize(
    ("found", "series", "machine", "word", "reasons"),
    [
        (GOOD, [STEADY], [QUIET], "ok", ()),
        (GOOD, [], [], "ok", ()),
        (GOOD, [SHORT], [UNKNOWN], "ok", ()),
        (WIDE, [STEADY], [QUIET], "wide", ("the 95 % interval is ±8.0% of the value, wider than ±5%",)),
        (GOOD, [BIMODAL], [QUIET], "bimodal", (BIMODAL.detail,)),
        (GOOD, [DRIFTING], [QUIET], "drifting", (DRIFTING.detail,)),
        (GOOD, [STEADY], [NOISY], "noisy", ("busy", "hot")),
        (FEW, [SHORT], [NOISY], "too few", ("2 samples are too few for an interval", "busy", "hot")),
        (
            WIDE,
            [DRIFTING, BIMODAL, DRIFTING, STEADY],
            [QUIET, NOISY],
            "noisy",
            (
                "1 of 2 processes: busy",
                "1 of 2 processes: hot",
                f"2 of 4 processes: {DRIFTING.detail}",
                f"1 of 4 processes: {BIMODAL.detail}",
                "the 95 % interval is ±8.0% of the value, wider than ±5%",
            ),
        ),
    ],
)
def test_the_word_is_the_first_that_holds_and_all_reasons_stand(
    found: Estimate, series: list[Steadiness], machine: list[Noise], word: str, reasons: tuple[str, ...]
) -> None:
    assert grade(found, series, machine) == Grade(word=word, reasons=reasons)  # type: ignore[arg-type]
