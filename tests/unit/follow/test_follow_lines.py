"""Lines → objects, whatever else is between them."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from benchmate.wire.events import MARK
from milabench.follow.lines import decode

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
NASTY += [
    f'{{"a": [{MARK}'.encode(),
    f"{{}},{MARK},{{}}"[:-1].encode(),
    b"9" * 5000,
    b"",
    b" \t\r",
    b'{"a": 1}}',
    b'{"a": 1} {',
]


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


@given(lines=st.lists(OBJECTS.map(lambda each: json.dumps(each).encode()) | st.sampled_from(NASTY), max_size=12))
@settings(max_examples=300)
def test_lines_decoded_together_say_what_each_says_alone(lines: list[bytes]) -> None:
    found, bad = decode(lines)
    assert found == one_by_one(lines)
    assert bad == len(lines) - lines.count(b"") - lines.count(b" \t\r") - len(found)


def test_one_bad_line_costs_no_other_line() -> None:
    lines = [json.dumps({"n": n}).encode() for n in range(1000)]
    lines[300:300] = [b"Traceback (most recent call last):"]
    found, bad = decode(lines)
    assert ([each["n"] for each in found], bad) == (list(range(1000)), 1)
