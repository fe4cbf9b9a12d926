"""The agent's loop: requests in on standard input, replies out on standard output, processes in between.

When its input ends, for whatever reason, it ends everything it started and itself.
"""

from __future__ import annotations

import os
import select
import selectors
import signal
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmate.wire import Frames
from milabench.agent import aside, packages, processes
from milabench.agent import once as once_module
from milabench.agent.aside import Aside, Request, answer
from milabench.agent.descent import Descent
from milabench.agent.ender import is_ender
from milabench.agent.failures import bug, unstartable, unwritable
from milabench.agent.forward import Forwarding
from milabench.agent.greeting import Silence, hello, machine_mark, private_folder
from milabench.agent.locks import Holds
from milabench.agent.memory import OomKills
from milabench.agent.monitoring import Monitoring
from milabench.agent.network import free_port
from milabench.agent.once import Guarded
from milabench.agent.receive import Receiving
from milabench.agent.replies import Replies
from milabench.agent.spawn import data_descriptor, many_descriptors
from milabench.agent.supervise import VERIFY_S, Supervised
from milabench.agent.tail import Leaders, Tail

GRACE_S = 5.0
LINGER_S = 10.0  # at the end a runner gets this long to take the last replies
UNHEARD_S = 1.0  # and one that nothing was heard of for too long, this long
TICK_S = 0.001  # while streams are read, what is due is looked at so often
# These must not reach a benchmark: it would import the wrong modules, or compile them anew at every start; take itself
# for a rank of another group (of the job that milabench runs in); or write into another process's files.
WITHHELD = (
    *("PYTHONPATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV"),
    *("RANK", "LOCAL_RANK", "GROUP_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"),
    *("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID", "SLURM_NTASKS", "SLURM_NPROCS"),
    *("MILABENCH_EVENTS", "MILABENCH_STEPS", "MILABENCH_SEQ", "MILABENCH_NODE", "VOIRFILE", "DATA_FD"),
)
INSTALLING = ("install", "pin", "pack")  # phases whose processes install packages
FOLDERS = {f"MILABENCH_DIR_{name}" for name in ("DATA", "RUNS", "EXTRA", "CACHE")}  # every script may write there


class Agent:
    """Serve requests until the input ends. Every reply carries the ``id`` of its request."""

    def __init__(self, requests: int, replies: int) -> None:
        data_descriptor()
        many_descriptors()
        self._requests = requests
        self._selector = selectors.DefaultSelector()
        self._frames = Frames()
        self._asked: deque[Request] = deque()
        self._replies = Replies(replies, self._selector)
        self._leaders = Leaders(self._selector, full=lambda number: self._replies.send({"id": number, "event": "full"}))
        self._running: dict[int, Supervised] = {}
        self._holds = Holds(private_folder, f".{machine_mark()}")
        self._descent = Descent(self._holds.descriptors)
        self._aside = Aside(self._selector, send=self._answer_aside, forked=self._descent.forked)
        self._oom_kills = OomKills()
        self._guarded: dict[str, Guarded] = {}
        self._environ = {name: value for name, value in os.environ.items() if name not in WITHHELD}
        self._receiving = Receiving(self._replies.send)
        self._forwarding = Forwarding(self._replies, os.environ)
        self._monitoring = Monitoring(
            self._selector, self._environ, send=self._answer_monitor, forked=self._descent.forked
        )
        self._monitored: int | None = None  # the request whose monitor's file is forwarded
        self._reading = True
        self._closing = self._told_to_end = self._bereaved = False
        self._silence = Silence()
        self._linger_s = LINGER_S
        self._ticked = 0.0
        self._last_at: float | None = None
        self._ops: dict[str, Callable[[Request], dict[str, Any] | None]] = {
            **dict.fromkeys(aside.OPS, self._aside.ask),
            "hello": self._greet,
            "alive": lambda _: None,  # that it came is all that it says
            "start": self._start,
            "stop": self._stop,
            "hold": self._hold,
            "begin": self._begin,
            "end": self._end,
            "missing": self._missing,
            "port": self._port,
            "usage": self._usage,
            "conditions": self._conditions,
            "monitor": self._monitor,
            "receive": self._receiving.begin,
            "put": self._receiving.put,
            "received": self._received,
            "fetch": self._forwarding.fetch,
            "arrived": self._forwarding.arrived,
            "kept": self._forwarding.kept,
            "clock": lambda _: {"event": "clock", "time_ns": time.time_ns()},
        }

    def serve(self) -> None:
        """Run until the input has ended and nothing is left, and the replies have been taken."""
        self._listen()
        try:
            while not self._closing or self._running or self._aside:
                self._turn()
            self._monitoring.close()
            self._last_at = time.monotonic() + self._linger_s
            while (self._replies or self._monitoring or self._forwarding) and time.monotonic() < self._last_at:
                self._turn()
        finally:
            self._forwarding.close()
            processes.end_all(VERIFY_S, kept=is_ender)  # none, unless this agent fails: then nothing may outlive it
            self._holds.close()

    def _listen(self) -> None:
        woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: setattr(self, "_bereaved", True))
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, lambda *_: setattr(self, "_told_to_end", True))
        processes.become_subreaper()
        self._selector.register(self._requests, selectors.EVENT_READ, self._read_requests)
        self._selector.register(woken, selectors.EVENT_READ, lambda: os.read(woken, 4096))

    def _turn(self) -> None:
        """Do what is to be done now: a bounded part of each stream, and between them what is due."""
        for key, _ in self._selector.select(self._timeout()):
            key.data()
            if time.monotonic() - self._ticked > TICK_S:
                self._tick()
        self._answer_some()
        self._leaders.look()
        self._forwarding.work()
        self._tick()

    # Requests ----------------------------------------------------------------------------------------------------

    def _read_requests(self) -> None:
        if self._asked:
            return
        chunk = os.read(self._requests, 1 << 16)
        if not chunk:
            self._selector.unregister(self._requests)
            self._close()
        self._silence.heard()
        self._asked.extend(self._frames.feed(chunk))

    def _answer_some(self) -> None:
        """Answer requests for a moment: to start a process takes milliseconds, and meanwhile nothing else is read."""
        while self._asked and not self._replies.full:
            request = self._asked.popleft()
            if reply := answer(self._here, request):
                self._replies.send({"id": request["id"], **reply})
            if time.monotonic() - self._ticked > TICK_S:
                return

    def _answer_aside(self, request: Request, reply: dict[str, Any]) -> None:
        """Send what a request came to that took long; what cannot be begun is let go of."""
        if request["op"] == "begin" and reply["event"] == "error":
            self._guarded.pop(request["target"]).end(done=False)
        self._replies.send({"id": request["id"], **reply})

    def _here(self, request: Request) -> dict[str, Any] | None:
        return self._ops[request["op"]](request)

    def _greet(self, request: Request) -> dict[str, Any]:
        self._silence.limit(request.get("silence_s"))
        told = hello(request, self._environ)
        elsewhere = "environ" in request
        return {**told, "spool": self._forwarding.spool.folder if elsewhere else None}

    def _start(self, request: Request) -> dict[str, Any] | None:
        def report(ended: dict[str, Any]) -> None:
            self._forget(request["id"])
            self._monitoring.mark()
            self._forwarding.end(request["id"], {"id": request["id"], "event": "exit", **ended})

        if self._closing:
            return {"event": "exit", "cause": "lost"}
        environ = packages.installer_environ(self._environ) if request["phase"] in INSTALLING else self._environ
        try:
            for name in FOLDERS & request["env"].keys():
                Path(request["env"][name]).mkdir(parents=True, exist_ok=True)
            request = self._forwarding.placed(request) if request.get("forward") else request
            tail = Tail(request["events"]) if request.get("events") else None
            process = Supervised(request, environ, oom_kills=self._oom_kills, begin=self._descent.begin, report=report)
        except OSError as error:
            message = f"cannot be started: {unstartable(error, request)}"
            return {"event": "exit", "code": None, "signal": None, "error": message}
        if request.get("forward"):
            self._forwarding.begin(request)
        if contained := request.get("container"):
            self._aside.end_abandoned(contained, request["stderr"])
        self._running[process.id] = process
        self._descent.started(process)
        self._monitoring.mark()
        if process.pipe is not None:
            self._selector.register(process.pipe, selectors.EVENT_READ, lambda: self._read_output(process))
        if tail is not None:
            self._leaders.follow(process.id, tail)
        return {"event": "started", "pid": process.pid}

    def _stop(self, request: Request) -> None:
        process = self._running.get(request["target"])
        if process is not None:
            process.stop(request["cause"], request["grace_s"], request.get("why"))

    def _hold(self, request: Request) -> dict[str, Any]:
        """Lock a file for as long as this agent lives: until all that it started has ended.

        A path that is not absolute is a name in a folder of this user's, which nodes may share by mistake: the file is
        that of this machine alone.
        """
        if self._holds.hold(request["path"]):
            return {"event": "held", "held": True}
        return {"event": "held", "held": False, **self._holds.holder(request["path"])}

    def _begin(self, request: Request) -> dict[str, Any] | None:
        """Begin what is needed once; what has to be removed before, an environment say, takes long on some disks."""
        guarded = self._guarded.setdefault(request["target"], Guarded(request["once"]))
        state = guarded.begin()
        if state == "done":
            del self._guarded[request["target"]]
        if state == "needed" and guarded.stale is not None:
            self._aside.ask({**request, "stale": guarded.stale})
            return None
        return {"event": "begun", "state": state}

    def _end(self, request: Request) -> dict[str, Any]:
        """Let go of what was begun; ``known`` is False where another agent, now gone, began it."""
        guarded = self._guarded.pop(request["target"], None)
        if guarded is not None:
            guarded.end(done=request["done"])
        return {"event": "ended", "known": guarded is not None}

    def _missing(self, request: Request) -> dict[str, Any]:
        return {
            "event": "missing",
            "names": [name for name, once in request["onces"].items() if not once_module.done(once)],
        }

    def _received(self, request: Request) -> None:
        """Put what was sent in place: to look whether it came as it was sent takes long."""
        if (work := self._receiving.end(request)) is not None:
            self._aside.ask(work)

    def _monitor(self, request: Request) -> dict[str, Any] | None:
        """Begin or end the monitor; where the runner is elsewhere its file is sent there, all of it before the end."""
        forwarded = request.get("forward") and request["path"] is not None
        request = self._forwarding.placed(request) if forwarded else request
        reply = self._monitoring.ask(request)
        if forwarded and reply is None:
            self._monitored = request["id"]
            self._forwarding.begin(request)
        if reply is not None:
            self._answer_monitor({"id": request["id"], **reply})
        return None

    def _answer_monitor(self, reply: dict[str, Any]) -> None:
        if reply["event"] == "monitored" and self._monitored is not None:
            self._forwarding.end(self._monitored, reply)
            self._monitored = None
        else:
            self._replies.send(reply)

    def _port(self, request: Request) -> dict[str, Any]:
        return {"event": "port", "port": free_port(request["lowest"], request["taken"])}

    def _usage(self, request: Request) -> None:
        """Ask what each process takes of this node, with all that is below it: of hundreds that takes a while."""
        roots = {process.tag: process.pid for process in self._running.values()}
        self._aside.ask({**request, "roots": roots, "monitor": self._monitoring.path})

    def _conditions(self, request: Request) -> None:
        """Ask for the conditions of this node; the limits told are those that processes get, not this agent's own."""
        self._aside.ask({**request, "nofile": many_descriptors()})

    def _read_output(self, process: Supervised) -> None:
        if process.pipe is None:  # closed earlier in this turn
            return
        try:
            more = process.readable()
        except Exception as problem:  # a full disk, or a bug in what one program printed: others go on
            process.fail(unwritable(problem))
            more = False
        if not more:
            self._close_output(process)

    def _close_output(self, process: Supervised) -> None:
        if process.pipe is not None:
            self._selector.unregister(process.pipe)
            process.close()

    def _forget(self, number: int) -> None:
        self._close_output(self._running.pop(number))
        self._leaders.unfollow(number)

    def _tick(self) -> None:
        """Do what signals have told and the clock says."""
        if self._told_to_end and not self._closing:
            self._close()
        if self._bereaved:
            self._bereaved = False
            self._descent.reap()
        now = self._ticked = time.monotonic()
        for process in list(self._running.values()):
            if process.wake_at is not None and now >= process.wake_at:
                process.tick()
        self._monitoring.tick()
        self._pace()
        if self._silence.too_long and not self._closing and not self._hears():
            self._linger_s = UNHEARD_S
            self._close()

    def _hears(self) -> bool:
        """Say whether words wait to be read or answered: then it was this agent that was slow, or held up."""
        if self._reading and (self._asked or select.select([self._requests], [], [], 0)[0]):
            self._silence.heard()
            return True
        return False

    def _pace(self) -> None:
        """Take no more requests while the runner leaves too many replies unread."""
        reading = not self._replies.full
        if self._replies.moved and not self._reading:
            self._silence.heard()
        if self._closing or reading == self._reading:
            return
        self._reading = reading
        if reading:
            self._selector.register(self._requests, selectors.EVENT_READ, self._read_requests)
        else:
            self._selector.unregister(self._requests)

    def _timeout(self) -> float | None:
        if self._asked and not self._replies.full:
            return 0.0
        wakes = [process.wake_at for process in self._running.values()]
        wakes += [self._leaders.wake_at, self._last_at, self._monitoring.wake_at, self._forwarding.wake_at]
        wakes += [None if self._closing else self._silence.wake_at]
        due = min((at for at in wakes if at is not None), default=None)
        return None if due is None else max(due - time.monotonic(), 0.0)

    def _close(self) -> None:
        """End everything: nobody is there any more to say otherwise."""
        self._closing = True
        self._aside.close()
        self._receiving.close()
        for process in list(self._running.values()):
            process.stop("lost", GRACE_S)


def main() -> None:
    """Serve on standard input and output; what else is printed goes to standard error."""
    replies = os.dup(1)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    try:
        Agent(0, replies).serve()
    except BaseException as problem:  # whatever it is: it is said once, and in one line
        with suppress(OSError):
            os.write(2, f"milabench: the agent has ended, and all that it had started: {bug(problem)}\n".encode())
        sys.exit(5)
