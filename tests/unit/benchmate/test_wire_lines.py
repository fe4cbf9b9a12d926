"""Lines cut from a stream: the same whatever pieces it comes in."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmate.wire import LINE_BYTES, Lines

LIMIT = 300
# Bytes in which newlines are frequent and some lines are longer than the limit.
STREAMS = st.lists(
    st.one_of(
        st.binary(max_size=20),
        st.just(b"\n"),
        st.integers(LIMIT - 3, LIMIT + 3).map(lambda count: b"x" * count),
        st.just(b"\xff\xfe\x00\r"),
    ),
    max_size=20,
).map(b"".join)


def cut(chunks: Iterable[bytes]) -> tuple[list[bytes], list[tuple[bytes, int]]]:
    """Return the lines of a stream, its last partial one too, and what was passed over."""
    passed: list[tuple[bytes, int]] = []
    lines = Lines(limit=LIMIT, too_long=lambda beginning, length: passed.append((beginning, length)))
    whole = [line for chunk in chunks for line in lines.feed(chunk)]
    return whole + lines.end(), passed


def pieces(stream: bytes, cuts: Iterable[int]) -> list[bytes]:
    places = [0, *sorted(place % (len(stream) + 1) for place in cuts), len(stream)]
    return [stream[start:end] for start, end in zip(places, places[1:], strict=False)]


@given(STREAMS, st.lists(st.integers(min_value=0), max_size=30))
def test_any_chunking_gives_the_same_lines(stream: bytes, cuts: list[int]) -> None:
    every = stream.split(b"\n")
    whole = [line for line in every if len(line) <= LIMIT]
    passed = [(line[:200], len(line)) for line in every if len(line) > LIMIT]
    assert cut(pieces(stream, cuts)) == cut([stream]) == (whole, passed)


@given(STREAMS)
def test_a_byte_at_a_time_gives_the_same_lines(stream: bytes) -> None:
    assert cut(stream[place : place + 1] for place in range(len(stream))) == cut([stream])


def test_a_line_waits_for_its_newline() -> None:
    lines = Lines()
    assert [lines.feed(chunk) for chunk in (b"on", b"e\ntwo\nthr", b"ee", b"\n\n")] == [
        [],
        [b"one", b"two"],
        [],
        [b"three", b""],
    ]
    assert lines.feed(b"four") == []
    assert (lines.end(), lines.end()) == ([b"four"], [b""])


def test_a_line_without_end_is_not_kept() -> None:
    told: list[int] = []
    lines = Lines(too_long=lambda _, length: told.append(length))
    for _ in range(64):
        assert lines.feed(b"x" * (1 << 16)) == []
    assert len(lines._held) <= LINE_BYTES
    assert lines.feed(b"\nnext\n") == [b"next"]
    assert told == [64 << 16]


@pytest.mark.parametrize("size", [LINE_BYTES, LINE_BYTES + 1])
def test_a_line_of_the_limit_is_whole_and_one_byte_more_is_not(size: int) -> None:
    assert [len(line) for line in Lines().feed(b"x" * size + b"\n")] == [size] * (size == LINE_BYTES)
