"""The formats that cross a process boundary: event lines, step columns, frames of a pipe. Standard library only.

* An **event line** is one JSON object: ``{"event", "data", "pipe", "time_ns", "seq"}``.
* A **.steps file** is a header of 64 bytes and rows of int64, one row per training step or inference.
* A **frame** is a length (4 bytes, big endian) and a JSON object; requests to an agent and its replies are frames.
"""

from __future__ import annotations

import json
import math
import mmap
import os
import struct
import time
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

STEPS_VERSION: Final = 1
COLUMNS: Final = ("start", "end", "count", "phase", "status", "intended", "pre", "infer", "post", "worker")
BASE_COLUMNS: Final = COLUMNS[:5]
WARMUP: Final = 0
MEASURED: Final = 1
CLOCKS: Final = ("monotonic", "device", "wall")
Clock = Literal["monotonic", "device", "wall"]

_MAGIC: Final = b"BMSTEPS\0"
_HEADER: Final = struct.Struct("<8sHHB3xqq32s")  # magic, version, columns present, clock, zero of the clock, rows, unit
_ROWS_OFFSET: Final = 24
_GROW_ROWS: Final = 4096


class WireError(ValueError):
    """Say that bytes are not what this format says they are."""


# Events ----------------------------------------------------------------------------------------------------------


def encode_event(event: str, data: object, *, pipe: str | None = None, time_ns: int, seq: int) -> bytes:
    """Return one event line. What JSON lacks (NaN, infinities) becomes null and is named under ``"nonfinite"``."""
    line: dict[str, object] = {"event": event, "data": data, "pipe": pipe, "time_ns": time_ns, "seq": seq}
    try:
        return json.dumps(line, allow_nan=False, separators=(", ", ": ")).encode() + b"\n"
    except ValueError:
        names: list[str] = []
        line["data"] = _finite(data, "", names)
        line["nonfinite"] = names
        return json.dumps(line, allow_nan=False, separators=(", ", ": ")).encode() + b"\n"


def _finite(value: Any, path: str, names: list[str]) -> object:
    match value:
        case float() if not math.isfinite(value):
            names.append(path)
            return None
        case Mapping():
            return {key: _finite(item, f"{path}.{key}".lstrip("."), names) for key, item in value.items()}
        case list() | tuple():
            return [_finite(item, f"{path}.{index}".lstrip("."), names) for index, item in enumerate(value)]
        case _:
            return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One line of a ``.data`` file. ``time_ns`` (wall clock) and ``seq`` are None in lines other tools wrote."""

    event: str
    data: Any
    pipe: str | None = None
    time_ns: int | None = None
    seq: int | None = None
    nonfinite: tuple[str, ...] = ()


def decode_event(line: bytes) -> Event | None:
    """Return the event of a line, or None when it is none.

    A bare JSON object without ``"event"`` (a script that writes metrics itself) is a ``data`` event.
    """
    try:
        value = json.loads(line)
    except ValueError:
        return None
    if not isinstance(value, dict):
        return None
    if not isinstance(value.get("event"), str):
        return Event(event="data", data=value)
    return Event(
        event=value["event"],
        data=value.get("data"),
        pipe=value.get("pipe"),
        time_ns=value.get("time_ns"),
        seq=value.get("seq"),
        nonfinite=tuple(value.get("nonfinite", ())),
    )


class EventWriter:
    """Append events to a file, one ``write`` a line, so that a killed process loses none and writers tear none.

    ``first_seq`` is the number of lines the file already holds: sequence numbers are contiguous per file.
    """

    __slots__ = ("_fd", "seq")

    def __init__(self, path: str | os.PathLike[str], *, first_seq: int = 0) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self.seq = first_seq

    def write(self, event: str, data: object, *, pipe: str | None = None, time_ns: int | None = None) -> None:
        line = encode_event(
            event, data, pipe=pipe, time_ns=time.time_ns() if time_ns is None else time_ns, seq=self.seq
        )
        os.write(self._fd, line)
        self.seq += 1

    def close(self) -> None:
        os.close(self._fd)


# Steps -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """The columns of a ``.steps`` file; ``start`` and ``end`` in ns since ``zero_ns`` (wall clock) on ``clock``."""

    unit: str
    clock: Clock
    zero_ns: int
    columns: Mapping[str, array[int]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.columns["start"])

    def rates(self, phase: int = MEASURED) -> list[float]:
        """Return count / (end − start), per second, of each good step of a phase."""
        start, end, count = self.columns["start"], self.columns["end"], self.columns["count"]
        phases, status = self.columns["phase"], self.columns["status"]
        return [
            count[i] / ((end[i] - start[i]) / 1e9)
            for i in range(len(start))
            if phases[i] == phase and status[i] == 0 and end[i] > start[i]
        ]


class StepsWriter:
    """Write rows of int64 into a growing mapped file: they survive ``kill -9`` and cost no system call each.

    Space is allocated ahead (``posix_fallocate``): a full disk raises OSError here instead of SIGBUS later. A file has
    one writer: FileExistsError where it is there already.
    """

    __slots__ = ("_capacity", "_fd", "_map", "_pack", "_row", "_rows_pack", "rows")

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        unit: str,
        clock: Clock = "monotonic",
        zero_ns: int,
        columns: tuple[str, ...] = BASE_COLUMNS,
    ) -> None:
        if columns[: len(BASE_COLUMNS)] != BASE_COLUMNS or sorted(columns, key=COLUMNS.index) != list(columns):
            raise WireError(f"columns must begin with {BASE_COLUMNS} and follow the order of COLUMNS")
        row = struct.Struct(f"<{len(columns)}q")
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        self._row, self._capacity, self.rows = row.size, _GROW_ROWS, 0
        os.posix_fallocate(self._fd, 0, _HEADER.size + self._capacity * self._row)
        self._map = mmap.mmap(self._fd, 0)
        bits = sum(1 << COLUMNS.index(name) for name in columns)
        self._map[: _HEADER.size] = _HEADER.pack(
            _MAGIC, STEPS_VERSION, bits, CLOCKS.index(clock), zero_ns, 0, unit.encode()[:32]
        )
        self._pack = row.pack_into
        self._rows_pack = struct.Struct("<q").pack_into

    def append(self, *row: int) -> None:
        """Write one row, in the order of the columns; it counts once the header's number of rows says so."""
        if self.rows == self._capacity:
            self._grow()
        self._pack(self._map, _HEADER.size + self.rows * self._row, *row)
        self.rows += 1
        self._rows_pack(self._map, _ROWS_OFFSET, self.rows)

    def _grow(self) -> None:
        capacity = self._capacity * 2
        os.posix_fallocate(self._fd, 0, _HEADER.size + capacity * self._row)
        self._map.resize(_HEADER.size + capacity * self._row)
        self._capacity = capacity

    def close(self) -> None:
        """Cut the file to the rows it holds."""
        self._map.close()
        os.ftruncate(self._fd, _HEADER.size + self.rows * self._row)
        os.close(self._fd)


def read_steps(path: str | os.PathLike[str]) -> Steps:
    """Read a ``.steps`` file, also one that is being written or whose writer was killed. Raises WireError, OSError."""
    with open(path, "rb") as file:  # noqa: PTH123 - a path of any kind
        content = file.read()
    if len(content) < _HEADER.size:
        raise WireError(f"{path}: shorter than its header")
    magic, version, bits, clock, zero_ns, rows, unit = _HEADER.unpack_from(content)
    if magic != _MAGIC or version != STEPS_VERSION or clock >= len(CLOCKS):
        raise WireError(f"{path}: not a .steps file of version {STEPS_VERSION}")
    names = [name for index, name in enumerate(COLUMNS) if bits & 1 << index]
    values = array("q")
    values.frombytes(content[_HEADER.size : _HEADER.size + rows * len(names) * 8])
    return Steps(
        unit=unit.rstrip(b"\0").decode(),
        clock=CLOCKS[clock],
        zero_ns=zero_ns,
        columns={name: values[index :: len(names)] for index, name in enumerate(names)},
    )


def count_steps(path: str | os.PathLike[str]) -> int:
    """Return how many rows a ``.steps`` file holds by its header alone; 0 when there is no such file yet."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            header = file.read(_HEADER.size)
    except FileNotFoundError:
        return 0
    return int(_HEADER.unpack(header)[5]) if len(header) == _HEADER.size else 0


# Frames ----------------------------------------------------------------------------------------------------------

_LENGTH: Final = struct.Struct(">I")


def frame(message: Mapping[str, Any]) -> bytes:
    """Return a message as one frame."""
    body = json.dumps(message, separators=(",", ":")).encode()
    return _LENGTH.pack(len(body)) + body


class Frames:
    """Cut a stream of bytes into messages; a partial frame waits for its rest."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, chunk: bytes) -> Iterator[dict[str, Any]]:
        self._buffer += chunk
        while len(self._buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer)
            end = _LENGTH.size + length
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[_LENGTH.size : end])
            del self._buffer[:end]
            yield json.loads(body)
