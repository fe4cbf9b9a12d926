"""One word for a number: the first of its faults, with all reasons."""

from __future__ import annotations

import random

import pytest

from benchmate.statistics import Estimate, estimate
from benchmate.verdict import Evidence, Noise, Steadiness, grade, noise, pooled

_CHANCE = random.Random(3)
GOOD = estimate([_CHANCE.gauss(100, 1) for _ in range(400)])
FEW = estimate([1.0, 2.0])
WIDE = Estimate(n=30, value=100.0, low=92.0, high=108.0, method="batch means", verdict="wide")
STEADY = Steadiness(kind="steady", warmup=0, detail="steady from the first sample on")
SHORT = Steadiness(kind="too short", warmup=0, detail="12 samples are too few")
DRIFTING = Steadiness(kind="drifting", warmup=0, detail="the level rose by 3.0 % over the series")
BIMODAL = Steadiness(kind="bimodal", warmup=0, detail="two levels: 10 % of the samples lie 10 % above the others")
QUIET = Noise(verdict="quiet", reasons=("other processes took 12 % of the CPU time",))
NOISY = Noise(verdict="noisy", reasons=("busy", "hot"))
UNKNOWN = Noise(verdict="unknown")


@pytest.mark.parametrize(
    ("found", "series", "machine", "word", "reasons"),
    [
        (GOOD, [STEADY], [QUIET], "ok", ()),
        (GOOD, [], [], "ok", ()),
        (GOOD, [SHORT], [UNKNOWN], "ok", ()),
        (WIDE, [STEADY], [QUIET], "wide", ("the 95 % interval is ±8.0 % of the value, wider than ±5 %",)),
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
                "the 95 % interval is ±8.0 % of the value, wider than ±5 %",
            ),
        ),
    ],
)
def test_the_word_is_the_first_that_holds_and_all_reasons_stand(
    found: Estimate, series: list[Steadiness], machine: list[Noise], word: str, reasons: tuple[str, ...]
) -> None:
    graded = grade(found, series, machine)
    assert (graded.word, graded.reasons) == (word, reasons)
    assert len(graded.words) == len(reasons)
    assert (graded.words or ("ok",))[0] == word


WAITED = noise(Evidence(window_s=10, wait_share=0.5, pressure_share=0.5, others_share=0.5))
LESS = noise(Evidence(window_s=10, wait_share=0.4, pressure_share=0.0, others_share=0.5))
DAMAGED = noise(Evidence(window_s=10, wait_share=0.0, pressure_share=0.0, ecc_errors=1))
CALM = noise(Evidence(window_s=10, wait_share=0.0, pressure_share=0.0))


def test_each_kind_of_reason_is_counted_by_the_processes_that_have_it_and_wrong_results_come_first() -> None:
    found = grade(GOOD, (), [WAITED, DAMAGED, LESS, CALM])
    assert found.reasons == (
        "1 of 4 processes: the device had 1 uncorrected memory error: its results may be wrong",
        "1 of 4 processes: tasks waited for a CPU 50 % of the time: other processes took 50 % of the CPU time",
        "2 of 4 processes, of one: its own threads waited for a CPU 50 % of their time",
    )
    assert pooled([WAITED, DAMAGED, LESS, CALM]).reasons == found.reasons


def test_a_memory_error_comes_before_the_other_reasons_of_its_process() -> None:
    both = noise(Evidence(window_s=10, wait_share=0.5, pressure_share=0.5, steal_share=0.5, ecc_errors=2))
    assert both.reasons[0] == "the device had 2 uncorrected memory errors: its results may be wrong"


@pytest.mark.parametrize(
    ("several", "verdict", "reasons"),
    [
        ([], "unknown", ()),
        ([CALM, CALM], "quiet", ()),
        ([QUIET, CALM], "quiet", ("1 of 2 processes: other processes took 12 % of the CPU time",)),
        ([QUIET, UNKNOWN], "unknown", ()),
        ([UNKNOWN, NOISY, QUIET], "noisy", ("1 of 3 processes: busy", "1 of 3 processes: hot")),
    ],
)
def test_the_worst_of_several_processes_speaks_for_all(
    several: list[Noise], verdict: str, reasons: tuple[str, ...]
) -> None:
    found = pooled(several)
    assert (found.verdict, found.reasons) == (verdict, reasons)
