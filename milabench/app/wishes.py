"""What the operator wants of jobs that are followed: that they end, or to be left alone with that."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from milabench.console import Console

_TIMES_TO_LEAVE: Final = 3
_SAID: Final = (
    "Slurm is asked to end the jobs; once more: at once",
    "Slurm is asked to cancel them; once more: do not wait for that",
    "that is not waited for any more",
)
_LEAVING: Final = (signal.SIGTERM, signal.SIGHUP)  # jobs go on, as they do without anybody who follows them


class Left(Exception):
    """The operator, or a signal, would not have the end of the jobs waited for; ``by`` is the name of a signal."""

    def __init__(self, by: str = "") -> None:
        super().__init__(by)
        self.by = by


class Wish:
    """How often the operator wants the jobs to end; ``heeded``: how often of these Slurm has been told."""

    def __init__(self) -> None:
        self.times = self.heeded = 0
        self.left_by: str | None = None
        self._asked = asyncio.Event()

    def ask(self) -> None:
        self.times += 1
        self._asked.set()
        if self.times >= _TIMES_TO_LEAVE and self.left_by is None:
            self.left_by = ""

    def check_wanted(self) -> None:
        """Raise Left where nobody wants to wait: a cancellation is lost where a wait ends at the same moment."""
        if self.left_by is not None:
            raise Left(self.left_by)

    async def wait(self, most_s: float) -> None:
        """Return when an end is asked for, after so long at the latest."""
        try:
            await asyncio.wait_for(self._asked.wait(), most_s)
        except asyncio.TimeoutError:
            return
        self._asked.clear()

    def left(self, job: str, attach: str) -> str:
        """Say what becomes of a job that is left; ``attach`` is the command that follows it."""
        if self.left_by:
            return f"{self.left_by}: job {job} goes on: {attach} follows it"
        if self.heeded == 0:
            return f"job {job} could not be told to end, for Slurm does not answer: it goes on: scancel {job}"
        if self.heeded == 1:
            return f"job {job} was told to end, and could not be cancelled: it may take a while: scancel {job}"
        return f"job {job} is being cancelled by Slurm"


@contextmanager
def wishes_taken(wish: Wish, console: Console) -> Iterator[None]:
    """Take Ctrl-C as a wish that jobs end. SIGTERM and a closed terminal leave them as they are.

    Raises Left, at once, where the operator does not wait any more: Slurm may not answer for minutes. A SIGHUP that was
    ignored when milabench was started (nohup) stays ignored.
    """
    loop, waiting = asyncio.get_running_loop(), asyncio.current_task()
    assert waiting is not None

    def ask() -> None:
        wish.ask()
        if wish.times <= len(_SAID):
            console.note(f"Ctrl-C: {_SAID[wish.times - 1]}")
        if wish.times == _TIMES_TO_LEAVE:
            waiting.cancel()

    def leave(name: str) -> None:
        if wish.left_by is None:
            wish.left_by = name
            waiting.cancel()

    loop.add_signal_handler(signal.SIGINT, ask)
    taken = [number for number in _LEAVING if signal.getsignal(number) != signal.SIG_IGN]
    for number in taken:
        loop.add_signal_handler(number, leave, number.name)
    try:
        yield
    except asyncio.CancelledError:
        wish.check_wanted()
        raise
    finally:
        for number in (signal.SIGINT, *taken):
            loop.remove_signal_handler(number)
