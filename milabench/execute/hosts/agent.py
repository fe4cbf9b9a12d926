"""A host: frames, requests, processes and revival over any pipe to an agent."""

from __future__ import annotations

import asyncio
import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from benchmate.wire import Frames, frame
from milabench.errors import HostLost, PreflightError
from milabench.execute.arrivals import Arrivals
from milabench.execute.hosts import MONITOR_S, Launch
from milabench.execute.hosts.process import AgentProcess, Told
from milabench.execute.hosts.transport import Transport
from milabench.execute.travel import SoFar
from milabench.execute.trees import send_files, send_staged
from milabench.launchtime import TEMPORARY
from milabench.plan.launchtime import uses_temporary

END_S = 30.0  # so long an agent gets to end all that it started, and itself, when its input is closed
GREET_S = 60.0  # so long it gets for its first word
SILENCE_S = 60.0  # an agent elsewhere that hears nothing for so long takes it that nobody is there
_ALIVE_PARTS = 6  # so often it hears something in that time
_PATIENCE = 4  # so many times what it took to find out that a node cannot be reached it is not tried again
_RELEASE_S = 20.0  # so long an agent that is gone may need to end what it ran, before another can hold its files

T = TypeVar("T", bound="AgentHost")


class AgentHost(ABC):
    """A pipe to an agent; use as an asynchronous context manager.

    An agent that has ended, or cannot be reached any more, takes what it ran with it; the next request starts another,
    which holds the same files and monitors the same run. One that cannot be reached again is not tried for a while, but
    for ``clock``, which asks whether it is there, and none is after ``give_up``. ``environ`` is the environment that it
    is given, or, on another machine, what is added to the environment there; ``silence_s`` is for agents elsewhere
    (``SILENCE_S``).
    """

    remote: ClassVar[bool] = False

    def __init__(self, environ: Mapping[str, str], silence_s: float = SILENCE_S) -> None:
        self._environ, self._silence_s = dict(environ), silence_s
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._exits: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._gone: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._full: dict[int, Callable[[], object]] = {}
        self._held: dict[str, None] = {}
        self._monitored: dict[str, Any] | None = None
        self._arrivals: dict[int, Arrivals] = {}
        self._samples = 0  # the request whose monitor's file arrives
        self._settling: set[asyncio.Task[None]] = set()
        self._sending = asyncio.Lock()
        self._hello: Mapping[str, Any] | None = None
        self._how = ""
        self._reviving = asyncio.Lock()
        self._refused: tuple[float, str] | None = None  # until when it is not tried again, and why
        self._given_up = asyncio.Event()
        self._pipe: Transport | None = None
        self._reader: asyncio.Task[None] | None = None
        self._alive: asyncio.Task[None] | None = None

    @abstractmethod
    async def connect(self) -> Transport:
        """Start an agent and return the pipe to it. Raises PreflightError with what is wrong and what to do."""

    async def __aenter__(self: T) -> T:
        try:
            await self._open()
        except BaseException:
            await self._break_off()
            raise
        return self

    async def _open(self) -> None:
        self._pipe = await self.connect()
        self._hello = None
        self._reader = asyncio.create_task(self._read(self._pipe))
        if self.remote:
            self._hello = await self._greet()
            self._alive = asyncio.create_task(self._say_alive(self._reader))

    async def _greet(self) -> Mapping[str, Any]:
        fields = {"environ": self._environ, "silence_s": self._silence_s} if self.remote else {}
        try:
            return await asyncio.wait_for(self.ask("hello", **fields), GREET_S)
        except asyncio.TimeoutError:
            raise HostLost(f"the agent says nothing for {GREET_S:.0f} s after its start") from None

    async def _say_alive(self, reader: asyncio.Task[None]) -> None:
        while not reader.done():
            await asyncio.sleep(self._silence_s / _ALIVE_PARTS)
            self.post({"op": "alive"})

    async def _revive(self, *, at_once: bool = False) -> None:
        """Start another agent where there is none any more; it holds what the one before held. Raises HostLost.

        Where that took long and failed it is not tried again for a while, unless ``at_once``: what follows need not
        wait for it.
        """
        async with self._reviving:
            if self._reader is None or not self._reader.done():
                return
            clock = asyncio.get_running_loop().time
            if self._refused is not None and clock() < self._refused[0] and not at_once:
                raise HostLost(self._refused[1])
            await self._connect_unless_given_up()

    async def _connect_unless_given_up(self) -> None:
        """Start another agent; raise HostLost as soon as nobody waits for it any more."""
        lost = HostLost(f"{self._how}; and it was not connected again, as what ran was being ended")
        if self._given_up.is_set():
            raise lost
        doing, waiting = asyncio.ensure_future(self._connect_again()), asyncio.ensure_future(self._given_up.wait())
        try:
            await asyncio.wait((waiting, doing), return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            doing.cancel()
            await asyncio.wait((doing,))
        if doing.cancelled():
            raise lost
        doing.result()

    async def _connect_again(self) -> None:
        clock = asyncio.get_running_loop().time
        before, self._refused, began, reached = self._how, None, clock(), False
        try:
            await self._open()
            reached = True
            for path in self._held:
                await self._hold_again(path)
        except PreflightError as error:
            await self._break_off()
            why = f"{before}; and then: {error}"
            self._refused = None if reached else (clock() + _PATIENCE * (clock() - began), why)
            raise HostLost(why) from None
        except BaseException:  # nobody waits any more: an agent that does not hold what it should runs nothing
            await self._break_off()
            raise
        if self._monitored is not None:
            with suppress(PreflightError, asyncio.TimeoutError):  # what is to be run does not depend on it
                await asyncio.wait_for(self.ask("monitor", **self._monitored), MONITOR_S)

    async def _hold_again(self, path: str) -> None:
        """Hold a file that the agent before held: one that cannot be reached may need a while to let go of it."""
        end = asyncio.get_running_loop().time() + (self._silence_s + _RELEASE_S if self.remote else 0.0)
        while not (await self.ask("hold", path=path))["held"]:
            if asyncio.get_running_loop().time() >= end:
                raise HostLost(f"another holds {path}")
            await asyncio.sleep(0.5)

    def give_up(self) -> None:
        """Connect no agent any more where there is none, and break off what connects one: nobody waits for it."""
        self._given_up.set()

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is asyncio.CancelledError and self._pipe is not None:  # nobody waits for anything any more
            await self._pipe.kill()
        await self.close()

    async def start(self, launch: Launch) -> AgentProcess:
        await self._revive()
        number = next(self._numbers)
        command, job = launch.command, launch.job
        told = Told()
        self._gone[number], self._exits[number], self._full[number] = told.gone, told.ended, launch.full
        if self.remote:
            self._arrivals[number] = Arrivals.of_process(launch.files, launch.group)
        fields = {
            "tag": command.tag,
            "argv": list(command.argv),
            "container": command.container and asdict(command.container),
            "cwd": command.cwd,
            "env": {**command.env, **launch.env},
            "metrics": command.metrics,
            "stop": job.stop,
            "limit": asdict(job.limit),
            "deadline_s": launch.deadline_s,
            "limited_by": launch.limited_by,
            "phase": launch.phase,
            "stdout": str(launch.files.stdout),
            "stderr": str(launch.files.stderr),
            "events": str(launch.files.events) if command.metrics != "none" else None,
            "steps": str(launch.files.steps),
            **_beside(launch),
            "seq": launch.first_seq,
            "temporary": TEMPORARY if uses_temporary(command) else None,
            "forward": self.remote,
        }
        self._send({"id": number, "op": "start", **fields})
        return AgentProcess(self.post, number, command.tag, told)

    async def request(self, op: str, **fields: Any) -> dict[str, Any]:
        if op != "monitor" or fields["path"] is not None:  # a monitor to be ended has ended with its agent
            await self._revive(at_once=op == "clock")
        if op == "monitor":
            self._monitored = fields if fields["path"] is not None else None
        message = await self.ask(op, **fields)
        if message.get("held"):
            self._held[fields["path"]] = None
        if op == "monitor" and "files" in message and self._samples in self._arrivals:
            await self._settle(self._samples, self._arrivals.pop(self._samples), message)
        return message

    async def stage(self, staged: Sequence[Mapping[str, Any]], so_far: SoFar | None = None) -> None:
        if not self.remote:
            await self.request("stage", staged=staged)
            return
        await self._revive()
        async with self._sending:  # one after the other, as an agent does itself
            await send_staged(self, staged, so_far or SoFar())

    async def send(self, source: Path, target: str, names: Sequence[str], told: Callable[[int, int], object]) -> None:
        await self._revive()
        async with self._sending:
            await send_files(self, source, target, names, told)

    async def hello(self) -> Mapping[str, Any]:
        await self._revive()
        if self._hello is None:
            self._hello = await self._greet()
        return self._hello

    async def ask(self, op: str, **fields: Any) -> dict[str, Any]:
        """Return the reply to a request; another agent is not started where there is none. Raises as ``request``."""
        number = next(self._numbers)
        if op == "monitor" and self.remote and fields["path"] is not None:
            self._samples, fields = number, {**fields, "forward": True}
            self._arrivals[number] = Arrivals.of_monitor(Path(fields["path"]))
        return await self._reply(op, self._asked(number, op, fields))

    def begin(self, op: str, **fields: Any) -> tuple[int, asyncio.Task[dict[str, Any]]]:
        """Send a request whose reply comes later; return its number and what has the reply."""
        number = next(self._numbers)
        return number, asyncio.ensure_future(self._reply(op, self._asked(number, op, fields)))

    def _asked(self, number: int, op: str, fields: Mapping[str, Any]) -> asyncio.Future[dict[str, Any]]:
        reply = self._waiting[number] = asyncio.get_running_loop().create_future()
        self._send({"id": number, "op": op, **fields})
        return reply

    async def _reply(self, op: str, asked: asyncio.Future[dict[str, Any]]) -> dict[str, Any]:
        message = await asked
        if message["event"] == "error":
            raise PreflightError(f"{op} failed: {message['message']}")
        if message["event"] == "lost":
            raise HostLost(message["error"])
        return message

    async def close(self) -> None:
        """End the agent by closing its pipe: it ends whatever still runs first."""
        if self._pipe is None or self._reader is None:
            return
        self._pipe.close_input()
        _, late = await asyncio.wait([self._reader], timeout=END_S)
        if late:
            await self._break_off()
        if self._alive is not None:
            self._alive.cancel()

    async def _break_off(self) -> None:
        if self._pipe is not None and self._reader is not None and not self._reader.done():
            await self._pipe.kill()
            await self._reader

    def post(self, message: dict[str, Any], blob: bytes | None = None) -> None:
        """Send a request that has no reply, with raw bytes where there are some."""
        self._send({"id": next(self._numbers), **message}, blob)

    async def drain(self) -> None:
        """Return when little is left to be sent, or nothing can be any more."""
        if self._pipe is not None:
            await self._pipe.drain()

    def _send(self, message: dict[str, Any], blob: bytes | None = None) -> None:
        assert self._pipe is not None
        assert self._reader is not None
        if self._reader.done():
            self._lose()
        else:
            self._pipe.write(frame(message, blob))

    async def _read(self, pipe: Transport) -> None:
        frames, garbled = Frames(), ""
        try:
            while chunk := await pipe.read():
                for message in frames.feed(chunk):
                    self._deliver(message)
        except Exception as error:  # whatever it says, what waits for it is answered
            garbled = f"what came from the agent is no reply of one ({error or type(error).__name__})"
            await pipe.kill()
        how = await pipe.ended()
        self._how = garbled or how
        self._lose()

    def _deliver(self, message: dict[str, Any]) -> None:
        if message["event"] == "started":
            return
        if message["event"] == "full":
            if message["id"] in self._full:
                self._full[message["id"]]()
            return
        if message["event"] == "gone":
            if message["id"] in self._gone:
                self._gone.pop(message["id"]).set_result(message)
            return
        if message["event"] == "chunk":
            arrivals = self._arrivals.get(message["id"])
            if arrivals is not None and (kept := arrivals.take(message)):
                self.post({"op": "kept", "target": message["id"], **kept})
            return
        self._full.pop(message["id"], None)
        self._gone.pop(message["id"], None)
        futures = self._exits if message["event"] == "exit" else self._waiting
        future = futures.pop(message["id"], None)
        if future is None or future.done():
            return
        if message["event"] == "exit" and (arrivals := self._arrivals.pop(message["id"], None)) is not None:
            task = asyncio.create_task(self._arrived(message, arrivals, future))
            self._settling.add(task)
            task.add_done_callback(self._settling.discard)
        else:
            future.set_result(message)

    async def _arrived(
        self, message: dict[str, Any], arrivals: Arrivals, ended: asyncio.Future[dict[str, Any]]
    ) -> None:
        """Tell how a process ended once all that it wrote is here; what is not is its error."""
        try:
            missing = await self._settle(message["id"], arrivals, message)
        except Exception as problem:  # no thread can be started, say: who waits for the process is answered
            missing = f"whether all came from its node is not known: {problem}"
        if missing is not None:
            error = message.get("error")
            message = {**message, "error": f"{error}; {missing}" if error else missing}
        if not ended.done():
            ended.set_result(message)

    async def _settle(self, number: int, arrivals: Arrivals, message: Mapping[str, Any]) -> str | None:
        """Check what has arrived of a request's files, and let them go on the node; return what could not be had."""

        async def fetch(name: str) -> object:
            again = next(self._numbers)
            self._arrivals[again] = arrivals
            try:
                reply = await self._reply("fetch", self._asked(again, "fetch", {"target": number, "file": name}))
            finally:
                self._arrivals.pop(again, None)
            return reply.get("files")

        missing = await arrivals.settle(message.get("files"), fetch)
        self.post({"op": "arrived", "target": number})
        return missing

    def _lose(self) -> None:
        """Answer everything that waits: the agent is gone."""
        for future in [*self._waiting.values(), *self._exits.values()]:
            if not future.done():
                future.set_result({"event": "lost", "cause": "lost", "error": self._how})
        self._waiting.clear()
        self._exits.clear()
        self._gone.clear()
        self._full.clear()
        self._arrivals.clear()


def _beside(launch: Launch) -> dict[str, str]:
    """Return the files that ranks write beside, where these are another process's."""
    if launch.group is None or launch.group == launch.files:
        return {}
    return {"group_events": str(launch.group.events), "group_steps": str(launch.group.steps)}
