"""Which process each child of the agent came from: those that it started, and what they left behind."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress

from milabench.agent import processes
from milabench.agent.supervise import Supervised

_DEAD = os.WEXITED | os.WNOHANG | os.WNOWAIT


class Descent:
    """Wait for the agent's children, and tell the processes that they came from what has ended and what is left.

    A child that the agent did not start was left behind by one that is dead: the kernel gives it to the agent before
    it says of the other that it has ended. Where several have ended since the last look it counts as each one's; where
    none has but the agent's own, it was left by one that still runs, and counts as the next one's that ends.
    """

    def __init__(self, held: Collection[int] = ()) -> None:
        """``held`` are descriptors that processes of the agent's own have as well."""
        self._origins: dict[int, frozenset[Supervised]] = {}
        self._own: dict[int, Callable[[int], object]] = {}
        self._held = held

    def started(self, process: Supervised) -> None:
        self._origins[process.pid] = frozenset({process})

    def forked(self, pid: int, gone: Callable[[int], object]) -> None:
        """Take note of a child that is the agent's own.

        ``gone`` is told its exit status when its number may be another's.
        """
        self._origins[pid] = frozenset()
        self._own[pid] = gone

    def begin(
        self, argv: Sequence[str], environ: Mapping[str, str], ended: Callable[[int], object], files: tuple[int, int]
    ) -> None:
        """Start a process of the agent's own that may outlive it, and tell ``ended`` its status. Raises OSError.

        ``files`` are its standard input and output.
        """
        process = subprocess.Popen(
            argv,
            env=environ,
            stdin=files[0],
            stdout=files[1],
            stderr=subprocess.DEVNULL,
            pass_fds=tuple(self._held),
            start_new_session=True,
        )
        process.returncode = 0  # it is waited for here
        self.forked(process.pid, ended)

    def reap(self) -> None:
        """Wait for all children that have ended, adopted ones too."""
        bereaved: set[Supervised] = set()
        left: list[int] = []
        while self._wait(bereaved):
            left = [pid for pid in processes.children(os.getpid()) if pid not in self._origins]
        for pid in left if bereaved else ():
            self._origins[pid] = frozenset(bereaved)
            for process in bereaved:
                process.adopt(pid)
        for process in bereaved:
            process.settle()

    def _wait(self, bereaved: set[Supervised]) -> bool:
        """Wait for the children that have ended by now, and say whether any had; add what they came from."""
        any_ended = False
        with suppress(ChildProcessError):
            while ended := os.waitid(os.P_ALL, 0, _DEAD):
                any_ended = True
                origins = self._origins.pop(ended.si_pid, frozenset())
                for process in origins:
                    if process.pid == ended.si_pid:
                        process.dying(ended.si_status)
                pid, status, usage = os.wait4(ended.si_pid, 0)
                self._own.pop(pid, _nothing)(status)
                for process in origins:
                    process.reaped(pid, status, usage.ru_maxrss * 1024)
                bereaved |= origins
        return any_ended


def _nothing(_: int) -> None:
    pass
