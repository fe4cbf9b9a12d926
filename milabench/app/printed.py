"""What a job prints, as it comes: what it does before its run begins stands nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from milabench.app.run import BEGINS

_MOST_BYTES = 1 << 20  # at one look
_REPORT_ENDS = "run directory: "


class Printed:
    """The file that a job prints into, read line by line until its run begins."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._at, self._has_begun = 0, False

    def before_run(self) -> Iterator[str]:
        """Yield the whole lines that are new, up to the one by which the run begins."""
        whole = b"" if self._has_begun else self._new(self._at).rpartition(b"\n")[0]
        for line in whole.splitlines(keepends=True):
            self._at += len(line.rstrip(b"\n")) + 1
            text = line.decode(errors="replace").rstrip()
            self._has_begun = BEGINS in text
            yield text
            if self._has_begun:
                return

    def last(self, most: int) -> list[str]:
        """Return the last lines that were not yielded, without the report that the runner printed."""
        try:
            size = self.path.stat().st_size
        except OSError:
            return []
        lines = self._new(max(self._at, size - _MOST_BYTES)).decode(errors="replace").splitlines()
        ends = [number for number, line in enumerate(lines, 1) if line.startswith(_REPORT_ENDS)]
        return lines[max(ends, default=0) :][-most:]

    def _new(self, start: int) -> bytes:
        """Return what stands there from a place on; nothing where the file cannot be read, or is not there yet."""
        try:
            with self.path.open("rb") as file:
                file.seek(start)
                return file.read(_MOST_BYTES)
        except OSError:
            return b""
