"""Folding steps: in parts of any size the lines are those of the whole, at most 1,000, with the mean of the steps."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmate import wire
from harness import rates_of
from milabench.fold import MAX_RATE_LINES, Folded, fold

ROW = st.tuples(st.integers(-2, 50), st.integers(0, 9), st.sampled_from([0, 1, 1, 1, 7]), st.sampled_from([0, 0, 0, 1]))


def steps(rows: Sequence[tuple[int, int, int, int]]) -> wire.Steps:
    """Return steps of rows (milliseconds, count, phase, status)."""
    columns = {name: array("q") for name in wire.BASE_COLUMNS}
    for number, (took, count, phase, status) in enumerate(rows):
        start = number * 10**9
        for name, value in zip(wire.BASE_COLUMNS, (start, start + took * 10**6, count, phase, status), strict=True):
            columns[name].append(value)
    return wire.Steps(unit="items", clock="monotonic", zero_ns=0, columns=columns)


def parts(whole: wire.Steps, size: int) -> Iterator[wire.Steps]:
    for first in range(0, len(whole), size):
        columns = {name: column[first : first + size] for name, column in whole.columns.items()}
        yield wire.Steps(unit=whole.unit, clock=whole.clock, zero_ns=whole.zero_ns, columns=columns)


@given(rows=st.lists(ROW, max_size=60), size=st.integers(1, 70), total=st.integers(0, 9000))
def test_in_parts_of_any_size_the_lines_are_the_same(
    rows: list[tuple[int, int, int, int]], size: int, total: int
) -> None:
    whole = steps(rows)
    found = fold(parts(whole, size), max(len(rows), total))
    assert found == fold([whole], max(len(rows), total))
    for phase, task, n in ((wire.MEASURED, "train", found.measured), (wire.WARMUP, "warmup", found.warmups)):
        lines = [line for line in found.lines if line["task"] == task]
        assert n == sum(line.get("steps", 1) for line in lines) == len(rates_of(whole, phase))
        if all("steps" not in line for line in lines):
            assert [line["rate"] for line in lines] == pytest.approx(rates_of(whole, phase), rel=1e-12)


@pytest.mark.parametrize(("warmups", "measured"), [(0, 0), (1, 5), (1000, 1), (500, 4711), (3, 2 * MAX_RATE_LINES)])
def test_many_steps_are_few_lines_that_stand_for_all_of_them(warmups: int, measured: int) -> None:
    rows = [(10, 3, wire.WARMUP, 0)] * warmups + [(20, 4, wire.MEASURED, 0)] * measured
    found = fold([steps(rows)], len(rows))
    assert (found.warmups, found.measured, len(found.lines) <= MAX_RATE_LINES) == (warmups, measured, True)
    assert {(line["task"], line["rate"], line["units"]) for line in found.lines} == {
        *({("warmup", 300.0, "items/s")} if warmups else ()),
        *({("train", 200.0, "items/s")} if measured else ()),
    }


@pytest.mark.parametrize(
    ("counts", "found"), [([], None), ([0, 0], (0, 0)), ([3, -7, 5], (-7, 5)), ([4] * 5000 + [9], (4, 9))]
)
def test_the_least_and_the_most_of_measured_steps_are_known(counts: list[int], found: tuple[int, int] | None) -> None:
    rows = [(10, -90, wire.WARMUP, 0), (10, -80, wire.MEASURED, 1), *((10, each, wire.MEASURED, 0) for each in counts)]
    assert fold(parts(steps(rows), 7), len(rows)).counts == found


def test_nothing_folds_to_nothing() -> None:
    assert fold([], 0) == Folded(lines=[])


@pytest.mark.parametrize("rows", [0, 1, 9, 10, 11])
def test_a_file_read_in_parts_has_all_its_rows(tmp_path: Path, rows: int) -> None:
    writer = wire.StepsWriter(tmp_path / "x.steps", unit="items", zero_ns=7)
    for number in range(rows):
        writer.append(number, number + 1, 5, wire.MEASURED, 0)
    found = list(wire.read_steps_in_parts(tmp_path / "x.steps", rows=5))  # while its writer has it open
    writer.close()
    assert [list(part.columns["start"]) for part in found] == [
        list(range(first, min(first + 5, rows))) for first in range(0, max(rows, 1), 5)
    ]
    assert {(part.unit, part.zero_ns) for part in found} == {("items", 7)}
    assert wire.read_steps(tmp_path / "x.steps").columns["end"] == array("q", range(1, rows + 1))


def test_rows_of_a_damaged_file_whose_time_no_column_holds_count_for_nothing() -> None:
    whole = steps([(5, 1, wire.MEASURED, wire.GOOD)] * 3)
    whole.columns["start"][1], whole.columns["end"][1] = -(2**62) - 1, 2**62 + 1
    assert fold([whole], 3).measured == 2
