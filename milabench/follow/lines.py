"""Whole lines → what they say, decoded many at a time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from benchmate.wire import decode_together

_BATCH: Final = 256


def decode(lines: Sequence[bytes]) -> tuple[list[dict[str, Any]], int]:
    """Return the JSON objects that lines hold, in order, and how many lines hold none; blank ones do not count.

    They are decoded together; where not each line holds one, one by one. Nothing is raised.
    """
    lines = list(filter(None, lines))
    found: list[dict[str, Any]] = []
    bad = 0
    for first in range(0, len(lines), _BATCH):
        batch = lines[first : first + _BATCH]
        values = decode_together(batch)
        if values is None:
            alone = [_alone(line) for line in batch if not line.isspace()]
            values = [value for value in alone if value is not None]
            bad += len(alone) - len(values)
        found += values
    return found, bad


def _alone(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
