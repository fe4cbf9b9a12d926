"""One supervised process: started in a session of its own, ended with everything it started, reported once."""

from __future__ import annotations

import math
import os
import shlex
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from milabench.agent import processes, temporary
from milabench.agent.contained import Contained
from milabench.agent.ender import Begin
from milabench.agent.failures import unwritable
from milabench.agent.memory import OomKills
from milabench.agent.metrics import PrintedMetrics
from milabench.agent.spawn import many_descriptors, spawn

SWEEP_S = 1.0  # what outlives a process by itself gets this long between SIGTERM and SIGKILL
TOGETHER_S = 0.5  # who ends a run from outside (Slurm, systemd) sends SIGTERM to all of it, in no order
VERIFY_S = 10.0  # then a process that SIGKILL did not end (an uninterruptible wait) is reported as such
CHUNK = 1 << 14  # of a process's output at a time: reading the metrics in so much takes a few ms at most
_PIPE_BYTES = 1 << 20  # no pipe holds more, unless root made it so
_SAID = {
    "limit": "enough is measured: the process and all that it started are ended",
    "interrupt": "the operator interrupts: the process is ended",
    "sibling": "a process that it belongs with failed: this one is ended",
    "lost": "the runner is gone: the process is ended",
    "silent": "what it was to say did not come in time: the process is ended",
}
_LOST_CONTAINER = "its container could not be ended; try it by hand"
_LOST_MESSAGE = "could not be ended: a process ignores SIGKILL (it waits for a device or a disk)"


class Supervised:
    """A process by its start request; ``report`` is called once with how it ended, when its whole tree is gone.

    ``wake_at`` (monotonic clock) is when ``tick`` has something to do. Raises OSError when it cannot be started.
    """

    def __init__(
        self,
        request: dict[str, Any],
        environ: dict[str, str],
        *,
        oom_kills: OomKills,
        begin: Begin,
        report: Callable[[dict[str, Any]], None],
    ) -> None:
        self.id: int = request["id"]
        self.tag: str = request.get("tag", "")
        self._report = report
        limited_by = request.get("limited_by", "max_duration")
        self._said = {**_SAID, "deadline": f"{limited_by} is reached: the process is ended"}
        self._stderr: str = request["stderr"]
        self._cause: str | None = None
        self._error: str | None = None
        self._status: int | None = None
        self._rss_bytes: int | None = None
        self._ended: float | None = None
        self._orphans: set[int] = set()  # what it left behind, of which the agent is the parent now
        self._kill_at: float | None = None
        self._killed = self._finished = self._oom = False
        request, self._temporary = temporary.given(request, environ)
        contained = request.get("container")
        self._contained = Contained(request, environ, many_descriptors(), begin) if contained else None
        self._oom_kills, self._oom_before = oom_kills, oom_kills.seen(anywhere=self._contained is not None)
        self._started = time.monotonic()
        deadline_s = request.get("deadline_s")
        self._deadline = self._started + deadline_s if deadline_s else None
        self.wake_at = self._deadline
        printed = request["metrics"] == "stdout"
        self._metrics = PrintedMetrics(request, full=lambda: self.stop("limit", grace_s=2.0)) if printed else None
        try:
            spawned = spawn(request, environ, self._contained)
        except OSError:
            if self._contained is not None:
                self._contained.end(lambda: None)
            raise
        self.pid, self.pipe, self._text = spawned.pid, spawned.pipe, spawned.text

    # What the agent calls --------------------------------------------------------------------------------------

    def stop(self, cause: str | None, grace_s: float, why: str | None = None) -> None:
        """Begin to end the process: SIGTERM now, SIGKILL after ``grace_s``. The first cause given stays.

        ``why`` is what its log says of it, where the cause does not say it all.

        A process that has ended by itself keeps that as its end, also before the agent has waited for it; what it
        left behind is being ended already. But SIGTERM a moment before may have been meant for all of the run.
        """
        if self._has_ended():
            if cause in ("interrupt", "lost") and self._heard_sigterm():
                self._cause = self._cause or cause
                self.wake_at = time.monotonic()
            return
        if cause is not None and self._cause is None:
            self._say(f"{why}: the process is ended" if why else self._said[cause])
        self._cause = self._cause or cause
        self._end_all(grace_s)

    def fail(self, message: str) -> None:
        """End the process because it can no longer be watched: what it says cannot be written down, say."""
        self._error = self._error or message
        self.stop(None, grace_s=2.0)

    def dying(self, code: int) -> None:
        """Look at the process, which has ended with a code (128 and more: by a signal), before it is waited for."""
        if self._contained is not None and self._contained.by_name:
            looked_for = self._contained.was_killed(code)
        else:
            looked_for = code != 0 or self._cause is not None
        if looked_for:
            self._oom = self._oom_kills.told(self.pid, self._oom_before)

    def reaped(self, pid: int, status: int, rss_bytes: int) -> None:
        """Take note that the process itself has ended, or something that it left behind."""
        if pid == self.pid:
            self._status, self._rss_bytes, self._ended = status, rss_bytes, time.monotonic()
        self._orphans.discard(pid)

    def adopt(self, pid: int) -> None:
        """Take note of something that the process left behind."""
        if self._finished:  # it could not be ended in time: nobody waits for it any more
            processes.kill(processes.below([pid]), signal.SIGKILL)
        else:
            self._orphans.add(pid)

    def settle(self) -> None:
        """Go on after deaths in its tree: end what it left behind; when nothing is left, report."""
        if self._status is None or self._finished:
            return
        if self._contained is not None and not self._contained.gone:
            self._kill_at, self._killed = self._kill_at or time.monotonic(), True
            self.wake_at = self._kill_at + VERIFY_S
            self.kill()
        elif not self._orphans:
            self._finish_unless_more_is_told()
        elif self._kill_at is None:
            self._end_all(SWEEP_S)
        elif time.monotonic() >= self._kill_at:
            self.kill()

    def kill(self) -> None:
        """End the whole tree at once; where a container holds it by that one's name, and then what is left."""
        if self._contained is None or self._contained.gone:
            processes.kill(self._tree(), signal.SIGKILL)
        else:
            self._contained.end(self._removed)

    def tick(self) -> None:
        """Do what is due: the deadline, the next rung of the ladder, giving up."""
        now = time.monotonic()
        if self._kill_at is None and self._deadline is not None and now >= self._deadline:
            self._deadline = None
            self.stop("deadline", grace_s=5.0)
        if self._kill_at is None:
            self.wake_at = self._deadline
            self.settle()
            return
        if now >= self._kill_at and not self._killed:
            self._killed = True
            self.kill()
        if now >= self._kill_at + VERIFY_S:
            self._finish(self._lost())
        self.wake_at = self._kill_at + VERIFY_S if self._killed else self._kill_at
        self.settle()

    def readable(self) -> bool:
        """Take a part of what the process printed; return False at the end of its output. Raises OSError."""
        try:
            return self._take() > 0
        except BlockingIOError:
            return True

    def close(self) -> None:
        """Read no more of what the process prints."""
        if self.pipe is not None:
            os.close(self.pipe)
            self.pipe = None

    # Inside ------------------------------------------------------------------------------------------------------

    def _has_ended(self) -> bool:
        """Say whether the process itself has ended, be it that the agent has not waited for it yet."""
        if self._status is not None or self._finished:
            return True
        return self._dead() is not None

    def _dead(self) -> os.waitid_result | None:
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)

    def _heard_sigterm(self) -> bool:
        """Say whether it has ended by SIGTERM."""
        if self._status is not None:
            return os.WIFSIGNALED(self._status) and os.WTERMSIG(self._status) == signal.SIGTERM
        dead = self._dead()
        return dead is not None and (dead.si_code, dead.si_status) == (os.CLD_KILLED, signal.SIGTERM)

    def _tree(self) -> list[int]:
        return processes.below([self.pid] if self._status is None else self._orphans)

    def _end_all(self, grace_s: float) -> None:
        """Ask the whole tree to end; SIGKILL comes after the shortest grace that anybody gave."""
        self._kill_at = min(time.monotonic() + grace_s, self._kill_at or math.inf)
        self.wake_at = self._kill_at
        if grace_s > 0:
            processes.kill(self._asked(), signal.SIGTERM)
        else:
            self.tick()

    def _asked(self) -> list[int]:
        """Return who is asked to end: all, or the program that hands it on to the process in its container."""
        if self._contained is None or not self._contained.by_name:
            return self._tree()
        return [self.pid] if self._status is None else []

    def _removed(self) -> None:
        """Go on when the container has been ended, or could not be: what is left has a moment to end by itself."""
        self._kill_at, self._killed = time.monotonic() + SWEEP_S, False
        self.wake_at = time.monotonic()

    def _lost(self) -> str:
        return self._left() or _LOST_MESSAGE

    def _left(self) -> str | None:
        """Return what is said of a container that is there still."""
        if self._contained is None or not self._contained.left:
            return None
        return f"{_LOST_CONTAINER}: {shlex.join(self._contained.remedy or ())}"

    def _say(self, why: str) -> None:
        """Write into the process's log why it is ended: what it says of that itself may look like a failure."""
        with suppress(OSError), open(self._stderr, "a") as file:  # noqa: PTH123
            file.write(f"milabench: {why}\n")

    def _take(self) -> int:
        """Write down a part of what was printed; return its size. Raises BlockingIOError where there is none now."""
        assert self.pipe is not None
        chunk = os.read(self.pipe, CHUNK)
        left = chunk
        while left and self._text is not None:
            left = left[os.write(self._text, left) :]
        if self._metrics is not None:
            self._metrics.feed(chunk)
        return len(chunk)

    def _finish_unless_more_is_told(self) -> None:
        """Report it; where SIGTERM ended it without a cause, when that of the whole run would have been told."""
        until = (self._ended or 0.0) + TOGETHER_S
        if self._cause is None and self._error is None and self._heard_sigterm() and time.monotonic() < until:
            self.wake_at = until
        else:
            self._finish(None)

    def _finish(self, error: str | None) -> None:
        self._finished = True
        temporary.remove(self._temporary)
        try:
            self._drain()
        except Exception as problem:  # a full disk, or a bug in what one program printed: others go on
            self._error = self._error or unwritable(problem)
        code = os.waitstatus_to_exitcode(self._status) if self._status is not None else None
        told = self._contained.explained(code) if self._contained and self._cause is None else None
        by_name = self._contained is not None and self._contained.by_name
        number = -code if code is not None and code < 0 else None
        self._report(
            {
                "code": code if number is None else None,
                "signal": number,
                "oom": self._oom,
                "cause": self._cause,
                "error": error or self._error or self._left() or told,
                "max_rss_bytes": None if by_name else self._rss_bytes,  # of the container's program
                "seconds": time.monotonic() - self._started,
                "ended_s": self._ended,
            }
        )

    def _drain(self) -> None:
        """Take what is left in the pipe (nobody is there any more to write to it) and close the files."""
        try:
            left = _PIPE_BYTES
            with suppress(BlockingIOError):
                while self.pipe is not None and left > 0 and (taken := self._take()):
                    left -= taken
            if self._metrics is not None:
                self._metrics.close()
        finally:
            if self._text is not None:
                os.close(self._text)
                self._text = None
