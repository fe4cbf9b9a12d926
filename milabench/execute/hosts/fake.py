"""A host without processes: every command ends as a script says, in virtual time. Public, for tests of schedules."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from benchmate import wire
from milabench.execute.hosts import Launch
from milabench.outcome import Cause, Exit

FULL = Exit(tag="full")  # a script's answer: the process leads a group that has measured enough, and waits
Script = Callable[[Launch], Exit | None]  # None: runs until it is stopped


class FakeHost:
    """Keep what was asked in ``launched`` and ``requests``; answer requests from ``replies``."""

    def __init__(self, script: Script | None = None, replies: Mapping[str, dict[str, Any]] | None = None) -> None:
        self.launched: list[str] = []
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self._script = script or measured
        self._replies = {
            "stage": {"event": "staged"},
            "begin": {"event": "begun", "state": "needed"},
            **(replies or {}),
        }

    async def start(self, launch: Launch) -> FakeProcess:
        self.launched.append(launch.command.tag)
        return FakeProcess(launch, self._script(launch))

    async def request(self, op: str, **fields: Any) -> dict[str, Any]:
        self.requests.append((op, fields))
        return self._replies.get(op, {"event": "done"})

    async def close(self) -> None:
        """Nothing is open."""


class FakeProcess:
    """A process that has ended already, or that ends when it is stopped."""

    def __init__(self, launch: Launch, ended: Exit | None) -> None:
        self._tag = launch.command.tag
        self._ended: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        self._full = asyncio.Event()
        if ended is FULL:
            self._full.set()
        elif ended is not None:
            self._ended.set_result(ended)

    async def stop(self, cause: Cause, grace_s: float = 5.0) -> None:
        del grace_s
        if not self._ended.done():
            self._ended.set_result(Exit(tag=self._tag, signal=15, cause=cause))

    async def full(self) -> None:
        await self._full.wait()

    async def wait(self) -> Exit:
        return await asyncio.shield(self._ended)


def measured(launch: Launch) -> Exit:
    """End well after three steps of a tenth of a second each."""
    if launch.command.metrics != "none":
        steps = wire.StepsWriter(launch.files.steps, unit="items", zero_ns=0)
        for index in range(3):
            steps.append(index * 10**8 + 1, (index + 1) * 10**8 + 1, 10, wire.MEASURED, 0)
        steps.close()
    return Exit(tag=launch.command.tag, code=0, seconds=0.3)
