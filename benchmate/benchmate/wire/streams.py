"""What comes as a stream of bytes, cut at any place: lines, and the frames that an agent and a runner exchange.

A **frame** is a length (4 bytes, big endian) and a JSON object; where that has ``bytes``, so many raw ones follow it.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from benchmate.wire.events import scan

LINE_BYTES: Final = 1 << 20  # no line that means something is longer: what is, is passed over
_BEGINNING_BYTES: Final = 200


class Lines:
    """Cut a stream of bytes into whole lines, the same at any chunking; a partial line waits for its rest.

    A line of more than ``limit`` bytes is not kept but passed over to its newline: ``too_long`` is told how it begins
    and how long it was.
    """

    __slots__ = ("_held", "_length", "_limit", "_too_long")

    def __init__(self, *, limit: int = LINE_BYTES, too_long: Callable[[bytes, int], object] | None = None) -> None:
        self._limit, self._too_long = limit, too_long
        self._held = bytearray()
        self._length = 0  # of the partial line, of which less is held once it is too long

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the lines that a chunk ends, without their newlines."""
        first, *rest = chunk.split(b"\n")
        self._hold(first)
        if not rest:
            return []
        lines = self.end()
        last = rest.pop()
        if len(chunk) > self._limit:
            for line in (line for line in rest if len(line) > self._limit):
                self._pass_over(line, len(line))
            rest = [line for line in rest if len(line) <= self._limit]
        lines += rest
        self._hold(last)
        return lines

    def end(self) -> list[bytes]:
        """Return the partial line as if it were whole: in a list, which is empty where it is too long."""
        held, length = bytes(self._held), self._length
        self._held.clear()
        self._length = 0
        if length <= self._limit:
            return [held]
        self._pass_over(held, length)
        return []

    def _hold(self, part: bytes) -> None:
        self._length += len(part)
        if self._length <= self._limit:
            self._held += part
        else:
            self._held += part[:_BEGINNING_BYTES]
            del self._held[_BEGINNING_BYTES:]

    def _pass_over(self, line: bytes, length: int) -> None:
        if self._too_long is not None:
            self._too_long(line[:_BEGINNING_BYTES], length)


_LENGTH: Final = struct.Struct(">I")
_encode: Final = json.JSONEncoder(separators=(",", ":")).encode
FRAME_BYTES: Final = 1 << 28  # what says that it is longer is no frame but text, of a login shell say


def frame(message: Mapping[str, Any], blob: bytes | None = None) -> bytes:
    """Return a message as one frame, with ``bytes`` in it where raw ones follow."""
    if blob is not None:
        message = {**message, "bytes": len(blob)}
    body = _encode(message).encode()
    return b"".join((_LENGTH.pack(len(body)), body, blob or b""))


class Frames:
    """Cut a stream of bytes into messages; a partial frame waits for its rest. Raw bytes come as ``blob``."""

    __slots__ = ("_buffer", "_held", "_needed")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._needed = _LENGTH.size
        self._held: dict[str, Any] | None = None  # a message of which the raw bytes are not all there

    def feed(self, chunk: bytes) -> Iterator[dict[str, Any]]:
        """Yield the messages that a chunk ends. Raises ValueError for what is no frame."""
        self._buffer += chunk
        while len(self._buffer) >= self._needed:
            if self._held is not None:
                message, self._held = {**self._held, "blob": self._take(self._needed)}, None
                self._needed = _LENGTH.size
                yield message
            elif (body := self._body()) is not None:
                message = _object(body)
                if "bytes" in message:
                    self._held, self._needed = message, _size_of_raw(message)
                else:
                    yield message

    def _body(self) -> bytes | None:
        """Return the text of the next frame; None where it is not all there."""
        (length,) = _LENGTH.unpack_from(self._buffer)
        if length > FRAME_BYTES:
            raise ValueError(f"no frame: {bytes(self._buffer[:80])!r}")
        self._needed = _LENGTH.size + length
        if len(self._buffer) < self._needed:
            return None
        body = self._take(self._needed)[_LENGTH.size :]
        self._needed = _LENGTH.size
        return body

    def _take(self, size: int) -> bytes:
        taken = bytes(memoryview(self._buffer)[:size])
        del self._buffer[:size]
        return taken


def _size_of_raw(message: Mapping[str, Any]) -> int:
    """Return how many raw bytes follow a message. Raises ValueError for a number that cannot be meant."""
    size = message["bytes"]
    if type(size) is not int or not 0 <= size <= FRAME_BYTES:
        raise ValueError(f"no frame: {str(size)[:80]} raw bytes")
    return size


def _object(body: bytes) -> dict[str, Any]:
    try:
        text = body.decode()
        message, end = scan(text)
    except RecursionError:
        raise ValueError("no frame: it is nested too deep") from None
    if not isinstance(message, dict) or end != len(text):
        raise ValueError(f"no frame: {body[:80]!r}")
    return message
