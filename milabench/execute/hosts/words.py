"""The last that something said on standard error, for messages."""

from __future__ import annotations

_KEPT = 8192  # bytes
_TOLD = 400  # characters


class LastWords:
    """Keep the end of a stream."""

    def __init__(self) -> None:
        self._kept = b""

    def hear(self, chunk: bytes) -> None:
        self._kept = (self._kept + chunk)[-_KEPT:]

    def __str__(self) -> str:
        """Return the last line that says something, without characters that a terminal would obey."""
        lines = [line.strip() for line in self._kept.decode(errors="replace").splitlines()]
        last = next((line for line in reversed(lines) if line), "")
        return "".join(each for each in last if each.isprintable())[:_TOLD]
