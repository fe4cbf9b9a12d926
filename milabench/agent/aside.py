"""Requests that take long, in processes of their own: what runs meanwhile is watched, read and ended on time."""

from __future__ import annotations

import os
import selectors
import shutil
import signal
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmate.wire import Frames, frame
from milabench.agent import abandoned, base, clean, packages, processes, receive, stage
from milabench.agent.failures import bug
from milabench.agent.monitor import now
from milabench.agent.usage import usage

Request = dict[str, Any]
Reply = dict[str, Any]


def answer(work: Callable[[Request], Reply | None], request: Request) -> Reply | None:
    """Return what a request comes to; what goes wrong in one request is its answer, and harms no other."""
    try:
        return work(request)
    except OSError as error:
        message = f"{error.strerror or error}: {error.filename or ''}".rstrip(": ")
    except Exception as error:
        message = bug(error)
    if request["op"] == "start":
        return {"event": "exit", "error": message}
    return {"event": "error", "message": message}


class Aside:
    """A queue of such requests, answered one after the other: two that stage the same folder do not meet."""

    def __init__(
        self,
        selector: selectors.BaseSelector,
        *,
        send: Callable[[Request, Reply], None],
        forked: Callable[[int, Callable[[int], object]], None],
    ) -> None:
        """``send`` is told what a request comes to, ``forked`` its process and what to call when that is gone."""
        self._selector, self._send, self._forked = selector, send, forked
        self._waiting: deque[Request] = deque()
        self._request: Request | None = None
        self._pipe = -1
        self._pid: int | None = None  # None once it has been waited for: the number may be another's then
        self._content = bytearray()
        self._closed = False
        self._looked: set[str] = set()

    def __bool__(self) -> bool:
        return self._request is not None

    def ask(self, request: Request) -> None:
        if not self._closed:
            self._waiting.append(request)
            self._begin()

    def end_abandoned(self, container: Mapping[str, Any], stderr: str) -> None:
        """End what killed agents have left of containers by this one's program, once; a process's log is told."""
        executable = container["executable"]
        if executable not in self._looked:
            self._looked.add(executable)
            self.ask({"op": "abandoned", "executable": executable, "stderr": stderr})

    def close(self) -> None:
        """End what is being done, and do nothing more: nobody is there to hear of it."""
        self._closed = True
        self._waiting.clear()
        if self._pid is not None:
            processes.kill(processes.below([self._pid]), signal.SIGKILL)

    def _begin(self) -> None:
        while self._request is None and self._waiting:
            request = self._waiting.popleft()
            try:
                self._start(request)
            except OSError as problem:  # no descriptors or no processes are left: later there may be some
                message = f"cannot start a process: {problem.strerror}"
                self._tell(request, {"event": "error", "message": message})

    def _start(self, request: Request) -> None:
        with ExitStack() as opened:
            reading, writing = os.pipe()
            opened.callback(os.close, reading)
            try:
                self._selector.register(reading, selectors.EVENT_READ, self._read)
                opened.callback(self._selector.unregister, reading)
                pid = _fork(request, writing)
            finally:
                os.close(writing)
            opened.pop_all()
        self._request, self._pipe, self._pid = request, reading, pid
        self._forked(pid, lambda _: self._waited_for(pid))

    def _waited_for(self, pid: int) -> None:
        if self._pid == pid:  # else the next has been started already
            self._pid = None

    def _read(self) -> None:
        chunk = os.read(self._pipe, 1 << 16)
        self._content += chunk
        if not chunk:
            replies = list(Frames().feed(bytes(self._content)))
            self._end(replies[0] if replies else {"event": "error", "message": "its process was killed"})
            self._begin()

    def _end(self, reply: Reply) -> None:
        assert self._request is not None
        request, self._request = self._request, None
        self._selector.unregister(self._pipe)
        os.close(self._pipe)
        self._content.clear()
        self._tell(request, reply)

    def _tell(self, request: Request, reply: Reply) -> None:
        if request["op"] not in _OWN:
            self._send(request, reply)


def _fork(request: Request, descriptor: int) -> int:
    """Answer a request in a child of this process, which has one thread; return the child's number."""
    pid = os.fork()
    if pid:
        return pid
    try:
        signal.set_wakeup_fd(-1)
        processes.end_with_parent()
        content = memoryview(frame(answer({**OPS, **_OWN}[request["op"]], request) or {}))
        while content:
            content = content[os.write(descriptor, content) :]
    finally:
        os._exit(0)


def _probe(request: Request) -> Reply:
    from milabench.agent import probe

    return {"event": "facts", "facts": probe.facts(request["arch"], request["reach"])}


def _stage(request: Request) -> Reply:
    for folder in request["staged"]:
        stage.stage(folder["source"], folder["target"], fresh=folder.get("fresh", False))
    return {"event": "staged"}


def _offer(request: Request) -> Reply:
    return {"event": "wanted", "files": receive.wanted(request)}


def _received(request: Request) -> Reply:
    receive.put_in_place(request)
    return {"event": "staged"}


def _begin(request: Request) -> Reply:
    shutil.rmtree(request["stale"])
    return {"event": "begun", "state": "needed"}


def _conditions(request: Request) -> Reply:
    from milabench.agent import conditions

    return {"event": "conditions", "conditions": conditions.conditions(request)}


def _freeze(request: Request) -> Reply:
    return {
        "event": "frozen",
        "packages": {name: packages.freeze(path) for name, path in request["folders"].items()},
        "code": {path: stage.digest(path) for path in request["sources"]},
    }


def _route(request: Request) -> Reply:
    from milabench.agent.route import route

    return {"event": "route", **route(request["to"])}


def _usage(request: Request) -> Reply:
    found = {tag: usage([pid]) for tag, pid in request["roots"].items()}
    devices = now.devices(Path(request["monitor"])) if request["monitor"] else []
    return {"event": "usage", "processes": found, "devices": devices}


def _reach(request: Request) -> Reply:
    from milabench.agent import network

    return {
        "event": "reached",
        "why": network.why_unreached(request["address"], request["port"], request["within_s"]),
    }


def _ready(request: Request) -> Reply:
    from milabench.agent import network

    return {"event": "ready", "why": network.why_unready(request["ready"], request["cwd"])}


def _image(request: Request) -> Reply:
    from milabench.agent import contained, images

    return {"event": "image", **images.look(contained.read(request["container"]))}


OPS: dict[str, Callable[[Request], Reply]] = {
    "probe": _probe,
    "conditions": _conditions,
    "stage": _stage,
    "offer": _offer,
    "received": _received,
    "begin": _begin,
    "freeze": _freeze,
    "usage": _usage,
    "mark": base.mark,
    "marks": base.marks,
    "unmark": base.unmark,
    "route": _route,
    "reach": _reach,
    "ready": _ready,
    "image": _image,
    "sizes": clean.sizes,
    "remove": clean.remove,
}
_OWN: dict[str, Callable[[Request], Reply]] = {"abandoned": abandoned.end_those}  # what nobody asks for
