"""Amounts of bytes as people read them."""

from __future__ import annotations

import pytest

from milabench.amounts import GIB, MIB, many, size


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.5 KiB"),
        (8 * MIB, "8.0 MiB"),
        (80 * GIB, "80.0 GiB"),
        (2**52, "4096.0 TiB"),
    ],
)
def test_a_size_is_told_in_its_largest_unit(amount: int, text: str) -> None:
    assert size(amount) == text


def test_one_thing_is_told_as_one() -> None:
    assert [many(number, "wheel") for number in (0, 1, 2)] == ["0 wheels", "1 wheel", "2 wheels"]
