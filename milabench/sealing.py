"""An event file that is sealed: copied as it is read, with what the runner adds at its end."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from benchmate import wire
from milabench.eventfile import decoded
from milabench.outcome import GOOD, Exit, Outcome
from milabench.rundir import Seals


def can_be_added_to(path: Path) -> bool:
    """Say whether a file is one still, of ours: a process may put anything in its place."""
    try:
        return stat.S_ISREG(path.lstat().st_mode) and os.access(path, os.W_OK)
    except OSError:
        return False


def end_of(ended: Exit, verdict: Outcome, now_ns: int) -> dict[str, Any]:
    """Return the fields of an ``end``, but for its seal."""
    return {
        "code": ended.code,
        "signal": ended.signal,
        "return_code": _return_code(ended, verdict),
        "outcome": verdict.kind,
        "reason": verdict.reason,
        "max_rss_bytes": ended.max_rss_bytes,
        "seconds": round(ended.seconds, 6),
        "time": now_ns / 1e9,
    }


def _return_code(ended: Exit, verdict: Outcome) -> int | str:
    """Return what milabench's own readers judge a process by: 0 where it was well, else anything that is not 0."""
    if verdict.kind in GOOD:
        return 0
    return ended.code or -(ended.signal or 0) or "ERROR"


class Copied:
    """An event file read, copied at once where a ``copy`` is wanted, with lines added at its end."""

    def __init__(self, copy: BinaryIO | None = None) -> None:
        self._copy = copy
        self._lines, self._last_seq, self._whole = 0, -1, True
        self.sealed, self.seals = False, Seals()
        self.last_ns, self.untimed = 0, False

    def events(self, path: Path) -> Iterator[wire.Event]:
        """Yield the events of a file; nothing where there is none."""
        with path.open("rb") if path.exists() else io.BytesIO() as file:
            copy, has, marks = self._copy, self.seals.has, self.seals.EVENTS
            for piece, event in decoded(file):
                if copy is not None:
                    copy.write(piece)
                self._whole = piece.endswith(b"\n")
                self._lines += self._whole
                if event is not None:
                    if event.seq is not None and event.seq > self._last_seq:
                        self._last_seq = event.seq
                    if event.time_ns is None:
                        self.untimed = True
                    elif event.time_ns > self.last_ns:
                        self.last_ns = event.time_ns
                    if event.event in marks:
                        self.sealed |= has(event)
                    yield event

    def append(self, file: BinaryIO, lines: Iterable[tuple[str, object]], now_ns: int) -> None:
        """Add events to the file or to its copy; a line that was cut short becomes a line of its own."""
        if not self._whole:
            file.write(b"\n")
            self._lines += 1
        for seq, (name, data) in enumerate(lines, max(self._last_seq + 1, self._lines)):
            file.write(wire.encode_event(name, data, time_ns=now_ns, seq=seq))
