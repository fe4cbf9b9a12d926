"""What the processes that an agent started have had of the CPU, those that have ended too."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PARENT, _TIMES = 1, slice(11, 15)  # of the fields from the state on: user, system, and both of children waited for
_WAITED_FOR: Final = slice(13, 15)
_LINE_BYTES: Final = 4096


class Tree:
    """The processes below the agent (``top``) but for one of its children, with all that is below that.

    Who is below whom is learnt of new processes only: what was the agent's stays the agent's, since it and all that it
    starts are subreapers. The time of what has ended is in its parent's once that has waited for it.
    """

    def __init__(self, root: Path, top: int, without: int) -> None:
        self._proc = str(root / "proc")
        self._top, self._without = str(top), str(without)
        self._seen: set[str] = set()
        self._ours: set[str] = set()
        self._ticks = 0
        self._stat(self._top)  # raises OSError, ValueError where /proc does not tell

    def seconds(self) -> float:
        """Return the CPU time of all of them, in s; it never falls. Raises OSError where the agent is gone."""
        self._learn()
        # The agent first: what it waits for in between is counted at the next look, and nothing twice.
        ticks = sum(map(int, self._stat(self._top)[_WAITED_FOR]))
        for pid in tuple(self._ours):
            try:
                ticks += sum(map(int, self._stat(pid)[_TIMES]))
            except OSError:
                self._ours.discard(pid)
        self._ticks = max(self._ticks, ticks)
        return self._ticks / _TICKS

    def _learn(self) -> None:
        there = set(filter(str.isdigit, os.listdir(self._proc)))  # noqa: PTH208 - thousands, every second
        parents: dict[str, str] = {}
        for pid in there - self._seen:
            try:
                parents[pid] = self._stat(pid)[_PARENT].decode()
            except OSError:
                continue
        parents.pop(self._without, None)
        self._seen, self._ours = there, self._ours & there
        while new := {pid for pid, parent in parents.items() if parent == self._top or parent in self._ours}:
            self._ours |= new
            parents = {pid: parent for pid, parent in parents.items() if pid not in new}

    def _stat(self, pid: str) -> list[bytes]:
        """Return the fields of a process from its state on; the name before may hold anything."""
        file = os.open(f"{self._proc}/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)  # half of the time of open()
        try:
            return os.read(file, _LINE_BYTES).rpartition(b")")[2].split()
        finally:
            os.close(file)
