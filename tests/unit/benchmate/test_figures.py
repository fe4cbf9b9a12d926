"""Figures as people read them."""

from __future__ import annotations

import pytest

from benchmate.statistics import Estimate, around
from benchmate.verdict import interval, rounded


@pytest.mark.parametrize(
    ("share", "written"),
    [
        (0, "0 %"),
        (0.00004, "<0.01 %"),
        (0.0041, "0.41 %"),
        (0.0097, "0.97 %"),
        (0.00994, "0.99 %"),
        (0.00996, "1.0 %"),
        (0.0123, "1.2 %"),
        (0.0994, "9.9 %"),
        (0.0996, "10 %"),
        (1.234, "123 %"),
    ],
)
def test_a_share_has_two_significant_digits(share: float, written: str) -> None:
    assert rounded(share) == written


@pytest.mark.parametrize(
    ("found", "written"),
    [
        (around(100, 10.0, 0.05, "batch means"), " ±0.5 %"),
        (around(100, 10.0, 9.9, "batch means"), " ±99 %"),
        (around(100, 10.0, 11.0, "batch means"), " (interval too wide)"),
        (around(4, 10.0, None, "batch means"), ""),
    ],
)
def test_an_interval_is_told_as_half_of_it_and_not_at_all_where_it_tells_nothing(found: Estimate, written: str) -> None:
    assert interval(found) == written
