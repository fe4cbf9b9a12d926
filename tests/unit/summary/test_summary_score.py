"""The formulas, on numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milabench.summary.score import performance, score, total, trimmed

values = st.floats(min_value=0, max_value=1e12)


@pytest.mark.parametrize(
    ("rates", "kept"),
    [
        ([], []),
        ([4.0, 1.0, 3.0, 2.0], [4.0, 1.0, 3.0, 2.0]),
        ([5.0, 1.0, 4.0, 2.0, 3.0], [4.0, 2.0, 3.0]),
        ([1.0, 1.0, 9.0, 9.0, 5.0], [1.0, 9.0, 5.0]),
        ([7.0] * 5, [7.0] * 3),
    ],
)
def test_one_minimum_and_one_maximum_are_left_out_from_five_on_in_order(rates: list[float], kept: list[float]) -> None:
    assert list(trimmed(rates)) == kept


def test_perf_is_the_mean_of_what_is_kept() -> None:
    assert performance([1.0, 100.0]) == 50.5
    assert performance([1.0, 10.0, 20.0, 30.0, 1000.0]) == 20.0
    assert performance([]) is None


@pytest.mark.parametrize(
    ("by_device", "perf", "n", "failed", "expected"),
    [
        ({"D0": 10.0, "D1": 20.0}, 15.0, 2, 0, 30.0),
        ({"D0": 10.0, "D1": None}, 10.0, 2, 1, 5.0),
        ({}, 15.0, 4, 1, 11.25),
        ({"D0": None}, None, 1, 1, 0.0),
        ({}, None, 0, 0, 0.0),
    ],
)
def test_score_sums_devices_and_pays_for_failures(
    by_device: dict[str, float | None], perf: float | None, n: int, failed: int, expected: float
) -> None:
    assert score(by_device, perf, n, failed) == expected


def test_total_is_the_weighted_geometric_mean_of_score_plus_one() -> None:
    assert total([(1.0, 3.0), (1.0, 15.0), (0.0, 1e9)]) == pytest.approx(8.0)
    assert total([(2.0, 7979.818309641412)]) == pytest.approx(7980.818309641412)
    assert total([(1.0, 8.0), (1.0, 0.0)]) == pytest.approx(3.0)
    assert total([(0.0, 5.0)]) is None
    assert total([]) is None


@given(st.lists(values, min_size=1, max_size=60))
def test_perf_lies_between_the_extremes(rates: list[float]) -> None:
    found = performance(rates)
    assert found is not None
    assert min(rates) * (1 - 1e-12) <= found <= max(rates) * (1 + 1e-12)


@given(st.lists(st.tuples(st.floats(0.1, 10), values), min_size=1, max_size=20), st.floats(0.1, 10))
def test_total_does_not_change_with_the_scale_of_weights(pairs: list[tuple[float, float]], factor: float) -> None:
    one, other = total(pairs), total([(weight * factor, value) for weight, value in pairs])
    assert one is not None
    assert other is not None
    assert math.isclose(one, other, rel_tol=1e-9)
