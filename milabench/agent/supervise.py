"""One supervised process: started in a session of its own, ended with everything it started, reported once."""

from __future__ import annotations

import functools
import math
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from milabench.agent import processes
from milabench.agent.metrics import PrintedMetrics

SWEEP_S = 1.0  # what outlives a process by itself gets this long between SIGTERM and SIGKILL
VERIFY_S = 10.0  # then a process that SIGKILL did not end (an uninterruptible wait) is reported as such
_POLL_S = 0.02
_SAID = {
    "limit": "enough is measured: the process and all that it started are ended",
    "deadline": "max_duration is reached: the process is ended",
    "interrupt": "the operator interrupts: the process is ended",
    "sibling": "a process that it belongs with failed: this one is ended",
    "lost": "the runner is gone: the process is ended",
}
_LOST_MESSAGE = "could not be ended: a process ignores SIGKILL (it waits for a device or a disk)"


class Supervised:
    """A process by its start request; ``report`` is called once with how it ended, when its whole tree is gone.

    ``alone`` says whether it is the only one that runs now.
    """

    def __init__(
        self,
        request: dict[str, Any],
        environ: dict[str, str],
        *,
        report: Callable[[dict[str, Any]], None],
        alone: Callable[[], bool],
    ) -> None:
        self.id: int = request["id"]
        self.tag: str = request.get("tag", "")
        self._report, self._alone = report, alone
        self._stderr: str = request["stderr"]
        self._token = f"{os.getpid()}-{self.id}-{time.time_ns()}"
        self._cause: str | None = None
        self._error: str | None = None
        self._status: int | None = None
        self._rss_bytes: int | None = None
        self._kill_at: float | None = None
        self._give_up_at: float | None = None
        self._metrics: PrintedMetrics | None = None
        self._text: int | None = None
        self.pipe: int | None = None
        self._oom_before = processes.oom_kills()
        self._started = time.monotonic()
        deadline_s = request.get("deadline_s")
        self.wake_at: float | None = self._started + deadline_s if deadline_s else None
        self._deadline = self.wake_at
        self.pid = self._spawn(request, environ)

    # What the agent calls --------------------------------------------------------------------------------------

    def stop(self, cause: str | None, grace_s: float) -> None:
        """Begin to end the process: SIGTERM now, SIGKILL after ``grace_s``. The first cause given stays.

        A process that has ended by itself keeps that as its end; what it left behind is being ended already.
        """
        if self._status is not None:
            return
        if cause is not None and self._cause is None:
            self._say(_SAID[cause])
        self._cause = self._cause or cause
        self._end_all(grace_s)

    def fail(self, message: str) -> None:
        """End the process because it can no longer be watched: what it says cannot be written down, say."""
        self._error = self._error or message
        self.stop(None, grace_s=2.0)

    def reaped(self, status: int, rss_bytes: int) -> None:
        """Take note that the process itself has ended; what it left behind is ended now."""
        self._status, self._rss_bytes = status, rss_bytes
        if self._kill_at is None and self._members():
            self._end_all(SWEEP_S)
        self.tick()

    def kill(self) -> None:
        """End the whole tree at once."""
        processes.kill(self._members(), signal.SIGKILL)

    def tick(self) -> None:
        """Do what is due: the deadline, the next rung of the ladder, the report."""
        now = time.monotonic()
        if self._kill_at is None and self._deadline is not None and now >= self._deadline:
            self.stop("deadline", grace_s=5.0)
        alive = self._members() if self._kill_at is not None or self._status is not None else [self.pid]
        if self._status is not None and not alive:
            self._finish(None)
            return
        if self._kill_at is not None and now >= self._kill_at:
            processes.kill(alive, signal.SIGKILL)
        if self._give_up_at is not None and now >= self._give_up_at:
            self._finish(_LOST_MESSAGE)
            return
        ending = self._kill_at is not None or self._status is not None
        self.wake_at = now + _POLL_S if ending else self._deadline

    def readable(self) -> bool:
        """Take what the process printed; return False at the end of its output. Raises OSError on a full disk."""
        assert self.pipe is not None
        try:
            chunk = os.read(self.pipe, 1 << 16)
        except BlockingIOError:
            return True
        if not chunk:
            return False
        if self._text is not None:
            os.write(self._text, chunk)
        if self._metrics is not None:
            self._metrics.feed(chunk)
        return True

    # Inside ------------------------------------------------------------------------------------------------------

    def _end_all(self, grace_s: float) -> None:
        """Ask the whole tree to end; SIGKILL comes after the shortest grace that anybody gave."""
        now = time.monotonic()
        self._kill_at = min(now + grace_s, self._kill_at or math.inf)
        self._give_up_at = self._kill_at + VERIFY_S
        self.wake_at = now + _POLL_S
        processes.kill(self._members(), signal.SIGTERM if grace_s > 0 else signal.SIGKILL)

    def _say(self, why: str) -> None:
        """Write into the process's log why it is ended: what it says of that itself may look like a failure."""
        with suppress(OSError), open(self._stderr, "a") as file:  # noqa: PTH123
            file.write(f"milabench: {why}\n")

    def _spawn(self, request: dict[str, Any], environ: dict[str, str]) -> int:
        env = {**environ, **request["env"], processes.TOKEN: self._token}
        append = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        opened: list[int] = []
        data: tuple[int, ...] = ()
        try:
            text = os.open(request["stdout"], append, 0o644)
            opened.append(text)
            errors = os.open(request["stderr"], append, 0o644)
            opened.append(errors)
            if request.get("events"):
                opened.append(os.open(request["events"], append, 0o644))
                data = (data_descriptor(),)
                os.dup2(opened[-1], data[0])
                env["DATA_FD"] = str(data[0])
            printed = request["metrics"] == "stdout"
            process = subprocess.Popen(
                request["argv"],
                cwd=request["cwd"],
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if printed else text,
                stderr=errors,
                pass_fds=data,
                start_new_session=True,
            )
        except BaseException:
            for descriptor in opened:
                os.close(descriptor)
            raise
        finally:
            if data:  # the agent itself keeps no event file open
                os.dup2(_nothing(), data[0])
        if printed:
            assert process.stdout is not None
            self.pipe = os.dup(process.stdout.fileno())
            process.stdout.close()
            os.set_blocking(self.pipe, False)
            opened.remove(text)
            self._text = text
            self._metrics = PrintedMetrics(request, full=lambda: self.stop("limit", grace_s=2.0))
        for descriptor in opened:
            os.close(descriptor)
        process.returncode = 0  # the agent reaps by itself; Popen must not try
        return process.pid

    def _members(self) -> list[int]:
        return processes.members(self.pid, self._token, root=os.getpid(), alone=self._alone())

    def _finish(self, error: str | None) -> None:
        try:
            self._drain()
        except OSError as problem:
            self._error = self._error or unwritable(problem)
        code = os.waitstatus_to_exitcode(self._status) if self._status is not None else None
        number = -code if code is not None and code < 0 else None
        self._report(
            {
                "code": code if number is None else None,
                "signal": number,
                "oom": number == signal.SIGKILL and self._cause is None and processes.oom_kills() > self._oom_before,
                "cause": self._cause,
                "error": error or self._error,
                "max_rss_bytes": self._rss_bytes,
                "seconds": time.monotonic() - self._started,
            }
        )

    def _drain(self) -> None:
        """Take what is left in the pipe (nobody is there any more to write to it) and close the files."""
        try:
            while self.pipe is not None and self._more() and self.readable():
                pass
            if self._metrics is not None:
                self._metrics.close()
        finally:
            if self._text is not None:
                os.close(self._text)

    def _more(self) -> bool:
        """Say whether the pipe holds more right now."""
        return self.pipe is not None and bool(select.select([self.pipe], [], [], 0)[0])

    def close(self) -> None:
        if self.pipe is not None:
            with suppress(OSError):
                os.close(self.pipe)


@functools.cache
def data_descriptor() -> int:
    """Return the descriptor that every process finds its event file at, reserved when this is first called.

    That is as the agent starts, so that it has one digit: a POSIX shell redirects to no other.
    """
    return os.open(os.devnull, os.O_WRONLY)


@functools.cache
def _nothing() -> int:
    return os.open(os.devnull, os.O_WRONLY)


def unwritable(problem: OSError) -> str:
    """Return why what a process said could not be written down."""
    return f"its output cannot be written: {problem.strerror or problem}"
