"""What the processes of a run append to their files, read as it grows and folded into their Progress."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from milabench.follow.process import Followed
from milabench.follow.progress import STAGES, Progress, Stage
from milabench.rundir import Files
from milabench.suite.types import Limit

__all__ = ["STAGES", "Followed", "Follower", "Progress", "Stage"]

AT_ONCE = 64


class Follower:
    """The processes that are followed, by tag. A turn reads a bounded piece of each file: none starves another."""

    def __init__(self, files: Callable[[str], Files]) -> None:
        self._files = files
        self._followed: dict[str, Followed] = {}
        self._next = 0

    def follow(self, tag: str, limit: Limit | None = None, ahead_s: float = 0.0) -> None:
        """Follow a process from the beginning of its files, unless that is being done.

        ``ahead_s``: how far the clock of its node is ahead of this machine's.
        """
        if tag not in self._followed:
            self._followed[tag] = Followed(tag, self._files(tag), limit, ahead_s)

    def leave(self, tags: Iterable[str]) -> None:
        for tag in tags:
            self._followed.pop(tag, None)

    def turn(self, at_once: int = AT_ONCE) -> bool:
        """Read the next of the processes, in turn, so many at most; return whether any has more to read already."""
        tags = list(self._followed)
        chosen = [(self._next + each) % len(tags) for each in range(min(at_once, len(tags)))]
        self._next += len(chosen)
        more = [self._followed[tags[each]].read() for each in chosen]
        return any(more)

    def catch_up(self, seconds: float) -> bool:
        """Take turns until all is read, or so much CPU time is spent; return whether all is."""
        began, left = time.thread_time(), len(self._followed)
        while left > 0:
            left = len(self._followed) if self.turn() else left - AT_ONCE
            if time.thread_time() - began > seconds:
                return left <= 0
        return True

    def progress(self) -> list[Progress]:
        return [each.progress() for each in self._followed.values()]
