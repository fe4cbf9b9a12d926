"""Verdicts: what evidence shows of a machine, what a series shows of a process, when a change is one."""

from __future__ import annotations

import random

import pytest

from benchmate.statistics import estimate
from benchmate.verdict import Evidence, Grade, Noise, Steadiness, grade, noise, ratio, steadiness

QUIET = Evidence(window_s=10.0, cpu_share=0.99, wait_share=0.001, others_share=0.01, pressure_share=0.004)


def test_nothing_known_is_unknown() -> None:
    assert noise(Evidence()) == Noise(verdict="unknown", reasons=())


def test_a_quiet_machine_is_quiet() -> None:
    assert noise(QUIET) == Noise(verdict="quiet", reasons=())


@pytest.mark.parametrize(
    ("series", "kind"),
    [([1.0] * 29, "too short"), ([1.0] * 30, "steady"), ([1.0 + index / 1000 for index in range(100)], "drifting")],
)
def test_a_series_without_noise_is_what_it_looks_like(series: list[float], kind: str) -> None:
    assert steadiness(series).kind == kind


def test_equal_repeats_are_the_same_and_one_a_side_is_undecided() -> None:
    assert ratio([100.0] * 3, [100.0] * 3).verdict == "same"
    assert ratio([100.0], [150.0]).verdict == "undecided"


def test_the_word_of_a_number_is_the_first_that_holds() -> None:
    generator = random.Random(3)
    good = estimate([generator.gauss(100, 1) for _ in range(400)])
    drifting = Steadiness(kind="drifting", warmup=0, detail="the level went up")
    assert grade(good) == Grade(word="ok")
    assert grade(good, [drifting]).word == "drifting"
    assert grade(good, [drifting], [Noise(verdict="noisy", reasons=("busy",))]).word == "noisy"
    assert grade(estimate([1.0]), [drifting], [Noise(verdict="noisy", reasons=("busy",))]).word == "too few"
