"""How many inferences make a chunk, and what becomes of the stamps of one."""

from __future__ import annotations

import time
from array import array
from pathlib import Path

import pytest
from loops import MS, FakeTime

from benchmate.device import Cpu
from benchmate.inferences import LONGEST_CHUNK_NS, MOST_CALLS, InParts, Pace, Whole, rows
from benchmate.observations import NEVER
from benchmate.overhead import per_inference
from benchmate.tally import Tally
from benchmate.wire import BASE_COLUMNS, COLUMNS, MEASURED, StepsWriter, read_steps


def paced(each_ns: int, look_ns: int, chunks: int = 40) -> list[int]:
    pace, made = Pace(), []
    for _ in range(chunks):
        made.append(pace.calls(NEVER, NEVER))
        pace.took(made[-1] * each_ns, look_ns)
    return made


@pytest.mark.parametrize(
    ("each_ns", "look_ns", "settled"),
    [
        (1 * MS, 20_000, 2),  # looking takes 20 µs after 2 ms
        (10_000, 20_000, 200),
        (1_000, 30_000, 3000),
        (200, 30_000, MOST_CALLS),
        (20 * MS, 100 * MS, 5),  # a chunk is over after 0.1 s, whatever looking takes
        (3_000 * MS, 20_000, 1),
    ],
)
def test_a_chunk_is_as_long_as_makes_looking_a_hundredth_of_it(each_ns: int, look_ns: int, settled: int) -> None:
    made = paced(each_ns, look_ns)
    assert made[0] == 1
    assert made[-1] == settled
    assert all(after <= 2 * before for before, after in zip(made, made[1:], strict=False))
    assert all(calls == 1 or calls * each_ns <= LONGEST_CHUNK_NS for calls in made)


def test_one_look_that_was_interrupted_makes_no_long_chunk() -> None:
    pace = Pace()
    for look_ns in [20_000] * 10 + [50 * MS]:
        calls = pace.calls(NEVER, NEVER)
        pace.took(calls * 100_000, look_ns)
    longer = pace.calls(NEVER, NEVER)
    assert calls == 20
    assert longer <= 2 * calls
    pace.took(longer * 100_000, 20_000)
    assert pace.calls(NEVER, NEVER) == 20


def test_one_chunk_that_was_interrupted_makes_no_short_ones() -> None:
    pace = Pace()
    for each_ns in [10_000] * 20 + [500_000]:
        calls = pace.calls(NEVER, NEVER)
        pace.took(calls * each_ns, 20_000)
    assert (calls, pace.calls(NEVER, NEVER)) == (200, 134)


def test_a_chunk_is_no_longer_than_what_is_left() -> None:
    pace = Pace()
    assert pace.calls(7, NEVER) == 1
    pace.took(MS, 10 * MS)
    assert pace.calls(7, 20 * MS) == 2
    pace.took(2 * MS, 10 * MS)
    assert pace.calls(3, 20 * MS) == 3
    pace.took(3 * MS, 10 * MS)
    assert (pace.calls(9, 2 * MS), pace.calls(9, 1)) == (2, 1)  # one more ends it


@pytest.mark.parametrize("made", [0, 1, 3])
def test_what_raised_has_no_row_nor_what_was_to_come_after_it(clock: FakeTime, made: int) -> None:
    left = made

    def infer(*_: object) -> None:
        nonlocal left
        clock.pass_ms(1)
        left -= 1
        if left < 0:
            raise KeyError

    for timer in (
        Whole(infer, Cpu(), clock.monotonic_ns),
        InParts((lambda: None, infer, lambda _: None), Cpu(), clock.monotonic_ns),
    ):
        left = 5
        timer.make(5)  # stamps of an earlier chunk are none of a later one
        left = made
        with pytest.raises(KeyError):
            timer.make(5)
        read = timer.read(5)
        assert {name: len(column) for name, column in read.items()} == dict.fromkeys(read, made)
        assert len(rows(read, timer.columns, 2, MEASURED)) == made * len(timer.columns)


def test_the_cost_of_timing_is_that_of_the_stamps_and_not_that_of_the_call() -> None:
    def infer(*_: object) -> None:
        sum(range(40))

    cost = per_inference(Whole(infer, Cpu(), time.monotonic_ns), infer)
    assert 0 < cost < 100_000


@pytest.mark.parametrize("columns", [BASE_COLUMNS, COLUMNS])
@pytest.mark.parametrize("many", [1, 4096, 5000, 20_000])
def test_rows_that_come_together_are_those_that_come_one_by_one(
    tmp_path: Path, columns: tuple[str, ...], many: int
) -> None:
    width = len(columns)
    values = array("q", range(many * width))
    at_once = StepsWriter(tmp_path / "a.steps", unit="items", zero_ns=3, columns=columns)
    one_by_one = StepsWriter(tmp_path / "b.steps", unit="items", zero_ns=3, columns=columns)
    tally = Tally(unit="items", zero_ns=3, columns=columns)
    for writer in (at_once, one_by_one, tally):
        writer.append(*range(width))
    at_once.extend(values)
    tally.extend(values)
    for row in range(many):
        one_by_one.append(*values[row * width : (row + 1) * width])
    for writer in (at_once, one_by_one, tally):
        writer.append(*range(width))
    assert at_once.written() == one_by_one.written() == tally.written()
    at_once.close()
    one_by_one.close()
    assert (tmp_path / "a.steps").read_bytes() == (tmp_path / "b.steps").read_bytes()
    assert len(read_steps(tmp_path / "a.steps")) == many + 2
