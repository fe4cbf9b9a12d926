"""The files that monitors write, read: ``<node>.monitor.jsonl`` in a run directory."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

SUFFIX: Final = ".monitor.jsonl"
VERSION: Final = 1
_LAST_BYTES: Final = 1 << 20  # the last sample of a node with a thousand devices is shorter
_FRESH_S: Final = 10.0  # what is older says nothing of now, unless samples are further apart

Line = dict[str, Any]  # {"event": "monitor" | "sample" | "source", "time_ns", "data"}


def lines(path: Path) -> Iterator[Line]:
    """Yield what a monitor has written; what was cut short is passed over. Raises OSError."""
    with path.open("rb") as file:
        yield from _lines(file)


def latest(path: Path, now_ns: int | None = None) -> dict[str, Any]:
    """Return the last sample's data, nothing where there is none that tells of now."""
    now_ns = time.time_ns() if now_ns is None else now_ns
    try:
        with path.open("rb") as file:
            file.seek(max(os.fstat(file.fileno()).st_size - _LAST_BYTES, 0))
            found = [line for line in _lines(file) if line["event"] == "sample"][-2:]
    except OSError:
        return {}
    if not found:
        return {}
    apart_s = (found[-1]["time_ns"] - found[0]["time_ns"]) / 1e9
    aged_s = (now_ns - found[-1]["time_ns"]) / 1e9
    return dict(found[-1]["data"]) if aged_s <= max(_FRESH_S, 3 * apart_s) else {}


def _lines(file: BinaryIO) -> Iterator[Line]:
    for text in file:
        try:
            line = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if (
            isinstance(line, dict)
            and isinstance(line.get("event"), str)
            and isinstance(line.get("time_ns"), int)
            and isinstance(line.get("data"), dict)
        ):
            yield line
