"""Processes that run at the same time, as one: started, listened for, ended with each other, sealed."""

from __future__ import annotations

import asyncio
import itertools
import math
import re
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from milabench.errors import HostLost
from milabench.execute.binding import Binding
from milabench.execute.firsts import groups, silence
from milabench.execute.happenings import CommandEnded, CommandStarted, Happening
from milabench.execute.hosts import Process
from milabench.execute.interrupt import Interrupt
from milabench.execute.ports import Ports, leader_of
from milabench.execute.ready import unready
from milabench.execute.setting import Setting
from milabench.outcome import Cause, Exit, Outcome, Seen, outcome
from milabench.plan.types import Command, Job, Plan

T = TypeVar("T")
_OF_ALL = ("failed", "killed", "timeout", "lost")  # what ends so ends those that it runs with
_UNSEEN = Seen(expects_rate=False)
_LAST_LINES = 3  # of a server that is not ready
# What processes say last that end because another one did: that may have closed its connections before it was gone.
_LOST_PEER = re.compile(
    r"connection\s?(was\s|likely\s)*(reset|closed|aborted|refused|lost)|broken\s?pipe|EOFError|socket\s(recv|send|closed)"
    r"|remote (process|peer|error|end)|ncclRemoteError",
    re.IGNORECASE,
)


async def all_of(work: Sequence[Coroutine[Any, Any, T]], interrupt: Interrupt) -> list[T]:
    """Await all of it. When a part breaks, what runs is ended and awaited before that is told."""
    if not work:
        return []
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        _, left = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        if left:
            interrupt.break_off()
            await asyncio.wait(left)
    finally:
        for task in tasks:
            task.cancel()
    return [task.result() for task in tasks]


@dataclass(frozen=True, slots=True, kw_only=True)
class Together:
    """The ``commands`` of a job that run at the same time, within ``deadline_s``.

    When one fails by itself the others are ended; when one says that the group has measured enough, all are; services
    are when nobody is left whom they serve. A service must be ready before what comes after it starts, and of a group
    every rank must be heard of in time.
    """

    plan: Plan
    setting: Setting
    ports: Ports
    tell: Callable[[Happening], Awaitable[None]]
    job: Job
    commands: Sequence[Command]
    deadline_s: float | None
    _processes: list[tuple[Command, Process]] = field(default_factory=list)
    _enough: asyncio.Event = field(default_factory=asyncio.Event)  # is measured, as the leader of a group says
    _telling: Iterator[int] = field(default_factory=itertools.count)  # in which order ends are told
    _reasons: dict[str, str] = field(default_factory=dict)  # by tag: what was not heard of those that are ended for it

    async def run(self) -> list[Outcome]:
        """Return what came of them, in the order of ending: a failure comes before those that follow from it.

        One that says it lost another comes last: that one's end may be seen later than its connections were closed.
        """
        async with self.ports.of(self.commands) as ports:
            await self._start_all(ports)
            listening = [asyncio.create_task(each) for each in self._listening(ports)]
            try:
                outcomes = await self._all_ended()
            finally:
                for task in listening:
                    task.cancel()
            for found in await asyncio.gather(*listening, return_exceptions=True):
                if isinstance(found, Exception):  # else it was cancelled, or has done what it had to
                    raise found
            return outcomes

    # Starting ----------------------------------------------------------------------------------------------------

    async def _start_all(self, ports: Mapping[str, int]) -> None:
        """Start them in order, the ranks of a group without a pause; what cannot be ends, and seals, those before."""
        try:
            for _, members in itertools.groupby(self.commands, leader_of):
                started = [await self._begun(command, ports) for command in members]
                for command, process in started:
                    if why := await self._why_unready(command, process):
                        self._reasons[command.tag] = f"{why}; {self._last_of(command)}"
                        await process.stop("silent", why=f"it {why}")
                        return
        except Exception:
            await self._stop("sibling")
            await all_of([self._ended(*each) for each in self._processes], self.setting.interrupt)
            raise

    async def _begun(self, command: Command, ports: Mapping[str, int]) -> tuple[Command, Process]:
        self._processes.append((command, await self._start(command, ports)))
        return self._processes[-1]

    async def _start(self, command: Command, ports: Mapping[str, int]) -> Process:
        binding = Binding(
            phase=self.plan.phase,
            job=self.job,
            records=self.setting.records,
            secrets=self.setting.secrets,
            deadline_s=self.deadline_s,
            full=self._enough.set,
        )
        launch = binding.launch(command, self.plan.config_of(command), ports.get(leader_of(command)))
        try:
            process = await self.setting.hosts[command.node].start(launch)
        except HostLost as error:
            cause: Cause = "interrupt" if self.setting.interrupt.asked else "lost"
            self.setting.records.seal(command, Exit(tag=command.tag, cause=cause, error=str(error)))
            raise
        await self.setting.interrupt.watch(process)
        await self.tell(CommandStarted(command=command, job=self.job))
        return process

    async def _why_unready(self, command: Command, process: Process) -> str:
        """Wait until a service is ready; return why it is not within its time."""
        if command.ready is None:
            return ""
        host, files = self.setting.hosts[command.node], self.setting.records.files(command.tag)
        looking = asyncio.ensure_future(unready(command, command.ready, host, files))
        ended = asyncio.ensure_future(process.wait())
        try:
            await asyncio.wait((looking, ended), return_when=asyncio.FIRST_COMPLETED)
            return "ended before it was ready" if ended.done() else looking.result()
        finally:
            looking.cancel()
            ended.cancel()

    def _last_of(self, command: Command) -> str:
        said = " | ".join(line.strip() for line in self.setting.records.log_tail(command.tag, _LAST_LINES))
        return f"it printed {'nothing' if not said else f'last: {said[-300:]}'}"

    # While they run ----------------------------------------------------------------------------------------------

    def _listening(self, ports: Mapping[str, int]) -> list[Coroutine[Any, Any, None]]:
        within_s = self.job.first_event_s
        if within_s is None:
            return [self._full()]
        found = groups([command for command, _ in self._processes])
        return [self._full(), *(self._heard(members, ports.get(tag), within_s) for tag, members in found.items())]

    async def _full(self) -> None:
        """End all when enough is measured."""
        await self._enough.wait()
        await self._stop("limit")

    async def _heard(self, members: Sequence[Command], port: int | None, within_s: float) -> None:
        """End all where nothing was heard in time of some of a group's ranks: those that have them fail by it."""
        found = await silence(members, self.setting.records, self.setting.hosts, port, within_s)
        if found is None:
            return
        self._reasons.update(dict.fromkeys(found.tags, found.reason))
        for command, process in self._processes:
            await process.stop("silent" if command.tag in found.tags else "sibling")

    async def _all_ended(self) -> list[Outcome]:
        served = sum(not command.service for command, _ in self._processes)
        outcomes: list[tuple[tuple[float, int], Outcome]] = []

        async def ended(command: Command, process: Process) -> None:
            nonlocal served
            result, order = await self._ended(command, process)
            outcomes.append((order, result))
            if result.kind in _OF_ALL:
                await self._stop("sibling")
            served -= not command.service
            if served == 0:
                await self._stop("limit", services=True)

        await all_of([ended(*each) for each in self._processes], self.setting.interrupt)
        outcomes.sort(key=lambda each: (_lost_another(each[1]), each[0]))
        return [result for _, result in outcomes]

    async def _stop(self, cause: Cause, *, services: bool = False) -> None:
        """End all, or the services alone."""
        for command, process in self._processes:
            if command.service or not services:
                await process.stop(cause)

    async def _ended(self, command: Command, process: Process) -> tuple[Outcome, tuple[float, int]]:
        """Wait for a process; return what came of it and when it ended, which may be told late, to be sorted by."""
        gone = self._explained(await process.gone())
        number = next(self._telling)
        if outcome(gone, _UNSEEN).kind in _OF_ALL:  # whatever it wrote, which may take a while to arrive
            await self._stop("sibling")
        await self._members_ended(command, gone)
        ended = self._explained(await process.wait())
        self.setting.interrupt.unwatch(process)
        result = self.setting.records.seal(command, ended)
        await self.tell(CommandEnded(command=command, outcome=result))
        if len({each.node for each in self.commands}) > 1:  # each has its own clock: in the order of telling
            return result, (0.0, number)
        return result, (-math.inf if ended.ended_s is None else ended.ended_s, number)  # it has never run

    async def _members_ended(self, command: Command, ended: Exit) -> None:
        """Wait for the further nodes of a group that a process leads: what their ranks did counts for it.

        Where it did not end well they are ended now: nobody has judged it yet.
        """
        members = [
            process
            for other, process in self._processes
            if other is not command and other.ranks is not None and other.ranks.leader == command.tag
        ]
        if members and (ended.code != 0 or ended.cause not in (None, "limit")):
            await self._stop("limit" if ended.cause == "limit" else "sibling")
        for member in members:
            await member.wait()

    def _explained(self, ended: Exit) -> Exit:
        """Return how a process ended with what was not heard of it, where it did not end otherwise."""
        reason = self._reasons.get(ended.tag)
        if reason is None or not (ended.cause == "silent" or (ended.cause is None and ended.code == 0)):
            return ended
        return replace(ended, cause="silent", reason=reason)


def _lost_another(ended: Outcome) -> bool:
    return ended.kind == "failed" and _LOST_PEER.search(ended.reason or "") is not None
