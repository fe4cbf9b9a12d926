"""Steadiness: what changes, what has two levels, what has a warm-up; and that chance is accused of nothing."""

from __future__ import annotations

import math
import random
from array import array
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmate.verdict import Steadiness, steadiness
from benchmate.verdict.series import LONGEST_WARMUP, LOOKED_AT, SHORTEST

LEVELS = "two levels of the samples"
STEPS = 1000
Level = Callable[[int], float]


def series(level: Level, steps: int = STEPS, spread: float = 0.01, seed: int = 1) -> list[float]:
    generator = random.Random(seed)
    return [level(index) * generator.gauss(1, spread) for index in range(steps)]


def drawn(level: Callable[[random.Random], float], steps: int = STEPS, seed: int = 1) -> list[float]:
    generator = random.Random(seed)
    return [level(generator) for _ in range(steps)]


@pytest.mark.parametrize(
    ("level", "kind"),
    [
        (lambda index: 1.0, "steady"),
        (lambda index: 1 + 0.02 * index / STEPS, "drifting"),
        (lambda index: 1 - 0.02 * index / STEPS, "drifting"),
        (lambda index: 1 + 0.005 * index / STEPS, "steady"),  # less than 1 % does not matter
        (lambda index: 1.03 if index >= STEPS // 2 else 1.0, "drifting"),
        (lambda index: 1.03 if index >= 0.85 * STEPS else 1.0, "drifting"),  # throttled near the end
        (lambda index: 1 + 0.05 * math.exp(-index / (0.4 * STEPS)), "drifting"),  # settles too late
        (lambda index: 1 + 0.05 * math.exp((index - STEPS) / (0.3 * STEPS)), "drifting"),
        (lambda index: 3.0 if index % 100 == 99 else 1.0, "steady"),  # a checkpoint every 100 steps
        (lambda index: 20.0 if index % 77 == 5 else 1.0, "steady"),  # that does not fall into step with the parts
        (lambda index: 2.0 if index % 10 == 9 else 1.0, "bimodal"),  # one every 10
        (lambda index: 1.1 if index % 3 == 0 else 1.0, "bimodal"),
        (lambda index: 1.05 if index // 7 % 2 else 1.0, "bimodal"),  # a clock of two levels
        (lambda index: 1.0 + 0.1 * (index % 10 == 9) + 5.0 * (index % 100 == 50), "bimodal"),  # beside outliers
    ],
)
def test_a_series_is_what_its_level_does(level: Level, kind: str) -> None:
    assert [steadiness(series(level, seed=seed)).kind for seed in range(5)] == [kind] * 5


@pytest.mark.parametrize(
    "level",
    [
        lambda generator: generator.expovariate(1),
        lambda generator: generator.lognormvariate(0, 0.5),
        lambda generator: generator.uniform(1, 2),
        lambda generator: float(round(generator.gauss(10, 0.7))),  # a program that prints few digits
        lambda generator: 3.0 if generator.random() < 0.01 else generator.gauss(1, 0.01),
        lambda generator: 5.0,
    ],
)
def test_a_distribution_with_one_mode_is_steady_however_skewed(level: Callable[[random.Random], float]) -> None:
    assert [steadiness(drawn(level, seed=seed)).kind for seed in range(5)] == ["steady"] * 5


def test_a_series_that_resembles_itself_is_not_taken_to_drift() -> None:
    generator, accused = random.Random(23), 0
    for _ in range(100):
        value, made = 0.0, []
        for _ in range(STEPS):
            value = 0.9 * value + generator.gauss(0, 0.01 * math.sqrt(1 - 0.9**2))
            made.append(1 + value)
        accused += steadiness(made).kind != "steady"
    assert accused <= 5


@pytest.mark.parametrize("steps", [60, 300, 2000, 3 * LOOKED_AT])
@pytest.mark.parametrize(("first", "level"), [(1, 10.0), (5, 1.5), (5, 0.5)])
def test_first_steps_that_lie_apart_are_the_warm_up(steps: int, first: int, level: float) -> None:
    found = steadiness(series(lambda index: level if index < first else 1.0, steps))
    told = f"steady after the first {first} of {steps} samples"
    assert found == Steadiness(kind="steady", warmup=first, detail=told)


@pytest.mark.parametrize("steps", [200, 2000, 3 * LOOKED_AT])
def test_a_slow_first_epoch_is_the_warm_up(steps: int) -> None:
    found = steadiness(series(lambda index: 1.05 if index < steps // 5 else 1.0, steps))
    assert found.kind == "steady"
    assert 0.15 * steps <= found.warmup <= 0.25 * steps


def test_a_start_that_settles_gradually_is_the_warm_up() -> None:
    found = steadiness(series(lambda index: 1 + 0.5 * math.exp(-index / 50)))
    assert found.kind == "steady"
    assert 100 <= found.warmup <= 300


def test_a_first_step_as_slow_as_many_later_ones_is_no_warm_up() -> None:
    assert steadiness(series(lambda index: 2.0 if index % 5 == 0 else 1.0)).warmup == 0


@pytest.mark.parametrize(
    ("level", "detail"),
    [
        (lambda index: 1.0, "steady from the first sample on"),
        (lambda index: 1 + 0.1 * index / STEPS, "the level of the samples rose by 9.0 % over the series"),
        (lambda index: 0.9 if index >= 600 else 1.0, "the level of the samples fell by 10.0 % about sample 600"),
        (
            lambda index: 2.0 if index % 10 == 9 else 1.0,
            "two levels of the samples: 10 % of them lie 100 % above the others",
        ),
        (
            lambda index: 0.5 if index % 4 == 0 else 1.0,
            "two levels of the samples: 25 % of them lie 50 % below the others",
        ),
    ],
)
def test_what_is_found_is_told_with_figures(level: Level, detail: str) -> None:
    assert steadiness(series(level, spread=1e-6)).detail == detail


def test_what_has_the_level_is_told_in_the_words_given() -> None:
    found = steadiness(series(lambda index: 0.9 if index >= 600 else 1.0, spread=1e-6), "its rates")
    assert found.detail == "the level of its rates fell by 10.0 % about sample 600"


def test_a_short_series_says_so() -> None:
    assert steadiness([1.0] * (SHORTEST - 1)).kind == "too short"
    assert steadiness([]) == Steadiness(
        kind="too short", warmup=0, detail="0 samples are too few to tell whether they are steady: that takes 40"
    )
    assert steadiness([1.0] * SHORTEST).kind == "steady"


@pytest.mark.parametrize("every", [10, 8, 3])
def test_a_long_series_with_a_period_is_looked_at_evenly(every: int) -> None:
    long = array("d", series(lambda index: 2.0 if index % every == 0 else 1.0, 100 * LOOKED_AT // 8))
    found = steadiness(long)
    assert (found.kind, found.detail) == (
        "bimodal",
        f"two levels of the samples: {100 / every:.0f} % of them lie 100 % above the others",
    )


values = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=400) | st.lists(
    st.sampled_from([0.0, 1.0, 1.5]), min_size=SHORTEST, max_size=200
)


@given(values, st.sampled_from([0.25, 2.0, 1024.0]))
def test_a_verdict_has_no_unit_and_cuts_nothing_beyond_a_third(samples: list[float], unit: float) -> None:
    found = steadiness(samples)
    assert 0 <= found.warmup <= LONGEST_WARMUP * len(samples)
    assert found.detail
    assert steadiness([unit * sample for sample in samples]) == found
