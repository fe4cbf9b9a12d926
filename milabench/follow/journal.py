"""The journal of a run, read as it grows."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from benchmate.wire import Lines
from milabench.follow.growing import Growing
from milabench.journal import Folded, Journal

_MOST_BYTES: Final = 1 << 20  # at once


class GrowingJournal:
    """What a journal says so far; ``journal`` is another object whenever a line has come."""

    def __init__(self, path: Path) -> None:
        self._file = Growing(path)
        self._restart()

    def _restart(self) -> None:
        self._restarts = self._file.restarts
        self._lines, self._folded = Lines(), Folded()
        self.journal = Journal()

    def read(self) -> None:
        """Fold the lines that were added; the last one counts when its newline is there."""
        grown = False
        while chunk := self._file.read(_MOST_BYTES):
            if self._file.restarts != self._restarts:
                self._restart()
            lines = self._lines.feed(chunk)
            self._folded.feed(lines)
            grown |= bool(lines)
        if grown:
            self.journal = self._folded.journal()
