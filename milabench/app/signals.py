"""What the operator, a shell or a closed terminal says while processes run, as an Interrupt."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from milabench.console import Console
from milabench.execute import Interrupt
from milabench.streams import Log

_HEEDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_GENTLE = "what runs is being ended; once more: at once"
_AT_ONCE = "what runs is ended at once"
_UNANSWERED = "what has not said that it ended is not waited for any more"
GIVE_UP_S = 5.0  # after a second wish: what is killed has ended by then, where anybody is there to tell it


class _Asked:
    """Counts how often an end was asked for: the first time is gentle, the second is not.

    A third gives up waiting, and so does the second where no process is waited for (for a vendor's tool, say), and the
    first where nothing has begun. For a node that does not answer the second waits a little.
    """

    def __init__(self, interrupt: Interrupt, console: Console) -> None:
        self._interrupt, self._console = interrupt, console
        self._flow = asyncio.current_task()
        self._times = 0

    def by(self, number: signal.Signals) -> None:
        """Take a signal; Ctrl-\\ is as urgent as a second Ctrl-C."""
        name = "Ctrl-C" if number == signal.SIGINT else number.name
        self._ask(name, at_once=number == signal.SIGQUIT)

    def by_reader(self) -> None:
        """Take it that nobody reads the log any more, which no program survives; there is nobody to tell."""
        if not self._times:
            self._ask("nobody reads the log", at_once=False)

    def _ask(self, who: str, *, at_once: bool) -> None:
        for _ in range(2 if at_once and not self._times else 1):
            self._times += 1
            self._interrupt.set()
        loses_nothing = self._interrupt.loses_nothing
        self._console.note(f"{who}: {_GENTLE if self._times == 1 and not loses_nothing else _AT_ONCE}")
        waits = self._times > 2 or (self._times > 1 and not self._interrupt.ends_something)
        if (waits or loses_nothing) and self._flow is not None:
            self._flow.cancel()
        elif self._times == 2:
            asyncio.get_running_loop().call_later(GIVE_UP_S, self._give_up)

    def _give_up(self) -> None:
        if self._interrupt.ends_something and self._flow is not None and self._flow.cancel():
            self._console.note(_UNANSWERED)


@contextmanager
def ended_at_once() -> Iterator[None]:
    """For a block that computes, and lets nothing else run meanwhile: let whoever asks for an end break it off.

    Raises CancelledError. What the loop has for these signals it does all the same, when it comes to it.
    """

    def break_off(number: int, _: object) -> None:
        raise asyncio.CancelledError(signal.Signals(number).name)

    before = {number: signal.getsignal(number) for number in _HEEDED}
    taken = [number for number, handler in before.items() if handler not in (signal.SIG_IGN, signal.SIG_DFL, None)]
    for number in taken:
        signal.signal(number, break_off)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, before[number])


@contextmanager
def heeded(interrupt: Interrupt, console: Console) -> Iterator[None]:
    """Turn Ctrl-C, SIGTERM, a closed terminal (SIGHUP) and an unread log into an Interrupt; Ctrl-\\ is an urgent one.

    A SIGHUP that was ignored when milabench was started (nohup) stays ignored.
    """
    loop, asked = asyncio.get_running_loop(), _Asked(interrupt, console)
    ignored = {number for number in (signal.SIGHUP,) if signal.getsignal(number) == signal.SIG_IGN}
    numbers = [number for number in _HEEDED if number not in ignored]
    for number in numbers:
        loop.add_signal_handler(number, asked.by, number)
    log = sys.stderr if isinstance(sys.stderr, Log) else None

    def unread() -> None:
        loop.call_soon_threadsafe(asked.by_reader)

    if log is not None:
        log.unread = unread
    try:
        yield
    finally:
        if log is not None:
            log.unread = None
        for number in numbers:
            loop.remove_signal_handler(number)
            if interrupt.asked:  # milabench is ending: another Ctrl-C changes nothing, least of all its exit code
                signal.signal(number, signal.SIG_IGN)
