"""Of what a monitor wrote: what happened in a window, and when that cannot be said."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from monitor_lines import Line, at, cpu, gpus, header, sample

from milabench.options import OPTIONS
from milabench.summary import monitor
from milabench.summary.monitor import Column, Window

STEADY = [header(), *(cpu(t, busy=2.0, ours=1.5, pressure=0.25) for t in range(21))]


def look(lines: list[Line], begin_s: float, end_s: float) -> Window | None:
    return monitor.window(monitor.read(lines), at(begin_s), at(end_s))


def grown(lines: list[Line], begin_s: float, end_s: float, column: str = "busy_s") -> float | None:
    seen = look(lines, begin_s, end_s)
    return None if seen is None else seen.growth(seen.stretch.columns.get(column))


@pytest.mark.parametrize(
    ("begin_s", "end_s", "busy_s"),
    [
        (0, 20, 40.0),
        (3, 7, 8.0),
        (3.25, 7.75, 9.0),  # between samples a counter grows evenly
        (3.1, 3.3, 0.4),
        (-1, 19, 38.0),  # what is not covered is little
        (1, 22, 38.0),
        (-5, 15, None),  # half of it is not
        (15, 30, None),
        (30, 40, None),
        (7, 7, None),
        (9, 3, None),
    ],
)
def test_a_counter_grows_by_the_difference_over_a_window(begin_s: float, end_s: float, busy_s: float | None) -> None:
    found = grown(STEADY, begin_s, end_s)
    assert found == (None if busy_s is None else pytest.approx(busy_s))


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ([], "no line"),
        ([header()], "the monitor was killed at once"),
        ([header(), cpu(5, busy=2.0)], "one sample"),
        ([line for line in STEADY if line is not STEADY[0]][:3], "it was killed before the window"),
        ([header(), cpu(0, busy=1.0), cpu(100, busy=1.0)], "it stalled for longer than can be bridged"),
        ([*STEADY, header(time_s=2), *(cpu(t, busy=1.0) for t in range(2, 21))], "the clock was set back"),
        ([header(), *(sample(t, cpu={"busy_s": -t}) for t in range(21))], "a counter that falls"),
        ([header(), *(sample(t, memory={"used_bytes": 1}) for t in range(21))], "it does not say"),
        ([header(), *(sample(t, cpu={"busy_s": "2"}) for t in range(21))], "what it says is no number"),
        ([header(), *(sample(t, cpu=[], devices={}, power=3) for t in range(21))], "it says something else"),
    ],
)
def test_where_too_little_is_known_nothing_is_told(lines: list[Line], why: str) -> None:
    assert grown(lines, 4.5, 12) is None, why


def test_lines_of_other_kinds_and_odd_ones_are_passed_over() -> None:
    odd: list[Line] = [
        {"event": "source", "time_ns": at(4.5), "data": {"name": "rapl", "missing": "gone"}},
        {"event": "sample", "time_ns": "late", "data": {}},
        {"event": "sample", "time_ns": at(4.6), "data": None},
        {"event": "sample"},
        {},
    ]
    assert grown([*STEADY[:6], *odd, *STEADY[6:]], 3, 7) == pytest.approx(8.0)


def test_a_second_sitting_is_a_stretch_of_its_own() -> None:
    again = [header(cores=8, time_s=100), *(cpu(t, busy=4.0) for t in range(100, 121))]
    assert grown([*STEADY, *again], 3, 7) == pytest.approx(8.0)
    seen = look([*STEADY, *again], 103, 107)
    assert seen is not None
    assert seen.growth(seen.stretch.columns["busy_s"]) == pytest.approx(16.0)
    assert seen.cpu_share(16.0) == pytest.approx(0.5)
    assert look([*STEADY, *again], 15, 105) is None


def test_after_the_clock_was_set_back_a_window_that_only_one_stretch_covers_is_known() -> None:
    back = [*(cpu(t, busy=2.0) for t in range(21)), *(cpu(t, busy=1.0) for t in range(10, 41))]
    lines = [header(), *back]
    assert grown(lines, 2, 8) == pytest.approx(12.0)
    assert grown(lines, 25, 35) == pytest.approx(10.0)
    assert grown(lines, 12, 18) is None


def test_a_share_that_no_machine_has_is_none() -> None:
    seen = look(STEADY, 0, 20)
    assert seen is not None
    assert seen.cpu_share(40.0) == pytest.approx(0.5)
    assert seen.cpu_share(82.0) == 1.0  # counters and clocks differ by a little
    assert seen.cpu_share(200.0) is None
    assert (seen.wall_share(5.0), seen.wall_share(20.5), seen.wall_share(40.0)) == (0.25, 1.0, None)
    without = look([line for line in STEADY if line["event"] != "monitor"], 0, 20)
    assert without is not None
    assert without.cpu_share(40.0) is None  # how many cores there are nobody said


def test_a_meter_that_speaks_seldom_is_averaged_over_time() -> None:
    lines = [header(), *(sample(t, **({"power": {"ipmi_w": 100.0 + t}} if t % 10 == 0 else {})) for t in range(61))]
    seen = look(lines, 5, 55)
    assert seen is not None
    assert seen.mean(seen.stretch.columns["ipmi_w"]) == pytest.approx(130.0)
    short = look(lines, 11, 19)
    assert short is not None
    assert short.mean(short.stretch.columns["ipmi_w"]) is None


def test_samples_as_far_apart_as_they_may_be_tell_of_a_window_also_where_one_is_missing() -> None:
    apart_s = float(OPTIONS["monitor.interval"].most)
    for missing in (None, 2):
        times = [number * apart_s + 0.1 * (number % 2) for number in range(6) if number != missing]
        lines = [header(), *(cpu(t, busy=2.0) for t in times)]
        assert grown(lines, 0.5 * apart_s, 4.5 * apart_s) == pytest.approx(8 * apart_s)
        assert grown(lines, 1.5 * apart_s, 4.5 * apart_s) == pytest.approx(6 * apart_s)


def test_power_over_a_gap_is_not_known_but_a_counter_bridges_it() -> None:
    times = [*range(11), *range(51, 61)]
    lines = [header(), *(sample(t, devices=[{"id": 0, "power_w": 200.0, "energy_j": 200.0 * t}]) for t in times)]
    seen = look(lines, 2, 58)
    assert seen is not None
    (found,) = seen.devices({"0"})
    assert seen.mean(found.columns["power_w"]) is None
    assert seen.power(found.columns["energy_j"]) == pytest.approx(200.0)


def test_devices_are_found_by_number_or_uuid_and_late_answers_are_of_before() -> None:
    seen = look([header(), *gpus(range(21), 0, 1, late_s=0.5)], 5, 15)
    assert seen is not None
    assert [each.name for each in seen.devices({"0"})] == ["0"]
    assert [each.name for each in seen.devices({"GPU-1", "7"})] == ["1"]
    assert seen.devices({"GPU"}) == []
    column = seen.devices({"0"})[0].columns["energy_j"]
    assert column.times_ns[0] == at(-0.5)


def test_reasons_for_a_slow_clock_count_within_the_window_only() -> None:
    lines = [header(), *gpus(range(6), 0), *gpus(range(6, 8), 0, throttle=["thermal"]), *gpus(range(8, 21), 0)]
    for begin_s, end_s, words in ((0, 5, []), (5, 9, ["thermal", "thermal"]), (9, 20, [])):
        seen = look(lines, begin_s, end_s)
        assert seen is not None
        assert [*seen.throttled(seen.devices({"0"})[0])] == words


@given(
    st.lists(st.tuples(st.integers(1, 10**9), st.floats(0, 1e6)), min_size=2, max_size=30),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_the_mean_lies_between_the_values_and_growth_adds_up(
    steps: list[tuple[int, float]], one: float, other: float
) -> None:
    column, time_ns, total = Column(), 0, 0.0
    for gap_ns, value in steps:
        time_ns, total = time_ns + gap_ns, total + value
        column.add(time_ns, total)
    first, last = column.times_ns[0], column.times_ns[-1]
    begin, end = (first + round(share * (last - first)) for share in sorted((one, other)))
    low, high = column.at(begin), column.at(end)
    assert low is not None
    assert high is not None
    assert column.values[0] - 1e-6 <= low <= high + 1e-6
    if begin < end:
        mean = column.mean(begin, end)
        assert mean is not None
        assert low - 1e-3 <= mean <= high + 1e-3
