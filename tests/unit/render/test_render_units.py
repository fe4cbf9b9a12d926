"""Numbers as people read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milabench.render import units
from milabench.summary import Memory


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (1.882e11, "FLOP/s", "188.2 GFLOP/s"),
        (9.99996e11, "FLOP/s", "1.000 TFLOP/s"),
        (12.0, "B/s", "12.00 B/s"),
        (2.5e9, "B/s", "2.500 GB/s"),
        (23.456, "items/s", "23.46 items/s"),
        (1204.4, "items/s", "1204 items/s"),
        (9999.4, "items/s", "9999 items/s"),
        (30264.4, "items/s", "30 264 items/s"),
        (1234567.0, "items/s", "1.235 M items/s"),
        (0.00123, "items/s", "1.230 m items/s"),
        (0.0, "items/s", "0 items/s"),
        (12.5, "Tflops", "12.50 Tflops"),
        (12.5, "", "12.50"),
        (None, "items/s", "–"),
    ],
)
def test_rates_carry_their_unit(value: float | None, unit: str, expected: str) -> None:
    assert units.rate(value, unit) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "–"),
        (0.0, "0 %"),
        (0.00001, "<0.01 %"),
        (0.004, "0.4 %"),
        (0.0041, "0.41 %"),
        (0.123, "12 %"),
        (2.0, "200 %"),
    ],
)
def test_shares_have_two_digits(value: float | None, expected: str) -> None:
    assert units.share(value) == expected


@pytest.mark.parametrize(
    ("memory", "expected"),
    [
        (None, "–"),
        (Memory(peak_bytes=3 * 2**29, source="device"), "1.50"),
        (Memory(peak_bytes=2**29, source="host"), "0.50 host"),
        (Memory(peak_bytes=141 * 2**30, source="device"), "141"),
    ],
)
def test_memory_is_in_gib_and_says_when_it_is_the_hosts(memory: Memory | None, expected: str) -> None:
    assert units.gib(memory) == expected


@pytest.mark.parametrize(
    ("ids", "expected"),
    [((), ""), ((0,), "0"), ((0, 1, 2, 3), "0-3"), ((3, 0, 1, 6), "0-1,3,6"), (("a:0", "a:1", "b:0"), "3/2 nodes")],
)
def test_devices_are_ranges(ids: tuple[int | str, ...], expected: str) -> None:
    assert units.devices(ids) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.0, "0.0 s"), (3.14, "3.1 s"), (42.4, "42 s"), (200.0, "3 min 20 s"), (7512.0, "2 h 05 min")],
)
def test_durations_have_two_units(seconds: float, expected: str) -> None:
    assert units.duration(seconds) == expected


@given(st.floats(1e-8, 1e20))
def test_a_scaled_number_is_the_number_to_four_digits(value: float) -> None:
    number, prefix = units.scaled(value)
    factor = {"n": 1e-9, "µ": 1e-6, "m": 1e-3, "": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}
    assert float(number) * factor[prefix] == pytest.approx(value, rel=6e-4)
    assert 1 <= float(number) < 1000


@pytest.mark.parametrize(
    ("unit", "one"),
    [
        *(
            ("images/s", "image"),
            ("FLOP/s", "FLOP"),
            ("GB/s", "GB"),
            ("tokens", "token"),
            ("GOPS/s", "GOPS"),
            ("", "unit"),
        ),
        *(
            ("batches/s", "batch"),
            ("queries/s", "query"),
            ("classes/s", "class"),
            ("boxes/s", "box"),
            ("passes/s", "pass"),
        ),
        *(
            ("sequences/s", "sequence"),
            ("edges/s", "edge"),
            ("sizes/s", "size"),
            ("caches/s", "cache"),
            ("pushes/s", "push"),
        ),
        *(
            ("loss/s", "loss"),
            ("series/s", "series"),
            ("movies/s", "movie"),
            ("ms/s", "ms"),
            ("analysis/s", "analysis"),
        ),
        *(("item/s", "item"), ("ops/s", "op"), ("env steps/s", "env step"), ("entries/s", "entry")),
    ],
)
def test_what_a_rate_counts_is_named_in_the_singular(unit: str, one: str) -> None:
    assert units.single(unit) == one


@pytest.mark.parametrize(
    ("value", "shown"), [(None, "–"), (8.5e-7, "850 ns"), (0.0123, "12.3 ms"), (4.2, "4.20 s"), (0.0, "0 s")]
)
def test_short_times_have_a_prefix(value: float | None, shown: str) -> None:
    assert units.seconds(value) == shown
