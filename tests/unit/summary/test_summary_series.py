"""Steps as they are kept: nothing of them is lost, and what many have in common is kept once."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from summary_fakes import steps

from benchmate.wire import BASE_COLUMNS, GOOD, MEASURED, OVERLAPPED, Steps
from milabench.summary import Series, speed
from milabench.summary.series import read_series

Row = tuple[int, int, int, int, int]  # start, end (ns), count, phase, status
ROWS = st.lists(
    st.tuples(
        st.integers(0, 10**12), st.integers(0, 10**9), st.sampled_from([0, 8, 32]), st.integers(0, 1), st.integers(0, 1)
    ).map(lambda row: (row[0], row[0] + row[1], *row[2:]))
)


def columns(rows: Sequence[Row]) -> Steps:
    named = {name: array("q", [row[index] for row in rows]) for index, name in enumerate(BASE_COLUMNS)}
    return Steps(unit="items", clock="monotonic", zero_ns=10**18, columns=named)


def parts(rows: Sequence[Row], size: int) -> Iterator[Steps]:
    yield from (columns(rows[index : index + size]) for index in range(0, len(rows), size))


@given(ROWS, st.integers(1, 7))
def test_rates_and_work_are_those_of_the_steps_however_they_are_cut(rows: list[Row], size: int) -> None:
    found = read_series(parts(rows, size))
    if found is None:
        assert not rows
        return
    kept = [row for row in rows if row[3] == MEASURED and row[4] == GOOD and row[1] > row[0]]
    assert list(found.rates) == [row[2] / ((row[1] - row[0]) / 1e9) for row in kept]
    assert list(found.durations_ns) == [row[1] - row[0] for row in kept]
    assert found.done == (sum(row[2] for row in kept) if kept else None)
    assert [list(each) for each in found.work()] == [[row[2] for row in kept], [row[1] - row[0] for row in kept]]
    assert found.warmup == sum(row[3] == 0 for row in rows)
    assert found.first_ns == (rows[0][1] - rows[0][0] or None)
    if kept:
        assert (found.begin_ns, found.end_ns) == (10**18 + kept[0][0], 10**18 + kept[-1][1])


@pytest.mark.parametrize(("start", "end"), [(5000, 0), (5, 5), (-(2**63), 2**63 - 1)])
@pytest.mark.parametrize("size", [1, 4])
def test_a_first_step_that_took_no_possible_time_is_not_told(start: int, end: int, size: int) -> None:
    found = read_series(parts([(start, end, 8, 0, 0), (0, 100, 8, 1, 0), (100, 200, 8, 1, 0)], size))
    assert found is not None
    assert (found.first_ns, len(found)) == (None, 2)


def test_what_all_steps_did_is_kept_as_one_number() -> None:
    same = [(index, index + 1, 32, MEASURED, GOOD) for index in range(9)]
    other = (9, 10, 7, MEASURED, GOOD)
    first, second = read_series(parts(same, 4)), read_series(parts([*same, other], 4))
    assert first is not None
    assert second is not None
    assert first.counts == 32
    assert second.counts == array("q", [32] * 9 + [7])


def test_times_that_no_step_takes_count_for_nothing() -> None:
    found = read_series(parts([(-(2**63), 2**63 - 1, 1, MEASURED, GOOD), (5, 9, 1, MEASURED, GOOD)], 10))
    assert found is not None
    assert list(found.durations_ns) == [4]


def test_steps_that_overlap_others_count_for_nothing() -> None:
    found = read_series(parts([(0, 5, 1, MEASURED, OVERLAPPED), (5, 9, 1, MEASURED, GOOD)], 10))
    assert found is not None
    assert (len(found), found.first_ns, found.begin_ns) == (1, 5, 10**18 + 5)


def test_parts_of_measured_inferences_are_kept_and_their_times_told() -> None:
    cut = []
    for first in (0, 3):
        made = columns([(1000 * row, 1000 * row + 90, 1, int(row > 0), GOOD) for row in range(first, first + 3)])
        more = {"pre": array("q", [7, 8, 9]), "infer": array("q", [70, 80, 90]), "worker": array("q", [0, 1, 2])}
        cut.append(replace(made, columns={**made.columns, **more}))
    series = read_series(cut)
    assert series is not None
    assert series.parts == {"pre": array("q", [8, 9, 7, 8, 9]), "infer": array("q", [80, 90, 70, 80, 90])}
    found = speed.speed_of(series).parts
    assert {name: (times.n, round(times.min_s * 1e9), round(times.max_s * 1e9)) for name, times in found.items()} == {
        "pre": (5, 7, 9),
        "infer": (5, 70, 90),
    }
    assert speed.times_of_parts([series.parts, series.parts])["pre"].n == 10
    assert speed.speed_of(Series()).parts == {}


def test_of_rates_alone_each_step_is_taken_to_have_done_the_same() -> None:
    printed = Series(unit="items/s", printed=array("d", [10.0, 5.0, 0.0]))
    assert (list(printed.rates), len(printed), printed.done) == ([10.0, 5.0, 0.0], 3, None)
    assert [list(each) for each in printed.work()] == [[1.0, 1.0], [1e8, 2e8]]
    assert speed.throughput(printed).value == pytest.approx(2 / 0.3)
    assert speed.speed_of(printed).times is None


def test_throughput_is_work_over_time_and_not_a_mean_of_rates() -> None:
    found = read_series([steps(*((i * 100, i * 100 + (10 if i % 2 else 30), 20, 1) for i in range(100)))])
    assert found is not None
    estimate = speed.throughput(found)
    assert (estimate.value, estimate.n) == (pytest.approx(1000), 100)
    assert estimate.low is not None
    assert estimate.low < 1000


def test_step_times_are_in_seconds_and_say_which_tails_n_is_too_small_for() -> None:
    found = read_series([steps(*((i * 100, i * 100 + 10 + i % 3, 20, 1) for i in range(60)))])
    assert found is not None
    times = speed.speed_of(found).times
    assert times is not None
    assert (times.n, times.min_s, times.max_s) == (60, 0.01, 0.012)
    assert times.mean.value == pytest.approx(0.011)
    assert times.quantiles["p50"].value == pytest.approx(0.011)
    assert times.quantiles["p90"].value == pytest.approx(0.012)
    for name in ("p99", "p99.9"):
        assert (times.quantiles[name].value, times.quantiles[name].verdict) == (None, "too few")


def test_no_rate_is_neither_steady_nor_not() -> None:
    assert speed.steadiness_of(array("d")) is None


def test_rates_of_inferences_are_called_so() -> None:
    found = speed.steadiness_of(array("d", [1.0] * 50 + [2.0] * 50), "inference")
    assert found is not None
    assert "its inferences' rates" in found.detail
