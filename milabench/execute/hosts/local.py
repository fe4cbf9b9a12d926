"""The agent of this machine: a child process over a pipe, so that what it supervises ends when the runner is killed."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from benchmate.wire import Frames, frame
from milabench.agent import processes
from milabench.errors import HostLost, PreflightError, told
from milabench.execute.hosts import GRACE_S, MONITOR_S, Launch
from milabench.outcome import Cause, Exit

_BOOT = "import sys; sys.path[:0] = {path!r}; from milabench.agent.serve import main; main()"


_ORPHANS_S = 5.0


class LocalHost:
    """A pipe to an agent process on this machine; use as an asynchronous context manager.

    An agent that was killed takes what it ran with it; the next request starts another, which holds the same files
    and monitors the same run.
    """

    def __init__(self, import_path: Sequence[str], environ: Mapping[str, str]) -> None:
        self._import_path, self._environ = list(import_path), dict(environ)
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._exits: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._full: dict[int, asyncio.Event] = {}
        self._held: dict[str, None] = {}
        self._monitored: dict[str, Any] | None = None
        self._reviving = asyncio.Lock()
        self._child: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None

    async def __aenter__(self) -> LocalHost:
        processes.become_subreaper()  # what outlives an agent that was killed becomes ours to end
        await self._start_agent()
        return self

    async def _start_agent(self) -> None:
        others = processes.children(os.getpid())
        try:
            self._child = await self._spawn()
        except (OSError, RuntimeError) as error:  # no more descriptors, processes; threads
            raise PreflightError(f"the agent that starts processes cannot be started: {told(error)}") from None
        self._reader = asyncio.create_task(self._read(self._child, others))

    async def _spawn(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *("-I", "-S", "-c", _BOOT.format(path=self._import_path)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=self._environ,
            start_new_session=True,  # Ctrl-C is for the runner, which then says what to end
        )

    async def _revive(self) -> None:
        """Start another agent where there is none any more; it holds what the one before held. Raises HostLost."""
        async with self._reviving:
            if self._reader is None or not self._reader.done():
                return
            try:
                await self._start_agent()
            except PreflightError as error:
                raise HostLost(f"the agent was killed, and {error}") from None
            for path in self._held:
                if not (await self._ask("hold", path=path))["held"]:
                    raise HostLost(f"the agent was killed, and another holds {path}")
            if self._monitored is not None:
                with suppress(PreflightError, asyncio.TimeoutError):  # what is to be run does not depend on it
                    await asyncio.wait_for(self._ask("monitor", **self._monitored), MONITOR_S)

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is asyncio.CancelledError and self._child is not None:  # nobody waits for anything any more
            processes.kill([*processes.descendants(self._child.pid), self._child.pid], signal.SIGKILL)
        await self.close()

    async def start(self, launch: Launch) -> LocalProcess:
        await self._revive()
        number = next(self._numbers)
        command, job = launch.command, launch.job
        ended = asyncio.get_running_loop().create_future()
        full = asyncio.Event()
        self._exits[number], self._full[number] = ended, full
        fields = {
            "tag": command.tag,
            "argv": list(command.argv),
            "cwd": command.cwd,
            "env": {**command.env, **launch.env},
            "metrics": command.metrics,
            "stop": job.stop,
            "limit": asdict(job.limit),
            "deadline_s": launch.deadline_s,
            "phase": launch.phase,
            "stdout": str(launch.files.stdout),
            "stderr": str(launch.files.stderr),
            "events": str(launch.files.events) if command.metrics != "none" else None,
            "steps": str(launch.files.steps),
            "seq": launch.first_seq,
        }
        self._send({"id": number, "op": "start", **fields})
        return LocalProcess(self, number, command.tag, ended, full)

    async def request(self, op: str, **fields: Any) -> dict[str, Any]:
        await self._revive()
        if op == "monitor":
            self._monitored = fields if fields["path"] is not None else None
        message = await self._ask(op, **fields)
        if message.get("held"):
            self._held[fields["path"]] = None
        return message

    async def _ask(self, op: str, **fields: Any) -> dict[str, Any]:
        number = next(self._numbers)
        reply = self._waiting[number] = asyncio.get_running_loop().create_future()
        self._send({"id": number, "op": op, **fields})
        message: dict[str, Any] = await reply
        if message["event"] == "error":
            raise PreflightError(f"{op} failed: {message['message']}")
        if message["event"] == "lost":
            raise HostLost("the agent that starts processes has ended: what it said stands above")
        return message

    async def close(self) -> None:
        """End the agent by closing its pipe: it ends whatever still runs first."""
        if self._child is None or self._child.stdin is None:
            return
        self._child.stdin.close()
        try:
            await asyncio.wait_for(self._child.wait(), 30)
        except asyncio.TimeoutError:
            processes.kill([*processes.descendants(self._child.pid), self._child.pid], signal.SIGKILL)
        if self._reader:
            await self._reader

    def post(self, message: dict[str, Any]) -> None:
        """Send a request that has no reply."""
        self._send({"id": next(self._numbers), **message})

    def _send(self, message: dict[str, Any]) -> None:
        assert self._child is not None
        assert self._child.stdin is not None
        if self._child.stdin.is_closing():
            self._lose()
            return
        self._child.stdin.write(frame(message))

    async def _read(self, agent: asyncio.subprocess.Process, others: Sequence[int]) -> None:
        assert agent.stdout is not None
        frames = Frames()
        while chunk := await agent.stdout.read(1 << 16):
            for message in frames.feed(chunk):
                self._deliver(message)
        await agent.wait()
        await asyncio.to_thread(processes.end_all, _ORPHANS_S, kept=others)  # none where the agent ended in peace
        self._lose()

    def _deliver(self, message: dict[str, Any]) -> None:
        if message["event"] == "started":
            return
        if message["event"] == "full":
            if message["id"] in self._full:
                self._full[message["id"]].set()
            return
        self._full.pop(message["id"], None)
        futures = self._exits if message["event"] == "exit" else self._waiting
        future = futures.pop(message["id"], None)
        if future is not None and not future.done():
            future.set_result(message)

    def _lose(self) -> None:
        """Answer everything that waits: the agent is gone."""
        for future in [*self._waiting.values(), *self._exits.values()]:
            if not future.done():
                future.set_result({"event": "lost", "cause": "lost"})
        self._waiting.clear()
        self._exits.clear()
        self._full.clear()


class LocalProcess:
    """A process of the local agent."""

    def __init__(
        self, host: LocalHost, number: int, tag: str, ended: asyncio.Future[dict[str, Any]], full: asyncio.Event
    ) -> None:
        self._host, self._number, self._tag, self._ended, self._full = host, number, tag, ended, full

    async def full(self) -> None:
        await self._full.wait()

    async def stop(self, cause: Cause, grace_s: float | None = None) -> None:
        grace_s = GRACE_S[cause] if grace_s is None else grace_s
        self._host.post({"op": "stop", "target": self._number, "cause": cause, "grace_s": grace_s})

    async def wait(self) -> Exit:
        message = await asyncio.shield(self._ended)
        fields = ("code", "signal", "oom", "cause", "error", "max_rss_bytes", "seconds", "ended_s")
        return Exit(tag=self._tag, **{name: message[name] for name in fields if name in message})
