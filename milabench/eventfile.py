"""Files of event lines, read a few hundred lines at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

from benchmate import wire

_BATCH: Final = 256  # lines that are decoded at once


def events_in(path: Path) -> Iterator[wire.Event]:
    """Yield the events of a file; lines that are none come as events ``line`` with their text. Raises OSError."""
    with path.open("rb") as file:
        for line, event in decoded(file):
            yield event or wire.Event(event="line", data={"line": line.decode(errors="replace").rstrip("\n")})


def hellos(path: Path) -> Iterator[dict[str, Any]]:
    """Yield what a process says of itself as it begins, once for each part of it that measures. Raises OSError."""
    for event in events_in(path):
        if event.event == "hello" and isinstance(event.data, dict):
            yield event.data


def decoded(file: BinaryIO) -> Iterator[tuple[bytes, wire.Event | None]]:
    """Yield the lines of a file with what they say, None where that is nothing.

    What is longer than any line that means something comes in pieces.
    """
    for batch in _batches(file):
        whole = batch if max(map(len, batch)) < wire.LINE_BYTES else [b"" if _is_cut(each) else each for each in batch]
        yield from zip(batch, wire.decode_events(whole), strict=True)


def _is_cut(piece: bytes) -> bool:
    return len(piece) == wire.LINE_BYTES and not piece.endswith(b"\n")


def _batches(file: BinaryIO) -> Iterator[list[bytes]]:
    """Yield the lines, or pieces of them, some hundreds at a time and not many more bytes than of the longest."""
    batch: list[bytes] = []
    size = 0
    while piece := file.readline(wire.LINE_BYTES):
        batch.append(piece)
        size += len(piece)
        if len(batch) == _BATCH or size >= wire.LINE_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
