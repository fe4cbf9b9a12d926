"""Whole lines → what they say, decoded many at a time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

_BATCH: Final = 256
_MARK: Final = 74_207  # stands between lines: one that does not end by itself would swallow it
_BETWEEN: Final = f",{_MARK},".encode()
_decode: Final = json.JSONDecoder().raw_decode


def decode(lines: Sequence[bytes]) -> tuple[list[dict[str, Any]], int]:
    """Return the JSON objects that lines hold, in order, and how many lines hold none; blank ones do not count.

    Lines are decoded as one array, which takes half of the time: keys are made once. Where that fails, or the marks
    between the lines do not come out where they were put, they are decoded one by one. Nothing is raised.
    """
    lines = list(filter(None, lines))
    found: list[dict[str, Any]] = []
    bad = 0
    for first in range(0, len(lines), _BATCH):
        batch = lines[first : first + _BATCH]
        values = _together(batch)
        if values is None:
            alone = [_alone(line) for line in batch if not line.isspace()]
            values = [value for value in alone if value is not None]
            bad += len(alone) - len(values)
        found += values
    return found, bad


def _together(batch: Sequence[bytes]) -> list[dict[str, Any]] | None:
    try:
        text = f"[{_BETWEEN.join(batch).decode()}]"
        values, end = _decode(text)
    except (ValueError, RecursionError):
        return None
    marks, values = values[1::2], values[::2]
    whole = end == len(text) and len(values) == len(batch) and marks.count(_MARK) == len(marks)
    return values if whole and {dict}.issuperset(map(type, values)) else None


def _alone(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
