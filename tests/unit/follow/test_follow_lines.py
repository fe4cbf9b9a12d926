"""Bytes → lines → objects: whole at any chunking, whatever else is between them."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from milabench.follow.lines import _MARK, Lines, decode

SCALARS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=20)
JSON = st.recursive(SCALARS, lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=5), each))
OBJECTS = st.dictionaries(st.text(max_size=5), JSON, max_size=4)
# What would pass for another number of lines, or swallow the next one, if lines were only joined.
NASTY = [
    b'{"a": [1',
    b"2]}",
    b"{},{}",
    b"{}],[{}",
    b"]",
    b"[",
    b'{"a": "',
    b'"}',
    b"1",
    b"null",
    b"\xff\xfe",
    b"{" * 3000,
]
NASTY += [f'{{"a": [{_MARK}'.encode(), f"{{}},{_MARK},{{}}"[:-1].encode(), b"9" * 5000, b'{"a": 1}}', b'{"a": 1} {']


def one_by_one(lines: list[bytes]) -> list[dict[str, Any]]:
    found = []
    for line in lines:
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            found.append(value)
    return found


@given(lines=st.lists(st.binary(max_size=30).map(lambda line: line.replace(b"\n", b"")), max_size=12), data=st.data())
@settings(max_examples=150)
def test_lines_come_out_whole_however_the_bytes_are_cut(lines: list[bytes], data: st.DataObject) -> None:
    content = b"".join(line + b"\n" for line in lines) + data.draw(st.sampled_from([b"", b"partial"]))
    cutter, found, rest = Lines(), [], content
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        found += cutter.feed(rest[:size])
        rest = rest[size:]
    assert found == [line for line in lines if line.strip()]
    assert cutter.dropped == 0


@given(
    sizes=st.lists(st.integers(1, 40), max_size=12),
    cuts=st.lists(st.integers(1, 25), min_size=1, max_size=30),
)
@settings(max_examples=150)
def test_a_line_longer_than_the_limit_is_dropped_alone_and_counted_once(sizes: list[int], cuts: list[int]) -> None:
    lines = [bytes([97 + index % 26]) * size for index, size in enumerate(sizes)]
    content = b"".join(line + b"\n" for line in lines)
    cutter, found, place = Lines(limit=16), [], 0
    while place < len(content):
        size = cuts[place % len(cuts)]
        found += cutter.feed(content[place : place + size])
        place += size
    assert found == [line for line in lines if len(line) <= 16]
    assert cutter.dropped == sum(len(line) > 16 for line in lines)


def test_a_line_without_end_takes_no_memory_beyond_the_limit() -> None:
    cutter = Lines(limit=1000)
    for _ in range(1000):
        assert cutter.feed(b"x" * 500) == []
        assert len(cutter._partial) <= 1500
    assert cutter.feed(b'x\n{"a": 1}\n') == [b'{"a": 1}']
    assert cutter.dropped == 1


@given(lines=st.lists(OBJECTS.map(lambda each: json.dumps(each).encode()) | st.sampled_from(NASTY), max_size=12))
@settings(max_examples=300)
def test_lines_decoded_together_say_what_each_says_alone(lines: list[bytes]) -> None:
    found, bad = decode(lines)
    assert found == one_by_one(lines)
    assert bad == len(lines) - len(found)


def test_one_bad_line_costs_no_other_line() -> None:
    lines = [json.dumps({"n": n}).encode() for n in range(1000)]
    lines[300:300] = [b"Traceback (most recent call last):"]
    found, bad = decode(lines)
    assert ([each["n"] for each in found], bad) == (list(range(1000)), 1)
