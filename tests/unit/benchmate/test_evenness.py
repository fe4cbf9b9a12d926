"""Which of several devices or nodes are slow or fast beside the others."""

from __future__ import annotations

import pytest

from benchmate.statistics import Estimate
from benchmate.verdict import Evenness, evenness, grade


def rate(value: float | None, half: float | None = 0.1) -> Estimate:
    known = value is not None and half is not None
    low, high = (value - half, value + half) if known else (None, None)  # type: ignore[operator]
    return Estimate(n=60, value=value, low=low, high=high, method="batch means", verdict="ok")


@pytest.mark.parametrize(
    ("rates", "apart"),
    [
        ({"n1": rate(79.8), "n2": rate(39.9), "n3": rate(79.7)}, {"n2": -0.499}),
        ({"n1": rate(80), "n2": rate(40)}, {"n2": -0.5}),
        ({"n1": rate(40), "n2": rate(80), "n3": rate(40), "n4": rate(40)}, {"n2": 1.0}),
        ({"n1": rate(40), "n2": rate(80), "n3": rate(20), "n4": rate(80)}, {"n3": -0.75, "n1": -0.5}),
        ({"n1": rate(80), "n2": rate(76.1), "n3": rate(80)}, {}),  # within 5 %
        ({"n1": rate(80), "n2": rate(75.9), "n3": rate(80)}, {"n2": -0.051}),
        ({"n1": rate(80, 30), "n2": rate(40, 15), "n3": rate(80, 30)}, {}),  # the intervals meet
        ({"n1": rate(80), "n2": rate(40, None), "n3": rate(80)}, {}),  # nothing says how sure it is
        ({"n1": rate(80), "n2": rate(None), "n3": rate(0)}, {}),
        ({"n1": rate(80)}, {}),
        ({}, {}),
    ],
)
def test_those_are_apart_that_are_far_from_the_median_and_surely_so(
    rates: dict[str, Estimate], apart: dict[str, float]
) -> None:
    found = {each.name: round(each.share, 3) for each in evenness(rates).apart}
    assert found == apart
    assert list(found) == list(apart)  # the slowest first


def test_what_is_uneven_is_graded_so_unless_the_machine_was_noisy() -> None:
    even = evenness({"n1": rate(80), "n2": rate(40), "n3": rate(100), "n4": rate(80)})
    found = grade(rate(66), even=even)
    assert (found.word, found.words) == ("uneven", ("uneven", "uneven"))
    assert found.reasons == ("n2 is 50 % slower than the median of 4", "n3 is 25 % faster than the median of 4")
    assert grade(rate(66), even=Evenness()).word == "ok"
