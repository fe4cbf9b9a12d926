"""The files that monitors write, read: ``<node>.monitor.jsonl`` in a run directory."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Final

SUFFIX: Final = ".monitor.jsonl"
VERSION: Final = 1
_LAST_BYTES: Final = 1 << 20  # the last sample of a node with a thousand devices is shorter
_BLOCK_BYTES: Final = 1 << 12
_FRESH_S: Final = 10.0  # what is older says nothing of now, unless samples are further apart

Line = dict[str, Any]  # {"event": "monitor" | "sample" | "source", "time_ns", "data"}


def lines(path: Path) -> Iterator[Line]:
    """Yield what a monitor has written; what was cut short is passed over. Raises OSError."""
    with path.open("rb") as file:
        yield from _lines(file)


def passed_over(path: Path) -> int:
    """Return how many lines say nothing, the last one not counted where it was cut short. Raises OSError."""
    with path.open("rb") as file:
        return sum(_line(text) is None for text in file if text.strip() and text.endswith(b"\n"))


def latest(path: Path, now_ns: int | None = None) -> dict[str, Any]:
    """Return the last sample's data, nothing where there is none that tells of now."""
    now_ns = time.time_ns() if now_ns is None else now_ns
    try:
        with path.open("rb") as file:
            found = list(islice(_newest(file), 2))[::-1]
    except OSError:
        return {}
    if not found:
        return {}
    apart_ns = found[-1]["time_ns"] - found[0]["time_ns"]
    aged_ns, fresh_ns = now_ns - found[-1]["time_ns"], round(_FRESH_S * 1e9)
    return dict(found[-1]["data"]) if -fresh_ns <= aged_ns <= max(fresh_ns, 3 * apart_ns) else {}


def _lines(texts: Iterable[bytes]) -> Iterator[Line]:
    yield from filter(None, map(_line, texts))


def _line(text: bytes) -> Line | None:
    """Return what a line says, None where it is none."""
    try:
        line = json.loads(text)
    except (ValueError, RecursionError):
        return None
    typed = (
        isinstance(line, dict)
        and isinstance(line.get("event"), str)
        and isinstance(line.get("time_ns"), int)
        and isinstance(line.get("data"), dict)
    )
    return line if typed else None


def _newest(file: BinaryIO) -> Iterator[Line]:
    """Yield the samples among the last lines, the last one first."""
    return (line for line in _lines(_backwards(file)) if line["event"] == "sample")


def _backwards(file: BinaryIO) -> Iterator[bytes]:
    """Yield the last lines of a file, the last one first."""
    at, rest = file.seek(0, os.SEEK_END), b""
    first = max(at - _LAST_BYTES, 0)
    while at > first:
        size = min(max(_BLOCK_BYTES, len(rest)), at - first)  # twice as much each time: a line may be long
        at -= size
        file.seek(at)
        rest, *lines = (file.read(size) + rest).split(b"\n")
        yield from reversed(lines)
    yield rest
