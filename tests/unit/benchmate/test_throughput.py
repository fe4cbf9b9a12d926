"""Throughput of steps, and when it is precise enough to stop measuring."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmate.statistics import Estimate, estimate, next_look, precise, throughput

PRECISE = Estimate(n=1000, value=100.0, low=99.2, high=100.8, method="batch means", verdict="ok")
steps = st.lists(st.tuples(st.integers(0, 1000), st.integers(1, 10**9)), min_size=1, max_size=300)


def test_throughput_is_the_work_over_the_time_and_no_mean_of_rates() -> None:
    found = throughput([32] * 40, [1_000_000, 3_000_000] * 20)
    assert found.value == pytest.approx(32 / 0.002)
    assert (found.n, found.method, found.verdict) == (40, "batch means", "ok")
    assert (found.low, found.high) == (pytest.approx(found.value), pytest.approx(found.value))


def test_a_rate_that_is_the_same_in_every_step_has_no_width_whatever_steps_took() -> None:
    generator = random.Random(1)
    took = [generator.randint(1, 10**7) for _ in range(200)]
    found = throughput([2 * each for each in took], took)
    assert (found.low, found.high) == (pytest.approx(2e9), pytest.approx(2e9))


@pytest.mark.parametrize("n", [0, 1, 9])
def test_few_steps_have_a_rate_at_most(n: int) -> None:
    found = throughput([1] * n, [10**9] * n)
    assert (found.value, found.low, found.verdict) == (1.0 if n else None, None, "too few")


def test_no_time_is_no_rate_and_what_cannot_be_is_refused() -> None:
    assert throughput([1, 1], [0, 0]).value is None
    with pytest.raises(ValueError, match="2 counts and 1 durations"):
        throughput([1, 1], [1])
    with pytest.raises(ValueError, match="negative"):
        throughput([1, 1], [5, -1])


@given(steps, st.sampled_from([2, 8]))
def test_throughput_scales_with_the_work_and_against_the_time(made: list[tuple[int, int]], factor: int) -> None:
    counts, durations = [count for count, _ in made], [duration for _, duration in made]
    one, more = throughput(counts, durations), throughput([factor * count for count in counts], durations)
    slower = throughput(counts, [factor * duration for duration in durations])
    assert one.value == pytest.approx(1e9 * sum(counts) / sum(durations))
    for bound in ("value", "low", "high"):
        if (value := getattr(one, bound)) is not None:
            near = 1e-9 * abs(one.value or 1)
            assert getattr(more, bound) == pytest.approx(factor * value, abs=factor * near)
            assert getattr(slower, bound) == pytest.approx(value / factor, abs=near)
        else:
            assert getattr(more, bound) is getattr(slower, bound) is None


def test_of_steps_that_count_one_it_is_the_inverse_of_the_mean_step() -> None:
    generator = random.Random(4)
    took = [generator.gauss(1e6, 1e4) for _ in range(500)]
    rate, step = throughput([1.0] * 500, took), estimate(took)
    assert rate.value == pytest.approx(1e9 / (step.value or 0))
    assert rate.relative_error == pytest.approx(step.relative_error or 0, rel=0.01)


@pytest.mark.parametrize(
    ("found", "precision", "enough"),
    [
        (PRECISE, 0.01, True),
        (PRECISE, 0.009, False),  # by 1.2 narrower than asked
        (replace(PRECISE, n=399), 0.01, False),  # slow steps that were not seen would be as much
        (replace(PRECISE, n=400), 0.01, True),
        (replace(PRECISE, n=39), 0.5, False),
        (replace(PRECISE, n=40), 0.5, True),
        (replace(PRECISE, low=None, high=None), 0.5, False),
        (PRECISE, 0.0, False),
    ],
)
def test_precise_takes_a_narrow_interval_of_enough_samples(found: Estimate, precision: float, enough: bool) -> None:
    assert precise(found, precision) is enough


def test_looks_are_ever_farther_apart() -> None:
    looks = [next_look(0)]
    while looks[-1] < 10**6:
        looks.append(next_look(looks[-1]))
    assert looks[:4] == [40, 50, 62, 77]
    assert len(looks) < 50
    assert next_look(1) == 40


def test_a_measurement_that_stops_when_precise_is_as_precise_as_it_was_asked_to_be() -> None:
    generator, within, stops = random.Random(9), 0, 100
    for _ in range(stops):
        level, made, look = 0.0, [], next_look(0)
        while not precise(found := estimate(made), 0.03):
            while len(made) < look:
                level = 0.5 * level + generator.gauss(0, 8)
                made.append(100 + level)
            look = next_look(look)
        within += abs((found.value or 0) / 100 - 1) <= 0.03
    assert within >= 90
