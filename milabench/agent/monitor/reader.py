"""What the monitor asks besides the kernel: each in a thread of its own, so that one that hangs delays no other."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from milabench.agent.failures import bug

Fragment = Mapping[str, Any]  # of a sample: {"devices": […]}, {"power": {…}}
State = dict[str, str]  # {"by": how it is known} or {"missing": why it is not}
NOT_YET: Final = "it has not answered yet"
_MOMENT_S: Final = 0.05  # what is not there says so within it


class Missing(Exception):
    """There is nothing to be read, and why."""


class Reader(Protocol):
    """Something that tells of devices or power. ``by`` says how it knows."""

    @property
    def by(self) -> str: ...

    def read(self) -> Fragment:
        """Return what is known now, nothing where that is no news. Raises Missing where it cannot be told now."""


class Source:
    """A reader in its thread: asked by ``ask``, heard by ``answer``. ``begin`` makes it there: that may hang too.

    ``state`` says how it stands. One that could not be begun is not asked again; one that fails later is.
    """

    def __init__(self, name: str, begin: Callable[[], Reader], *, awaited: bool = True) -> None:
        """``awaited``: it answers at once when all is well, so that a sample can wait a moment for it."""
        self.name, self.state, self.over = name, {"missing": NOT_YET}, False
        self._begin, self._can_be_awaited, self._awaited = begin, awaited, awaited
        self._asked, self._done = threading.Event(), threading.Event()
        self._busy = self._heard = False
        self._answers: deque[tuple[int, Fragment]] = deque(maxlen=1)
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def ask(self) -> None:
        """Ask for a reading, unless one is being waited for."""
        if not self._busy and not self.over:
            self._busy = True
            self._done.clear()
            self._asked.set()

    def answer(self, wait_s: float) -> tuple[int, Fragment] | None:
        """Return what was said since this was last called, with when that was asked for (ns since 1970).

        Waits for what answered in time the last time, too, and at first a moment for all.
        """
        if self._busy and self._awaited:
            self._awaited = self._done.wait(wait_s)
        elif self._busy and not self._heard:
            self._done.wait(min(wait_s, _MOMENT_S))
        self._heard = True
        if not self._answers:
            return None
        self._awaited = self._can_be_awaited
        return self._answers.pop()

    def _run(self) -> None:
        reader: Reader | None = None
        while not self.over:
            self._asked.wait()
            self._asked.clear()
            asked_ns, found = time.time_ns(), None
            try:
                reader = reader or self._begin()
                found = reader.read()
                self.state = {"by": reader.by}
            except Missing as why:
                self.state = {"missing": str(why)}
            except Exception as problem:  # whatever a driver's library comes up with: the others go on
                self.state = {"missing": bug(problem)}
            self.over = reader is None
            if found:
                self._answers.append((asked_ns, found))
            self._busy = False
            self._done.set()
