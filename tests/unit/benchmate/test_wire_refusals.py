"""Files of steps that are none, or not whole, and what cannot be written into one."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest

from benchmate.wire import (
    BASE_COLUMNS,
    COLUMNS,
    GOOD,
    MEASURED,
    StepsWriter,
    WireError,
    count_steps,
    read_steps,
)


@pytest.mark.parametrize("content", [b"", b"x" * 63, b"x" * 64, b"BMSTEPS\0" + b"\xff" * 56])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.steps"
    path.write_bytes(content)
    with pytest.raises(WireError):
        read_steps(path)


def header(version: int = 1, bits: int = 0b11111, clock: int = 0, rows: int = 0, unit: bytes = b"items") -> bytes:
    return struct.pack("<8sHHB3xqq32s", b"BMSTEPS\0", version, bits, clock, 0, rows, unit)


HEADERS = {
    "another version": (header(version=2), "not a .steps file of version 1"),
    "an unknown clock": (header(clock=3), "not a .steps file of version 1"),
    "rows below 0": (header(rows=-1), "not a .steps file of version 1"),
    "no columns": (header(bits=0), "columns 0x0 are not those of version 1"),
    "no start": (header(bits=0b11110), "columns 0x1e are not those of version 1"),
    "a column too many": (header(bits=0b1_00000_11111), "columns 0x41f are not those of version 1"),
    "a unit that is no text": (header(unit=b"\xff"), "its unit is no text"),
    "half a letter": (header(unit=b"x" * 31 + b"\xc2"), "its unit is no text"),
}


@pytest.mark.parametrize(("content", "message"), HEADERS.values(), ids=HEADERS)
def test_a_header_that_cannot_be_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.steps"
    path.write_bytes(content)
    with pytest.raises(WireError, match=message):
        read_steps(path)


@pytest.mark.parametrize(("kept", "rows"), [(64, 0), (64 + 39, 0), (64 + 40, 1), (64 + 83, 2), (64 + 120, 3)])
def test_of_a_file_that_was_cut_short_the_whole_rows_are_read(tmp_path: Path, kept: int, rows: int) -> None:
    path = tmp_path / "a.steps"
    writer = StepsWriter(path, unit="items", zero_ns=0)
    for index in range(3):
        writer.append(index, index + 1, 2, MEASURED, GOOD)
    writer.close()
    path.write_bytes(path.read_bytes()[:kept])
    assert {name: list(values) for name, values in read_steps(path).columns.items()} == {
        "start": list(range(rows)),
        "end": list(range(1, rows + 1)),
        "count": [2] * rows,
        "phase": [MEASURED] * rows,
        "status": [GOOD] * rows,
    }


@pytest.mark.parametrize("unit", ["x" * 33, "µ" * 17, "\ud800"])
def test_a_unit_that_does_not_fit_is_refused_before_there_is_a_file(tmp_path: Path, unit: str) -> None:
    with pytest.raises(WireError, match="unit"):
        StepsWriter(tmp_path / "a.steps", unit=unit, zero_ns=0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("unit", ["x" * 32, "µ" * 16])
def test_a_unit_that_just_fits_comes_back(tmp_path: Path, unit: str) -> None:
    StepsWriter(tmp_path / "a.steps", unit=unit, zero_ns=0).close()
    assert read_steps(tmp_path / "a.steps").unit == unit


@pytest.mark.parametrize("count", [2**63, -(2**63) - 1, 1.5])
def test_a_row_that_cannot_be_written_does_not_count(tmp_path: Path, count: Any) -> None:
    writer = StepsWriter(tmp_path / "a.steps", unit="items", zero_ns=0)
    with pytest.raises(struct.error):
        writer.append(0, 1, count, MEASURED, GOOD)
    writer.append(2, 3, 4, MEASURED, GOOD)
    writer.close()
    assert list(read_steps(tmp_path / "a.steps").columns["start"]) == [2]


@pytest.mark.parametrize(
    "columns",
    [
        ("start", "end"),
        (*BASE_COLUMNS, "post", "pre"),
        (*BASE_COLUMNS, "pre", "pre"),
        (*BASE_COLUMNS, "middle"),
        COLUMNS[1:],
    ],
)
def test_columns_out_of_order_are_refused(tmp_path: Path, columns: tuple[str, ...]) -> None:
    with pytest.raises(WireError):
        StepsWriter(tmp_path / "a.steps", unit="items", zero_ns=0, columns=columns)


def test_a_file_that_is_not_there_yet_holds_no_steps(tmp_path: Path) -> None:
    assert count_steps(tmp_path / "none.steps") == 0
