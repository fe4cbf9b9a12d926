"""Ratios of repeats: their interval, when a change is one, and what too few repeats say."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmate.student import student_t
from benchmate.verdict import ratio, ratio_of_runs

FIVE = [100.0, 101.0, 99.0, 100.5, 99.5]
MIRRORED = {"better": "worse", "worse": "better", "same": "same", "undecided": "undecided"}
rates = st.lists(st.floats(90, 110), min_size=1, max_size=8)


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        (FIVE, FIVE, "same"),
        (FIVE, [rate * 1.03 for rate in FIVE], "better"),
        (FIVE, [rate * 0.97 for rate in FIVE], "worse"),
        (FIVE, [rate * 0.995 for rate in FIVE], "same"),
        (FIVE, [rate * 0.985 for rate in FIVE], "undecided"),
        ([100.0] * 3, [100.0] * 3, "same"),
        ([100.0] * 3, [100.5] * 3, "same"),
        ([100.0] * 3, [98.5] * 3, "worse"),
        ([80.0, 120.0, 100.0], [85.0, 118.0, 99.0], "undecided"),
        ([100.0, 101.0], [97.0, 98.0], "undecided"),  # two a side: Student's factor is 9.9 and more
        ([100.0], [50.0], "undecided"),
        ([100.0, 101.0], [50.0], "undecided"),
        (FIVE, [90.0], "worse"),  # one beside five: as far off as none of these
        ([90.0], FIVE, "better"),
        (FIVE, [98.0], "undecided"),
        ([], FIVE, "undecided"),
        (FIVE, [0.0, 100.0], "undecided"),
        (FIVE, [math.nan], "undecided"),
    ],
)
def test_repeats_have_this_verdict(before: list[float], after: list[float], verdict: str) -> None:
    found = ratio(before, after)
    assert (found.verdict, found.n) == (verdict, (len(before), len(after)))


def test_the_interval_is_welchs_on_logarithms() -> None:
    before, after = [100.0, 102.0], [110.0, 110.0]
    found = ratio(before, after)
    centre = math.log(110) - (math.log(100) + math.log(102)) / 2
    half = student_t(1) * (math.log(102) - math.log(100)) / 2  # all of the spread is that of two values
    assert found.value == pytest.approx(math.exp(centre))
    assert (found.low, found.high) == (pytest.approx(math.exp(centre - half)), pytest.approx(math.exp(centre + half)))


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ([], FIVE, "nothing to compare: 0 repeats before, 5 after"),
        ([100.0], [99.0], "1 and 1 repeats do not say how much repeats differ: run 5 or more of each"),
        (FIVE, [0.0], "a repeat has no throughput above 0"),
        ([100.0] * 3, [97.0] * 3, "-3.0 % (-3.0 % to -3.0 %; 3 and 3 repeats): more than repeats differ by themselves"),
        (
            [100.0] * 3,
            [90.0],
            "-10.0 % (-10.0 % to -10.0 %; 3 and 1 repeats, that alone taken to vary as the others do):"
            " more than repeats differ by themselves",
        ),
        ([100.0] * 3, [100.0] * 3, "+0.0 % (+0.0 % to +0.0 %; 3 and 3 repeats): within ±2 %"),
    ],
)
def test_a_verdict_has_its_reason(before: list[float], after: list[float], reason: str) -> None:
    assert ratio(before, after).reason == reason


@given(rates, rates, st.floats(0.01, 100))
def test_a_ratio_is_of_no_unit_and_the_inverse_of_its_inverse(
    before: list[float], after: list[float], unit: float
) -> None:
    found, inverse = ratio(before, after), ratio(after, before)
    scaled = ratio([unit * rate for rate in before], [unit * rate for rate in after])
    assert found.value == pytest.approx(1 / (inverse.value or 0))
    assert scaled.value == pytest.approx(found.value or 0)
    if found.low is None or found.high is None or found.value is None:
        assert found.verdict == "undecided"
        return
    assert found.low <= found.value <= found.high
    assert (inverse.low, inverse.high) == (pytest.approx(1 / found.high), pytest.approx(1 / found.low))
    if found.verdict in ("better", "worse"):
        assert inverse.verdict in (MIRRORED[found.verdict], "undecided")  # +1 % is −0.99 % seen from there


def test_equals_hardly_ever_alarm_and_a_change_of_3_percent_is_mostly_found() -> None:
    generator, alarms, found, trials = random.Random(17), 0, 0, 400
    for _ in range(trials):
        before, after = ([100 * math.exp(generator.gauss(0, 0.01)) for _ in range(6)] for _ in range(2))
        alarms += ratio(before, after).verdict in ("better", "worse")
        found += ratio(before, [0.97 * rate for rate in after]).verdict == "worse"
    assert alarms / trials <= 0.04
    assert found / trials >= 0.85


@given(rates, rates)
def test_runs_of_one_repeat_are_as_many_repeats(before: list[float], after: list[float]) -> None:
    one, several = ratio(before, after), ratio_of_runs([[rate] for rate in before], [[rate] for rate in after])
    assert several.runs == (len(before), len(after))
    assert (several.verdict, several.value) == (one.verdict, pytest.approx(one.value))
    assert (several.low, several.high) == (pytest.approx(one.low), pytest.approx(one.high))


def test_more_repeats_of_the_same_runs_make_the_ratio_no_surer() -> None:
    before, after = [100.0, 103.0, 98.0], [99.0, 104.0, 96.0]
    once = ratio_of_runs([[rate] for rate in before], [[rate] for rate in after])
    often = ratio_of_runs([[rate] * 9 for rate in before], [[rate] * 9 for rate in after])
    assert (often.n, often.runs) == ((27, 27), (3, 3))
    assert (often.low, often.high) == (pytest.approx(once.low), pytest.approx(once.high))


def test_one_run_beside_several_varies_as_they_do() -> None:
    found = ratio_of_runs([[100.0], [103.0], [98.0]], [[97.0] * 5])
    assert found == replace(ratio([100.0, 103.0, 98.0], [97.0]), n=(3, 5), runs=(3, 1), reason=found.reason)
    assert "3 and 5 repeats of 3 and 1 runs, that alone taken to vary as the others do" in found.reason
