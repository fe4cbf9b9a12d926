"""A ``.steps`` file as it grows → how many steps, how fast now and on the whole."""

from __future__ import annotations

import os
from array import array
from collections import deque
from collections.abc import Sequence
from operator import gt
from pathlib import Path
from typing import Final

from benchmate.wire import GOOD, MEASURED, StepsHeader, WireError

NOW_NS: Final = 5_000_000_000  # "now" is the last few seconds, of at least one piece
_PIECE: Final = 256  # rows that are folded at once
_MOST_BYTES: Final = 1 << 20  # read at once


class Columns:
    """The rows of a file that count, folded; nothing is kept of a row but what it adds to the sums."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._identity: tuple[int, int] | None = None
        self._head = b""
        self._behind = False
        self._restart()

    def _restart(self) -> None:
        self.unit = ""
        self.zero_ns = self.rows = 0
        self.warmups = self.measured = self.items = self.busy_ns = 0  # items and time of the measured ones
        self.last_end_ns: int | None = None
        self._all_items = self._all_ns = 0
        self._marks: deque[tuple[int, int, int]] = deque([(0, 0, 0)])  # end of a piece; items and time up to it

    def read(self) -> bool:
        """Fold what was added, a bounded amount of it; return whether there is more already."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            return self._next(descriptor)
        except (OSError, WireError):  # half made, or none at all: what has been read stays
            return False
        finally:
            os.close(descriptor)

    def _next(self, descriptor: int) -> bool:
        found = os.fstat(descriptor)
        identity, head = (found.st_dev, found.st_ino), os.pread(descriptor, StepsHeader.SIZE, 0)
        if identity == self._identity and head == self._head and not self._behind:
            return False
        header = StepsHeader.decode(head, self._path)
        if identity != self._identity or header.rows < self.rows:
            self._restart()
        self._identity, self._head = identity, head
        self.unit, self.zero_ns = header.unit, header.zero_ns
        size, width = header.row_size, len(header.columns)
        most = min(header.rows - self.rows, _MOST_BYTES // size)
        content = os.pread(descriptor, most * size, header.SIZE + self.rows * size)
        values = array("q")
        values.frombytes(content[: len(content) // size * size])
        for first in range(0, len(values), _PIECE * width):
            self._fold(values[first : first + _PIECE * width], width)
        self.rows += len(values) // width
        self._behind = self.rows < header.rows and len(values) > 0
        return self._behind

    def _fold(self, values: array[int], width: int) -> None:
        rows = len(values) // width
        if rows > 1 and values[1 - width] - values[1] > NOW_NS:  # slow steps: what is now is to be told from before
            half = rows // 2 * width
            self._fold(values[:half], width)
            self._fold(values[half:], width)
            return
        start, end, count, phase, status = (values[column::width] for column in range(5))
        if status.count(GOOD) < len(status) or not all(map(gt, end, start)):
            good = [i for i in range(len(start)) if status[i] == GOOD and end[i] > start[i]]
            start, end, count, phase = (array("q", (each[i] for i in good)) for each in (start, end, count, phase))
        if not start:
            return
        self._all_items += sum(count)
        self._all_ns += sum(end) - sum(start)
        measured = phase.count(MEASURED)
        if measured < len(phase):
            self.warmups += len(phase) - measured
            chosen = [i for i, each in enumerate(phase) if each == MEASURED]
            start, end, count = (array("q", (each[i] for i in chosen)) for each in (start, end, count))
        self.measured += measured
        self.items += sum(count)
        self.busy_ns += sum(end) - sum(start)
        self._mark(values[1 - width])

    def _mark(self, end_ns: int) -> None:
        self.last_end_ns = end_ns
        self._marks.append((end_ns, self._all_items, self._all_ns))
        while len(self._marks) > 2 and self._marks[1][0] <= end_ns - NOW_NS:
            self._marks.popleft()

    @property
    def steps(self) -> int:
        return self.warmups + self.measured

    @property
    def rate_now(self) -> float | None:
        """Return items a second of the last few seconds, warm-up or not."""
        _, items, busy_ns = self._marks[0]
        busy_ns = self._all_ns - busy_ns
        return (self._all_items - items) / (busy_ns / 1e9) if busy_ns > 0 else None

    @property
    def rate(self) -> float | None:
        """Return items a second of all measured steps."""
        return self.items / (self.busy_ns / 1e9) if self.busy_ns > 0 else None

    @property
    def items_per_step(self) -> float:
        return self._all_items / self.steps if self.steps else 0.0


def group_factor(leader: Columns, ranks: Sequence[Columns]) -> float:
    """Return how much more than its leader a whole group does in a step: the ranks make their steps together."""
    own = leader.items_per_step
    return 1.0 + sum(rank.items_per_step for rank in ranks if rank.unit == leader.unit) / own if own else 1.0
