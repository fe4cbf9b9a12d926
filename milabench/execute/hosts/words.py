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

    @property
    def lines(self) -> list[str]:
        """The lines that say something, without characters that a terminal would obey."""
        lines = self._kept.decode(errors="replace").splitlines()
        return ["".join(each for each in line.strip() if each.isprintable())[:_TOLD] for line in lines if line.strip()]

    def __str__(self) -> str:
        """Return the last of them."""
        return next(reversed(self.lines), "")
