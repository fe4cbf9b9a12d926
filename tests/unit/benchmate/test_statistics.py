"""Statistics: known values, the sizes that say "too few", and what intervals cover."""

from __future__ import annotations

import math
import random
import statistics as stdlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmate.statistics import (
    QUANTILES,
    Statistic,
    between,
    correlation,
    estimate,
    estimates,
    inflation,
    mean,
    needed,
    of_repeats,
    quantile,
    quantiles,
    std,
)
from benchmate.student import student_t

numbers = st.lists(st.floats(min_value=-1e9, max_value=1e9), min_size=1, max_size=200)


@pytest.mark.parametrize(
    ("degrees", "expected"),
    [(1, 12.7062), (4, 2.7764), (19, 2.0930), (30, 2.0423), (31, 2.0395), (60, 2.0003), (120, 1.9799), (10**6, 1.9600)],
)
def test_student_t_matches_published_tables(degrees: int, expected: float) -> None:
    assert student_t(degrees) == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize(("degrees", "expected"), [(1, 63.6567), (2.5, 7.1637), (4, 4.6041), (30, 2.7500)])
def test_student_t_of_99_percent_and_of_broken_degrees(degrees: float, expected: float) -> None:
    assert student_t(degrees, 0.99) == pytest.approx(expected, abs=5e-4)


def test_student_t_falls_from_one_degree_to_the_next() -> None:
    points = [student_t(degrees) for degrees in range(1, 200)]
    assert points == sorted(points, reverse=True)
    with pytest.raises(ValueError, match="degree"):
        student_t(0)
    with pytest.raises(ValueError, match="between 0 and 1"):
        student_t(5, 1.0)


@pytest.mark.parametrize("degrees", [1, 1.5, 4, 30])
def test_a_higher_confidence_has_a_larger_factor_however_high(degrees: float) -> None:
    factors = [student_t(degrees, 1 - 10**-power) for power in range(1, 10)]
    assert factors == sorted(factors)
    assert all(factor < 10**12 for factor in factors)


@pytest.mark.parametrize(("share", "n"), [(0.5, 6), (0.9, 36), (0.95, 72), (0.99, 368), (0.999, 3688), (0.1, 36)])
def test_a_quantile_needs_so_many_samples(share: float, n: int) -> None:
    assert needed(share) == n


@pytest.mark.parametrize(("statistic", "n"), [("p90", 36), ("p95", 72), ("p99", 368), ("p99.9", 3688)])
def test_a_tail_is_none_one_sample_short_of_its_need(statistic: Statistic, n: int) -> None:
    several = 4 * n  # as many that are independent, whatever their order says
    shuffled = random.Random(1).sample(range(1, several + 1), several)
    short, enough = estimate(shuffled[: n - 1], statistic), estimate(shuffled, statistic)
    assert (short.value, short.low, short.high, short.verdict) == (None, None, None, "too few")
    assert enough.value == pytest.approx(1 + QUANTILES[statistic] * (several - 1))


@pytest.mark.parametrize(
    ("samples", "share", "expected"),
    [([1.0], 0.9, 1.0), ([1, 2, 3, 4], 0.5, 2.5), ([4, 1, 3, 2], 0.25, 1.75), ([1, 2], 0, 1), ([1, 2], 1, 2)],
)
def test_quantiles_are_linear_between_order_statistics(samples: list[float], share: float, expected: float) -> None:
    assert quantile(samples, share) == expected


def test_mean_and_std_of_known_samples() -> None:
    samples = [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]
    assert (mean(samples), std(samples)) == (5.0, 2.0)
    assert std(samples, ddof=1) == pytest.approx(2.13808993)
    for function in (mean, std):
        with pytest.raises(ValueError, match="sample"):
            function([])


def test_ten_samples_make_five_batches_of_two() -> None:
    found = estimate([1.0, 3.0, 5.0, 7.0, 2.0, 4.0, 4.0, 6.0, 3.0, 5.0])
    half = student_t(4) * math.sqrt(2.5) / math.sqrt(5)  # batch means 2, 6, 3, 5, 4: no resemblance of neighbours
    assert (found.n, found.value, found.method, found.verdict) == (10, 4.0, "batch means", "wide")
    assert found.low == pytest.approx(4 - half)
    assert found.high == pytest.approx(4 + half)


def test_nine_samples_are_too_few_for_an_interval_but_have_a_mean() -> None:
    found = estimate([1.0] * 9)
    assert (found.value, found.low, found.verdict, found.relative_error) == (1.0, None, "too few", None)


def test_samples_that_do_not_vary_have_an_interval_of_no_width() -> None:
    found = estimate([5.0] * 400, "mean")
    assert (found.low, found.value, found.high, found.verdict, found.relative_error) == (5.0, 5.0, 5.0, "ok", 0.0)
    assert estimate([5.0] * 400, "p99").high == 5.0


def test_no_samples_and_unknown_statistics_are_told() -> None:
    assert estimate([]).value is None
    with pytest.raises(ValueError, match="p42"):
        estimate([1.0], "p42")  # type: ignore[arg-type]


def test_repeats_give_an_interval_by_their_spread() -> None:
    found = between([10.0, 12.0, 11.0])
    assert (found.value, found.n, found.method) == (11.0, 3, "repeats")
    assert found.high == pytest.approx(11 + 4.3027 / math.sqrt(3), rel=1e-5)
    assert between([10.0]).verdict == "too few"
    assert between([]).value is None


def test_repeats_of_unlike_sizes_have_the_mean_of_all_samples_and_a_wider_interval() -> None:
    alike, unlike = between([10.0, 12.0, 11.0], [5, 5, 5]), between([10.0, 12.0, 11.0], [50, 50, 5000])
    assert alike == between([10.0, 12.0, 11.0])
    assert unlike.value == pytest.approx(11.0)
    assert alike.high is not None
    assert unlike.high is not None
    assert (unlike.high - 11.0) / (alike.high - 11.0) == pytest.approx(3**0.5, rel=0.02)  # as good as one repeat


def test_from_two_repeats_on_their_spread_decides_and_one_speaks_for_itself() -> None:
    generator = random.Random(2)
    one, other = (estimate([generator.gauss(level, 0.1) for _ in range(100)]) for level in (10, 11))
    nothing = estimate([])
    assert of_repeats([one]) == of_repeats([nothing, one]) == one
    assert one.value is not None
    assert other.value is not None
    assert of_repeats([one, nothing, other]) == between([one.value, other.value])
    assert of_repeats([one, nothing, other], [0, 0, 0]) == of_repeats([one, other])
    assert of_repeats([one, nothing, other], [0, 0, 1]) == of_repeats([one, other])  # a run each
    assert of_repeats([nothing, nothing]).value is None
    assert of_repeats([]).verdict == "too few"


@given(numbers)
def test_mean_std_and_quantiles_agree_with_the_standard_library(samples: list[float]) -> None:
    scale = max(1.0, *map(abs, samples))
    assert mean(samples) == pytest.approx(stdlib.fmean(samples), abs=1e-9 * scale)
    assert std(samples) == pytest.approx(stdlib.pstdev(samples), abs=1e-6 * scale)
    assert quantile(samples, 0.5) == pytest.approx(stdlib.median(samples), abs=1e-9 * scale)


@given(numbers, st.lists(st.floats(0, 1), min_size=2, max_size=5))
def test_quantiles_rise_and_stay_within_the_samples(samples: list[float], shares: list[float]) -> None:
    found = quantiles(samples, sorted(shares))
    assert found == sorted(found)
    assert min(samples) <= found[0]
    assert found[-1] <= max(samples)


@given(
    st.lists(st.floats(1.0, 1e6), min_size=1, max_size=400),
    st.sampled_from(["mean", "p50", "p90", "p95", "p99"]),
    st.integers(5, 40),
)
def test_an_interval_holds_its_value_and_scales_with_its_samples(
    samples: list[float], statistic: Statistic, batches: int
) -> None:
    one, eight = (estimate([factor * sample for sample in samples], statistic, batches) for factor in (1, 8))
    assert (one.low is None) == (one.high is None)
    if one.value is None or one.low is None or one.high is None:
        assert one.verdict == "too few"
        return
    assert one.low <= one.value <= one.high
    assert (eight.low, eight.value, eight.high) == pytest.approx((8 * one.low, 8 * one.value, 8 * one.high))
    assert eight.verdict == one.verdict


def test_several_statistics_at_once_are_each_by_itself() -> None:
    generator = random.Random(5)
    samples = [generator.gauss(10, 1) for _ in range(500)]
    asked: tuple[Statistic, ...] = ("mean", "p50", "p90", "p99", "p99.9")
    assert estimates(samples, asked) == {statistic: estimate(samples, statistic) for statistic in asked}
    assert estimates([], ["mean"])["mean"].verdict == "too few"


@pytest.mark.parametrize(
    ("values", "expected"),
    [([1.0, 2.0, 3.0, 4.0], 0.25), ([1.0, -1.0, 1.0, -1.0], -0.75), ([5.0, 5.0], -0.5)],
)
def test_correlation_of_values_with_their_successors(values: list[float], expected: float) -> None:
    assert correlation(values) == pytest.approx(expected)


@pytest.mark.parametrize(("resemblance", "expected"), [(-0.9, 1.0), (0.0, 1.0), (0.5, 3.0), (0.8, 9.0), (1.0, 9.0)])
def test_resemblance_widens_up_to_a_bound_and_its_opposite_does_not_narrow(resemblance: float, expected: float) -> None:
    assert inflation(resemblance) == pytest.approx(expected)


def test_batches_that_resemble_their_neighbours_give_a_wider_interval_than_the_same_ones_mixed() -> None:
    in_turn = [
        float(level) for level in (1, 1, 1, 2, 2, 2, 3, 3, 3, 2, 2, 2, 1, 1, 1, 2, 3, 3, 2, 2) for _ in range(10)
    ]
    mixed = [float(level) for level in (1, 3, 1, 2, 3, 2, 1, 2, 3, 2, 1, 2, 1, 3, 2, 2, 1, 3, 2, 2) for _ in range(10)]
    assert sorted(in_turn) == sorted(mixed)
    wide, narrow = estimate(in_turn).relative_error, estimate(mixed).relative_error
    assert wide is not None
    assert narrow is not None
    assert wide > 1.5 * narrow


def _ar1(generator: random.Random, n: int, memory: float) -> list[float]:
    level, samples = generator.gauss(0, 1 / math.sqrt(1 - memory**2)), []
    for _ in range(n):
        level = memory * level + generator.gauss(0, 1)
        samples.append(level)
    return samples


@pytest.mark.parametrize(("memory", "statistic"), [(0.0, "mean"), (0.0, "p50"), (0.9, "mean"), (0.9, "p50")])
def test_intervals_cover_the_truth_on_autocorrelated_samples(memory: float, statistic: Statistic) -> None:
    generator, trials, covered = random.Random(7), 200, 0
    for _ in range(trials):
        found = estimate(_ar1(generator, 600, memory), statistic)
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 0 <= found.high
    assert 0.88 <= covered / trials <= 0.99


def test_a_tails_interval_covers_the_truth() -> None:
    generator, trials, covered = random.Random(11), 200, 0
    truth = math.log(10)  # p90 of the exponential distribution
    for _ in range(trials):
        found = estimate([generator.expovariate(1) for _ in range(400)], "p90")
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= truth <= found.high
    assert 0.9 <= covered / trials <= 1.0


def test_a_tails_interval_covers_the_truth_of_autocorrelated_samples_or_says_too_few() -> None:
    generator, trials, wrong = random.Random(13), 200, 0
    truth = stdlib.NormalDist(0, 1 / math.sqrt(1 - 0.9**2)).inv_cdf(0.9)
    for _ in range(trials):
        found = estimate(_ar1(generator, 1000, 0.9), "p90")
        if found.low is not None and found.high is not None:
            wrong += not found.low <= truth <= found.high
    assert wrong / trials <= 0.1


@pytest.mark.parametrize("statistic", ["mean", "p50", "p90", "p95"])
def test_whole_numbers_among_the_samples_are_as_others(statistic: Statistic) -> None:
    mixed: list[float] = [5 if number % 8 else 1.5 for number in range(400)]
    mixed[::40] = [7.25] * 10
    assert estimate(mixed, statistic) == estimate(list(map(float, mixed)), statistic)


def test_an_interval_of_rates_ends_at_nothing_and_its_width_is_kept() -> None:
    found = between([1.0, 9.0])
    assert (found.value, found.low, found.verdict) == (5.0, 0.0, "wide")
    assert found.high == pytest.approx(5.0 + 12.706 * 4.0, rel=1e-4)
    assert found.relative_error == pytest.approx(12.706 * 4.0 / 5.0, rel=1e-4)
    below = between([-9.0, -1.0])
    assert (below.low, below.value, below.high) == (
        pytest.approx(-55.82, rel=1e-3),
        -5.0,
        pytest.approx(45.82, rel=1e-3),
    )


def test_a_tail_of_samples_that_resemble_each_other_too_much_has_no_value() -> None:
    """There are as many as p90 takes, but each says next to nothing that the one before did not."""
    found = estimate([float(each) for each in range(200)], "p90")
    assert (found.n, found.value, found.low, found.verdict) == (200, None, None, "too few")
