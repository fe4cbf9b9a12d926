"""When the wanted amounts were measured."""

from __future__ import annotations

from typing import Any

import pytest

from benchmate.observations import NEVER, Enough, Stop
from benchmate.statistics import PRECISE_FROM, Estimate, around

S = 10**9
SURE = around(1000, 100.0, 0.5, "batch means")
UNSURE = around(1000, 100.0, 30.0, "batch means")


def never() -> Estimate:
    raise AssertionError("looked at for nothing")


@pytest.mark.parametrize(
    ("stop", "measured", "measured_s", "reason"),
    [
        ({"observations": 5}, 4, 100, None),
        ({"observations": 5}, 5, 0, "observations"),
        ({"observations": 1}, 0, 0, None),
        ({"observations": 1}, 1, 0, "observations"),
        ({"seconds": 2.5}, 1, 2.5, "seconds"),
        ({"seconds": 2.5}, 1000, 2.4, None),
        ({"seconds": 2.5}, 0, 9, None),
        ({"observations": 5, "seconds": 2}, 3, 2, "seconds"),
        ({"observations": 5, "seconds": 2, "need": "all"}, 3, 2, None),
        ({"observations": 5, "seconds": 2, "need": "all"}, 5, 1, None),
        ({"observations": 5, "seconds": 2, "need": "all", "maximum_s": 3}, 4, 3, "maximum"),
        ({"maximum_s": 3}, 4, 2.9, None),
        ({}, 10**6, 10**6, None),
    ],
)
def test_amounts(stop: dict[str, Any], measured: int, measured_s: float, reason: str | None) -> None:
    found = Enough(Stop(**stop)).reached(measured, int(measured_s * S), never)
    assert found == (None if reason is None else {"reason": reason})


@pytest.mark.parametrize("late", ["observations", "seconds"])
def test_where_all_are_needed_the_one_that_came_last_is_told(late: str) -> None:
    enough = Enough(Stop(observations=5, seconds=2, need="all"))
    assert enough.reached(*((4, 2 * S) if late == "observations" else (9, S)), never) is None
    assert enough.reached(9, 2 * S, never) == {"reason": late}


def test_a_precision_is_looked_at_when_a_quarter_more_was_measured() -> None:
    looks = []
    enough = Enough(Stop(precision=0.02))
    for measured in range(1, 100):
        enough.reached(measured, 0, lambda: looks.append(measured) or UNSURE)  # noqa: B023
    assert looks == [PRECISE_FROM, 50, 62, 77, 96]
    assert enough.next_count(99) == 120


def test_a_precision_is_looked_at_only_when_all_else_is_there() -> None:
    enough = Enough(Stop(precision=0.02, observations=500, need="all"))
    assert enough.reached(499, 0, never) is None
    found = enough.reached(500, 0, lambda: SURE)
    assert found == {"reason": "precision", "precision": 0.005, "observations": 1000}


def test_what_somebody_else_decides_is_not_decided_here() -> None:
    assert Enough(Stop(precision=0.02)).reached(500, 0, lambda: None) is None


@pytest.mark.parametrize(
    ("stop", "measured", "count"),
    [
        ({"observations": 60}, 0, 60),
        ({"observations": 1}, 0, 1),
        ({"observations": 60, "precision": 0.1}, 0, PRECISE_FROM),
        ({"observations": 60, "seconds": 100, "need": "all"}, 60, NEVER),
        ({"seconds": 1}, 7, NEVER),
    ],
)
def test_the_number_at_which_to_ask_again(stop: dict[str, Any], measured: int, count: int) -> None:
    assert Enough(Stop(**stop)).next_count(measured) == count


@pytest.mark.parametrize(
    ("stop", "measured_s", "left_s"),
    [
        ({"seconds": 3}, 1, 2),
        ({"seconds": 3, "maximum_s": 10}, 1, 2),
        ({"seconds": 3, "maximum_s": 10}, 4, 6),
        ({"observations": 3}, 4, None),
        ({"seconds": 0}, 0, 1e-9),
        ({"maximum_s": 0}, 0, 1e-9),
    ],
)
def test_the_time_that_is_left(stop: dict[str, Any], measured_s: int, left_s: float | None) -> None:
    assert Enough(Stop(**stop)).left_ns(measured_s * S) == (NEVER if left_s is None else left_s * S)
