"""An event line: one JSON object, ``{"event", "data", "pipe", "time_ns", "seq"}``."""

from __future__ import annotations

import functools
import json
import math
import os
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeGuard

_LARGEST: Final = 1e100
MARK: Final = 74_207  # stands between lines that are decoded together
_BETWEEN: Final = f",{MARK},".encode()
scan: Final = json.JSONDecoder().raw_decode  # half of the time of json.loads: it looks for no blanks


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


def is_number(value: object) -> TypeGuard[int | float]:
    """Say whether a value that came as JSON is a number to compute with: finite, and its square too."""
    kind = type(value)  # a truth value is an int, too
    return (kind is float or kind is int) and -_LARGEST <= value <= _LARGEST  # type: ignore[operator]


def unit_of_rates(first: str, said: object) -> str | None:
    """Return the unit of a process's rates by the ``first`` that was said, and one more; None where that is another.

    Rates in two units cannot be put together; one without a unit is in that of the others.
    """
    unit = str(said or "")
    return (first or unit) if not unit or first in ("", unit) else None


class Event(NamedTuple):
    """One line of a ``.data`` file. ``time_ns`` (wall clock) and ``seq`` are None in lines other tools wrote.

    A tuple is made in a quarter of the time of a frozen dataclass, and a run has millions.
    """

    event: str
    data: Any
    pipe: str | None = None
    time_ns: int | None = None
    seq: int | None = None
    nonfinite: tuple[str, ...] = ()


_made: Final = functools.partial(tuple.__new__, Event)  # of its fields, in half the time of the class's own function


def decode_event(line: bytes) -> Event | None:
    """Return the event of a line, or None when it is none; whatever the line holds, nothing is raised.

    A bare JSON object without ``"event"`` (a script that writes metrics itself) is a ``data`` event. A field of a type
    that is not its own counts as absent.
    """
    try:
        value = _value(line)
    except (ValueError, RecursionError):
        return None
    return _event(value) if isinstance(value, dict) else None


def decode_events(lines: Sequence[bytes]) -> list[Event | None]:
    """Return the same of each of a few hundred lines."""
    values = decode_together(lines)
    return list(map(decode_event, lines)) if values is None else list(map(_event, values))


def decode_together(lines: Sequence[bytes]) -> list[dict[str, Any]] | None:
    """Return the JSON objects that lines hold, None where not each of them holds one.

    They are decoded as one array, which takes half of the time: keys are made once. That a line ends by itself is seen
    by the marks between them, which come out where they were put.
    """
    try:
        text = f"[{_BETWEEN.join(lines).decode()}]"
        values, end = scan(text)
    except (ValueError, RecursionError):
        return None
    marks, values = values[1::2], values[::2]
    whole = end == len(text) and len(values) == len(lines) and marks.count(MARK) == len(marks)
    return values if whole and {dict}.issuperset(map(type, values)) else None


def _event(value: dict[str, Any]) -> Event:
    if not isinstance(event := value.get("event"), str):
        return Event(event="data", data=value)
    pipe, names, time_ns, seq = value.get("pipe"), value.get("nonfinite"), value.get("time_ns"), value.get("seq")
    return _made(
        (
            event,
            value.get("data"),
            pipe if isinstance(pipe, str) else None,
            time_ns if type(time_ns) is int else None,  # a truth value is an int, too
            seq if type(seq) is int else None,
            tuple(name for name in names if isinstance(name, str)) if isinstance(names, list) else (),
        )
    )


def _value(line: bytes) -> Any:
    """Return what a line of JSON holds, in half the time of ``json.loads`` where it is written as we write it.

    That looks for another encoding, and for blanks at both ends. Raises ValueError, RecursionError.
    """
    try:
        text = line.decode()
        value, end = scan(text)
    except ValueError:
        return json.loads(line)
    return value if text[end:] in ("\n", "") else json.loads(line)


class EventWriter:
    """Append events to a file, one ``write`` a line, so that a killed process loses none and writers tear none.

    ``first_seq`` is the number of lines the file already holds: sequence numbers are contiguous per file. A full disk
    raises OSError, and may have taken a part of the line: the next event begins a new one. Threads may share a writer.
    """

    __slots__ = ("_fd", "_lock", "_torn", "seq")

    def __init__(self, path: str | os.PathLike[str], *, first_seq: int = 0) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._lock = threading.RLock()  # a signal's handler may write while its own thread does
        self._torn = False
        self.seq = first_seq

    def write(self, event: str, data: object, *, pipe: str | None = None, time_ns: int | None = None) -> None:
        with self._lock:
            self._write(event, data, pipe, time_ns)

    def _write(self, event: str, data: object, pipe: str | None, time_ns: int | None) -> None:
        line = encode_event(
            event, data, pipe=pipe, time_ns=time.time_ns() if time_ns is None else time_ns, seq=self.seq
        )
        if self._torn:
            line = b"\n" + line
        written = os.write(self._fd, line)
        self._torn = written < len(line)
        if self._torn:
            self._write_rest(line[written:])
        self.seq += 1

    def _write_rest(self, rest: bytes) -> None:
        """Write what a disk that is almost full did not take at first; it says so at the next write."""
        while rest:
            rest = rest[os.write(self._fd, rest) :]
        self._torn = False

    def close(self) -> None:
        os.close(self._fd)
