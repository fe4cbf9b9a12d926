"""The agent's loop: requests in on standard input, replies out on standard output, processes in between.

When its input ends, for whatever reason, it ends everything it started and itself.
"""

from __future__ import annotations

import fcntl
import os
import selectors
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmate.wire import Frames, decode_event, frame
from milabench.agent import once as once_module
from milabench.agent import packages, processes, stage
from milabench.agent.loads import Loads
from milabench.agent.once import Guarded
from milabench.agent.supervise import Supervised, data_descriptor, unwritable
from milabench.agent.tail import Tail, Watcher
from milabench.agent.usage import usage

Request = dict[str, Any]
GRACE_S = 5.0
LOOK_S = 1.0
# These must not reach a benchmark: it would import the wrong modules, or compile them anew at every start; take itself
# for a rank of another group (of the job that milabench runs in); or write into another process's files.
WITHHELD = (
    *("PYTHONPATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV"),
    *("RANK", "LOCAL_RANK", "GROUP_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"),
    *("MILABENCH_EVENTS", "MILABENCH_STEPS", "MILABENCH_SEQ", "VOIRFILE", "DATA_FD"),
)
FOLDERS = {f"MILABENCH_DIR_{name}" for name in ("DATA", "RUNS", "EXTRA", "CACHE")}  # every script may write there


class Agent:
    """Serve requests until the input ends. Every reply carries the ``id`` of its request."""

    def __init__(self, requests: int, replies: int) -> None:
        data_descriptor()
        self._requests, self._replies = requests, replies
        self._selector = selectors.DefaultSelector()
        self._frames = Frames()
        self._watcher = Watcher()
        self._watches: dict[int, int | None] = {}
        self._unwatched: dict[int, Tail] = {}  # the kernel has no more watches for us: looked at once a second
        self._running: dict[int, Supervised] = {}
        self._guarded: dict[str, Guarded] = {}
        self._tools: set[int] = set()  # that were started to say how busy devices are: they belong to no process
        self._loads = Loads(self._selector, self._tools.add)
        self._environ = {name: value for name, value in os.environ.items() if name not in WITHHELD}
        self._held: dict[str, int] = {}
        self._closing = self._told_to_end = False
        self._ops: dict[str, Callable[[Request], dict[str, Any] | None]] = {
            "start": self._start,
            "stop": self._stop,
            "hold": self._hold,
            "probe": self._probe,
            "stage": self._stage,
            "begin": self._begin,
            "end": self._end,
            "missing": self._missing,
            "freeze": self._freeze,
            "usage": self._usage,
        }

    def serve(self) -> None:
        """Run until the input has ended and nothing is left."""
        woken, wake = os.pipe()
        os.set_blocking(wake, False)
        os.set_blocking(woken, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, lambda *_: setattr(self, "_told_to_end", True))
        processes.become_subreaper()
        self._selector.register(self._requests, selectors.EVENT_READ, self._read_requests)
        self._selector.register(woken, selectors.EVENT_READ, lambda: os.read(woken, 4096))
        if self._watcher.descriptor >= 0:
            self._selector.register(self._watcher.descriptor, selectors.EVENT_READ, self._watcher.notify)
        try:
            while not (self._closing and not self._running):
                for key, _ in self._selector.select(self._timeout()):
                    key.data()
                if self._told_to_end and not self._closing:
                    self._close()
                self._reap()
                self._tick()
        finally:
            self._loads.close()
            for process in self._running.values():  # none, unless this agent fails: then nothing may outlive it
                process.kill()

    # Requests ----------------------------------------------------------------------------------------------------

    def _read_requests(self) -> None:
        chunk = os.read(self._requests, 1 << 16)
        if not chunk:
            self._selector.unregister(self._requests)
            self._close()
            return
        for request in self._frames.feed(chunk):
            try:
                reply = self._ops[request["op"]](request)
            except OSError as error:
                reply = {"event": "error", "message": f"{error.strerror or error}: {error.filename or ''}".rstrip(": ")}
            if reply is not None:
                self._reply({"id": request["id"], **reply})

    def _start(self, request: Request) -> dict[str, Any] | None:
        def report(ended: dict[str, Any]) -> None:
            self._forget(request["id"])
            self._reply({"id": request["id"], "event": "exit", **ended})

        if self._closing:
            return {"event": "exit", "cause": "lost"}
        environ = packages.installer_environ(self._environ) if request["phase"] in ("install", "pin") else self._environ
        try:
            for name in FOLDERS & request["env"].keys():
                Path(request["env"][name]).mkdir(parents=True, exist_ok=True)
            tail = Tail(request["events"]) if request.get("events") else None
            process = Supervised(request, environ, report=report, alone=self._is_alone)
        except OSError as error:
            message = f"cannot be started: {error.strerror}: {error.filename or request['argv'][0]}"
            return {"event": "exit", "code": None, "signal": None, "error": message}
        self._running[process.id] = process
        self._loads.about(request["env"].get("MILABENCH_ARCH", ""))
        if process.pipe is not None:
            self._selector.register(process.pipe, selectors.EVENT_READ, lambda: self._read_output(process))
        if tail is not None:
            watch = self._watcher.add(request["events"], lambda: self._follow(process.id, tail))
            self._watches[process.id] = watch
            if watch is None:
                self._unwatched[process.id] = tail
        return {"event": "started", "pid": process.pid}

    def _stop(self, request: Request) -> None:
        process = self._running.get(request["target"])
        if process is not None:
            process.stop(request["cause"], request["grace_s"])

    def _hold(self, request: Request) -> dict[str, Any]:
        """Lock a file for as long as this agent lives: until all that it started has ended."""
        path = request["path"]
        if path not in self._held:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                os.close(descriptor)
                if isinstance(error, BlockingIOError):
                    return {"event": "held", "held": False}
                raise
            self._held[path] = descriptor
        return {"event": "held", "held": True}

    def _probe(self, request: Request) -> dict[str, Any]:
        from milabench.agent import probe

        return {"event": "facts", "facts": probe.facts(request["arch"], request["reach"])}

    def _stage(self, request: Request) -> dict[str, Any]:
        for folder in request["staged"]:
            stage.stage(folder["source"], folder["target"], fresh=folder.get("fresh", False))
        return {"event": "staged"}

    def _begin(self, request: Request) -> dict[str, Any]:
        guarded = self._guarded.setdefault(request["target"], Guarded(request["once"]))
        state = guarded.begin()
        if state == "done":
            del self._guarded[request["target"]]
        return {"event": "begun", "state": state}

    def _end(self, request: Request) -> dict[str, Any]:
        self._guarded.pop(request["target"]).end(done=request["done"])
        return {"event": "ended"}

    def _missing(self, request: Request) -> dict[str, Any]:
        return {
            "event": "missing",
            "names": [name for name, once in request["onces"].items() if not once_module.done(once)],
        }

    def _freeze(self, request: Request) -> dict[str, Any]:
        return {
            "event": "frozen",
            "packages": {name: packages.freeze(path) for name, path in request["folders"].items()},
        }

    def _usage(self, request: Request) -> dict[str, Any]:
        """Say what each process takes of this node, with all that is below it, and how busy the devices are."""
        del request
        found = {process.tag: usage([process.pid]) for process in self._running.values()}
        return {"event": "usage", "processes": found, "devices": self._loads.latest()}

    # Processes ---------------------------------------------------------------------------------------------------

    def _read_output(self, process: Supervised) -> None:
        try:
            more = process.readable()
        except OSError as problem:
            process.fail(unwritable(problem))
            more = False
        if not more and process.pipe is not None:
            self._selector.unregister(process.pipe)
            process.close()
            process.pipe = None

    def _follow(self, number: int, tail: Tail) -> None:
        """Tell the runner when the leader of a group has measured enough: it cannot end the others by itself."""
        with suppress(OSError):  # the run's folder is gone
            for line in tail.lines():
                event = decode_event(line) if b'"stop"' in line else None
                if event is not None and event.event == "stop" and _ends_group(event.data):
                    self._reply({"id": number, "event": "full"})

    def _is_alone(self) -> bool:
        return len(self._running) == 1 and not self._tools

    def _forget(self, number: int) -> None:
        process = self._running.pop(number)
        self._watcher.remove(self._watches.pop(number, None))
        self._unwatched.pop(number, None)
        if process.pipe is not None:
            self._selector.unregister(process.pipe)
            process.close()

    def _reap(self) -> None:
        """Reap all children that have ended, the adopted ones too."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._tools.discard(pid)
            for process in list(self._running.values()):
                if process.pid == pid:
                    process.reaped(status, usage.ru_maxrss * 1024)

    def _tick(self) -> None:
        now = time.monotonic()
        for number, tail in self._unwatched.items():
            self._follow(number, tail)
        for process in list(self._running.values()):
            if process.wake_at is not None and now >= process.wake_at:
                process.tick()

    def _timeout(self) -> float | None:
        wakes = [process.wake_at for process in self._running.values() if process.wake_at is not None]
        due_s = max(min(wakes) - time.monotonic(), 0.0) if wakes else None
        if not self._unwatched:
            return due_s
        return LOOK_S if due_s is None else min(due_s, LOOK_S)

    def _close(self) -> None:
        """End everything: nobody is there any more to say otherwise."""
        self._closing = True
        for process in list(self._running.values()):
            process.stop("lost", GRACE_S)

    def _reply(self, message: dict[str, Any]) -> None:
        with suppress(BrokenPipeError):
            content = frame(message)
            while content:
                content = content[os.write(self._replies, content) :]


def _ends_group(data: Any) -> bool:
    world_size = data.get("world_size") if isinstance(data, dict) else None
    return isinstance(world_size, int) and world_size > 1


def main() -> None:
    """Serve on standard input and output; what else is printed goes to standard error."""
    replies = os.dup(1)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    Agent(0, replies).serve()
