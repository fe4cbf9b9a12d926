"""The agent's side of its node's monitor: it is started, told when processes begin and end, and ended in time."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from milabench.agent import processes

Request = dict[str, Any]
_BOOT: Final = "import sys; sys.path.insert(0, {path!r}); from milabench.agent.monitor.loop import main; main()"
_END_S: Final = 3.0  # so long it has for its last sample
_AGAIN_S: Final = 1.0  # after it was killed
_MOST: Final = 3  # times it is started again, one after the other
_SOUND_S: Final = 60.0  # one that has lived so long can live: what ended it begins no such row
_SETTINGS: Final = ("path", "node", "interval_s", "arch", "devices", "nvml")

_BEGUN: Final[Request] = {"event": "monitoring"}
_FAILED: Final[Request] = {"event": "error", "message": "it ended before its first sample, and is tried again"}


class Monitoring:
    """One monitor at most, of the run that is under way.

    ``send`` takes replies, ``forked`` is told its process and what to call when that is gone. ``wake_at`` says when
    ``tick`` is to be called next.
    """

    def __init__(
        self,
        selector: selectors.BaseSelector,
        environ: Mapping[str, str],
        *,
        send: Callable[[Request], object],
        forked: Callable[[int, Callable[[int], object]], object],
    ) -> None:
        self._selector, self._environ = selector, environ
        self._send, self._forked = send, forked
        self._settings: Request | None = None
        self._pid: int | None = None
        self._marks = self._begun = -1
        self._waiting: list[int] = []  # requests that are answered when it has begun, or has ended
        self._starts, self._started = 0, 0.0
        self.wake_at: float | None = None

    def __bool__(self) -> bool:
        return self._pid is not None

    def ask(self, request: Request) -> Request | None:
        """Begin a monitor with the request's settings, or end it where ``path`` is None. Raises OSError."""
        if request["path"] is None:
            self.close()
            if not self:
                return {"event": "monitored"}
        elif self:
            return {"event": "error", "message": "a monitor runs already"}
        else:
            self._settings, self._starts = {name: request[name] for name in _SETTINGS}, 0
            self._start()
        self._waiting.append(request["id"])
        return None

    def mark(self) -> None:
        """Have a sample taken now."""
        if self._marks >= 0:
            with suppress(OSError):  # one that hangs has marks enough, one that is dead needs none
                os.write(self._marks, b".")

    @property
    def path(self) -> str | None:
        """The file that has the latest sample; None where none are taken."""
        return self._settings["path"] if self._settings is not None else None

    def close(self) -> None:
        """Let it take a last sample and end; it is killed where that takes long."""
        self._settings = None
        self.wake_at = time.monotonic() + _END_S if self else None
        self._let_go()

    def tick(self) -> None:
        """Do what the clock says: start it again, or end one that does not end."""
        if self.wake_at is None or time.monotonic() < self.wake_at:
            return
        self.wake_at = None
        if self._pid is not None and self._settings is None:
            processes.kill(processes.below([self._pid]), signal.SIGKILL)
        elif self._pid is None and self._settings is not None:
            try:
                self._start()
            except OSError:
                self._start_again()

    def _start(self) -> None:
        assert self._settings is not None
        self._starts, self._started = self._starts + 1, time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _BOOT.format(path=str(Path(__file__).parents[2]))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=self._environ,
            start_new_session=True,
            preexec_fn=processes.end_with_parent,  # noqa: PLW1509 - the agent has one thread
        )
        process.returncode = 0  # the agent reaps by itself; Popen must not try
        self._pid = process.pid
        self._forked(process.pid, self._gone)
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(OSError), process.stdin as marks, process.stdout as begun:  # one that is dead is told of later
            self._marks, self._begun = os.dup(marks.fileno()), os.dup(begun.fileno())
            marks.write(json.dumps(self._settings).encode() + b"\n")
        os.set_blocking(self._marks, False)
        self._selector.register(self._begun, selectors.EVENT_READ, self._read)

    def _read(self) -> None:
        """It has begun, or is gone before that."""
        self._selector.unregister(self._begun)
        has_begun = bool(os.read(self._begun, 1))
        os.close(self._begun)
        self._begun = -1
        if self._settings is not None:
            self._answer(_BEGUN if has_begun else _FAILED)

    def _gone(self, _: int) -> None:
        self._pid = None
        self._let_go()
        self._answer({"event": "monitored"} if self._settings is None else _FAILED)
        if self._settings is not None:
            self._starts = 1 if time.monotonic() - self._started >= _SOUND_S else self._starts
            self._start_again()

    def _start_again(self) -> None:
        if self._starts <= _MOST:
            self.wake_at = time.monotonic() + _AGAIN_S
            return
        self._settings = None
        with suppress(OSError):
            os.write(2, b"milabench: the monitor ended again and again: no more samples of this node are taken\n")

    def _let_go(self) -> None:
        if self._marks >= 0:
            os.close(self._marks)
            self._marks = -1

    def _answer(self, reply: Request) -> None:
        for number in self._waiting:
            self._send({"id": number, **reply})
        self._waiting.clear()
