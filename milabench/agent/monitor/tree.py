"""What the processes that an agent started have had of the CPU, those that have ended too."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from operator import itemgetter
from pathlib import Path
from typing import Final

_TICKS: Final = os.sysconf("SC_CLK_TCK")
# Of the fields from the state on: parent, times in user and kernel mode, the same of children waited for, begin.
_KEPT = itemgetter(1, 11, 12, 13, 14, 19)
_LINE_BYTES: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class _Process:
    """A process as it was last seen; CPU times in ticks, of children those that it has waited for."""

    kept: tuple[bytes, ...]
    parent: str
    began: bytes  # tells it from a later one of the same number
    own: int
    children: int

    @property
    def ticks(self) -> int:
        return self.own + self.children


class Tree:
    """The processes below the agent (``top``) but for one of its children, with all that is below that.

    Who is below whom is learnt of new processes only: what was the agent's stays the agent's, since it and all that it
    starts are subreapers. The time of one that has ended is in that of its parent once that has waited for it; of one
    that nobody has waited for (``SIGCHLD`` is ignored) the time that it had when last seen is kept.
    """

    def __init__(self, root: Path, top: int, without: int) -> None:
        self._proc = str(root / "proc")
        self._top, self._without = str(top), str(without)
        self._seen: set[str] = set()
        self._ours: dict[str, _Process] = {}  # parents before their children
        self._owed: list[_Process] = []  # ended while the last look went on: who waited for them shows at the next
        self._dead: dict[str, _Process] = {}  # those that had ended at the last look
        self._left = 0  # ticks of those that nobody has waited for
        self._waited_for = self._read(self._top, None).children  # raises OSError, ValueError where /proc does not tell
        self._most = 0

    def seconds(self) -> float:
        """Return the CPU time of all of them, in s; it never falls. Raises OSError where the agent is gone."""
        listed = self._learn()
        # The agent first, and parents before their children: who is waited for in between counts nowhere twice.
        waited_for = self._read(self._top, None).children
        grown = {self._top: waited_for - self._waited_for}
        self._waited_for = waited_for
        gone = {pid: self._ours.pop(pid) for pid in self._ours.keys() - listed}
        ended = self._look_again(grown)
        self._settle(gone, ended, grown)
        ticks = waited_for + self._left + sum(each.ticks for each in (*self._ours.values(), *self._owed))
        self._most = max(self._most, ticks)
        return self._most / _TICKS

    def _learn(self) -> set[str]:
        """Find new processes that are ours; return the numbers of all that there are."""
        there = set(filter(str.isdigit, os.listdir(self._proc)))  # noqa: PTH208 - thousands, every second
        new: dict[str, _Process] = {}
        for pid in there - self._seen:
            try:
                new[pid] = self._read(pid, None)
            except OSError:
                continue
        new.pop(self._without, None)
        self._seen = there
        while found := {
            pid: each for pid, each in new.items() if each.parent == self._top or each.parent in self._ours
        }:
            self._ours |= found
            new = {pid: each for pid, each in new.items() if pid not in found}
        return there

    def _look_again(self, grown: dict[str, int]) -> dict[str, _Process]:
        """Read all of ours, and by how much what they have waited for has grown; return those that have ended."""
        ended = {}
        for pid, before in tuple(self._ours.items()):
            try:
                now = self._read(pid, before)
            except OSError:
                ended[pid] = self._ours.pop(pid)
                continue
            if now.began != before.began:
                ended[pid] = self._ours.pop(pid)
                self._seen.discard(pid)  # it is another, to be learnt of
            elif now is not before:
                grown[pid] = now.children - before.children
                self._ours[pid] = now
        return ended

    def _settle(self, gone: dict[str, _Process], ended: dict[str, _Process], grown: dict[str, int]) -> None:
        """Find the time of those that have ended in what others have waited for since; keep what is not there.

        Of those that ended during this look (``ended``) it may come there later.
        """
        dead = {**self._dead, **gone, **ended}
        for process in (*self._owed, *gone.values()):
            self._left += self._uncovered(process, dead, grown)
        rests = ((each, self._uncovered(each, dead, grown)) for each in ended.values())
        self._owed = [replace(each, own=rest, children=0) for each, rest in rests if rest]
        self._dead = {**gone, **ended}

    def _uncovered(self, process: _Process, dead: dict[str, _Process], grown: dict[str, int]) -> int:
        """Return how much of its ticks nobody took who may have waited for it; it is taken out of ``grown``."""
        rest = process.ticks
        for pid in self._reapers(process, dead):
            covered = min(rest, grown.get(pid, 0))
            if covered:
                grown[pid] -= covered
                rest -= covered
        return rest

    def _reapers(self, process: _Process, dead: dict[str, _Process]) -> Iterator[str]:
        """Yield who may have waited for one that has ended: its parent, else any above where that has ended too."""
        parent = process.parent
        is_orphan = parent in dead
        while parent in dead:
            parent = dead[parent].parent
        yield parent
        while is_orphan and parent in self._ours:
            parent = self._ours[parent].parent
            yield parent

    def _read(self, pid: str, before: _Process | None) -> _Process:
        """Return a process: ``before`` itself where it has done nothing since, as most have."""
        file = os.open(f"{self._proc}/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)  # half of the time of open()
        try:
            kept = _KEPT(os.read(file, _LINE_BYTES).rpartition(b")")[2].split())  # the name may hold anything
        finally:
            os.close(file)
        if before is not None and before.kept == kept:
            return before
        parent, user, system, children_user, children_system, began = kept
        own, children = int(user) + int(system), int(children_user) + int(children_system)
        return _Process(kept=kept, parent=parent.decode(), began=began, own=own, children=children)
