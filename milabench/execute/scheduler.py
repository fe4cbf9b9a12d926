"""Run a plan: one trial after the other, or those on other devices beside it; each job's processes together.

Everything is noted as it happens. Time is the event loop's, so that a loop with another clock has other times.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from types import MappingProxyType
from typing import Any, Protocol, TypeVar

from milabench.errors import HostLost, PreflightError, UserError
from milabench.execute.hosts import Host, Launch, Process
from milabench.execute.interrupt import Interrupt
from milabench.execute.places import Place, overlap, places
from milabench.outcome import GOOD, Cause, Exit, Outcome, worst
from milabench.plan.types import Command, Job, Plan, Trial
from milabench.rundir import Files

T = TypeVar("T")
_LOCK_POLL_S = 0.5
_NONE: Mapping[str, str] = MappingProxyType({})


class Records(Protocol):
    """Where a phase keeps what its processes write and what came of them: a run directory, or a folder of logs."""

    def files(self, tag: str) -> Files: ...

    def started(self, trial: Trial) -> None: ...

    def begin(self, command: Command, config: Mapping[str, Any]) -> int: ...

    def seal(self, command: Command, ended: Exit) -> Outcome: ...

    def note(self, trial: Trial, outcome: Outcome, neighbours: Sequence[str] = ()) -> None: ...

    def log_tail(self, tag: str, lines: int) -> list[str]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialStarted:
    trial: Trial
    index: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandStarted:
    command: Command
    job: Job


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandEnded:
    command: Command
    outcome: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Another milabench holds the lock of what a job needs."""

    job: Job


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialEnded:
    """``done_before``: nothing had to be done. ``neighbours``: the trials that ran at the same time for a while."""

    trial: Trial
    outcome: Outcome
    done_before: bool = False
    neighbours: tuple[str, ...] = ()


Happening = TrialStarted | CommandStarted | CommandEnded | Waiting | TrialEnded


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a plan is executed with: hosts by node name, where results go, the values of secrets that jobs name.

    ``bases``: the node that folders are staged on for another, of nodes that have the same base.
    ``side_by_side``: trials that share no device may run at the same time.
    """

    hosts: Mapping[str, Host]
    records: Records
    interrupt: Interrupt
    secrets: Mapping[str, str] = field(default_factory=dict)
    bases: Mapping[str, str] = field(default_factory=dict)
    side_by_side: bool = False


async def execute(plan: Plan, setting: Setting, blocked: Mapping[str, str] = _NONE) -> AsyncIterator[Happening]:
    """Run the trials of a plan and yield what happens; a failing trial never stops the others.

    They begin in order, each when none runs that it shares a device with (side by side) or when none runs at all.
    ``blocked`` names benchmarks that cannot run, with the reason: they are noted as failed.
    """
    happenings: asyncio.Queue[Happening | _Broken] = asyncio.Queue()
    runner = _Runner(plan, setting, happenings, blocked)
    waiting, running = list(enumerate(plan.trials)), dict[str, _Running]()
    try:
        while True:
            for index, trial in _startable(waiting, running, setting):
                waiting.remove((index, trial))
                running[trial.id] = _beside(trial, running, asyncio.create_task(runner.trial(trial, index)))
            if not running:
                return
            happening = await happenings.get()
            if isinstance(happening, TrialEnded):
                happening = _noted(happening, running, setting)
            if isinstance(happening, _Broken):
                raise happening.error
            yield happening
    except Exception:
        await _break_off(running, setting, happenings)
        raise
    finally:
        for each in running.values():
            each.task.cancel()


def _noted(ended: TrialEnded, running: dict[str, _Running], setting: Setting) -> TrialEnded:
    ended = replace(ended, neighbours=tuple(sorted(running.pop(ended.trial.id).met)))
    setting.records.note(ended.trial, ended.outcome, ended.neighbours)
    return ended


async def _break_off(
    running: dict[str, _Running], setting: Setting, happenings: asyncio.Queue[Happening | _Broken]
) -> None:
    """End what runs beside a trial that cannot go on, and write down of it what can be."""
    setting.interrupt.break_off()
    if tasks := [each.task for each in running.values()]:
        await asyncio.wait(tasks)
    while not happenings.empty():
        happening = happenings.get_nowait()
        if isinstance(happening, TrialEnded):
            with suppress(OSError, UserError):  # the plan ends because of one of these
                _noted(happening, running, setting)


@dataclass(frozen=True, slots=True)
class _Running:
    """A trial that runs, what it uses, and the trials it has met."""

    task: asyncio.Task[None]
    places: frozenset[Place]
    met: set[str]


@dataclass(frozen=True, slots=True)
class _Broken:
    """What ended a trial's task is no outcome."""

    error: BaseException


def _startable(
    waiting: Sequence[tuple[int, Trial]], running: Mapping[str, _Running], setting: Setting
) -> list[tuple[int, Trial]]:
    """Return what can begin now, in order: with ``side_by_side`` each that shares nothing with what runs."""
    if setting.interrupt.asked or not waiting:
        return []
    if not setting.side_by_side:
        return [] if running else [waiting[0]]
    taken = [each.places for each in running.values()]
    found: list[tuple[int, Trial]] = []
    for index, trial in waiting:
        used = places(trial)
        if not any(overlap(used, other) for other in taken):
            found.append((index, trial))
        taken.append(used)  # those before it in the plan go first, so that nothing waits for ever
    return found


def _beside(trial: Trial, running: Mapping[str, _Running], task: asyncio.Task[None]) -> _Running:
    """Return a trial as it begins to run beside others: they have met."""
    for other in running.values():
        other.met.add(trial.id)
    return _Running(task, places(trial), set(running))


async def _stop(processes: Sequence[Process], cause: Cause) -> None:
    for process in processes:
        await process.stop(cause)


@dataclass(frozen=True, slots=True)
class _Runner:
    plan: Plan
    setting: Setting
    happenings: asyncio.Queue[Happening | _Broken]
    blocked: Mapping[str, str]

    async def trial(self, trial: Trial, index: int) -> None:
        """Run a trial; how it ended is the last that is said of it."""
        try:
            self.setting.records.started(trial)
            await self.happenings.put(TrialStarted(trial=trial, index=index, total=len(self.plan.trials)))
            reason = self.blocked.get(trial.benchmark)
            if reason is not None:
                ended = TrialEnded(trial=trial, outcome=Outcome(kind="failed", reason=reason, tag=trial.id))
            else:
                ended = await self._jobs(trial)
            await self.happenings.put(ended)
        except Exception as error:
            await self.happenings.put(_Broken(error))

    async def _jobs(self, trial: Trial) -> TrialEnded:
        results = await self._all([self._job(trial, job) for job in trial.jobs])
        outcomes = [outcome for outcomes in results if outcomes is not None for outcome in outcomes]
        done_before = all(outcomes is None for outcomes in results)
        return TrialEnded(
            trial=trial,
            outcome=worst(outcomes) if outcomes else Outcome(kind="ok", tag=trial.id),
            done_before=done_before,
        )

    async def _all(self, work: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
        """Await all of it. When a part breaks, what runs is ended and awaited before that is told."""
        if not work:
            return []
        tasks = [asyncio.ensure_future(each) for each in work]
        try:
            _, left = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            if left:
                self.setting.interrupt.break_off()
                await asyncio.wait(left)
        finally:
            for task in tasks:
                task.cancel()
        return [task.result() for task in tasks]

    async def _job(self, trial: Trial, job: Job) -> list[Outcome] | None:
        """Run one job; None when what it makes is there already. What a node cannot do is the job's outcome."""
        host = self.setting.hosts[job.commands[0].node]
        try:
            if job.once is not None:
                return await self._needed_once(host, f"{trial.id}/{job.tag}", job, asdict(job.once))
            return await self._staged(job)
        except HostLost as error:
            return [Outcome(kind="lost", reason=str(error), tag=job.tag)]
        except PreflightError as error:
            return [Outcome(kind="failed", reason=str(error), tag=job.tag)]

    async def _needed_once(self, host: Host, target: str, job: Job, once: dict[str, Any]) -> list[Outcome] | None:
        """Run a job under its lock, unless its record says that all has been done; record it if all went well."""
        while (state := (await host.request("begin", target=target, once=once))["state"]) == "locked":
            await self.happenings.put(Waiting(job=job))
            await asyncio.sleep(_LOCK_POLL_S)
            if self.setting.interrupt.asked:
                return [Outcome(kind="interrupted", reason="interrupted by the operator", tag=job.tag)]
        if state == "done":
            return None
        outcomes: list[Outcome] = []
        try:
            outcomes = await self._staged(job)
        finally:
            if not any(outcome.kind == "lost" for outcome in outcomes):  # the agent that had the lock is gone with it
                done = bool(outcomes) and all(outcome.kind in GOOD for outcome in outcomes)
                await host.request("end", target=target, done=done)
        return outcomes

    async def _staged(self, job: Job) -> list[Outcome]:
        """Copy the folders a job needs to each base of its nodes, then run its commands."""
        if job.staged:
            await self._stage(job)
        if job.sequence:
            return await self._in_order(job)
        return await self._together(job, job.commands, job.deadline_s)

    async def _stage(self, job: Job) -> None:
        """Copy folders to each base; what goes wrong with one ends nothing but this job."""
        owners = dict.fromkeys(self.setting.bases.get(command.node, command.node) for command in job.commands)
        staged = [asdict(each) for each in job.staged]
        requests = [self.setting.hosts[node].request("stage", staged=staged) for node in owners]
        for reply in await asyncio.gather(*requests, return_exceptions=True):
            if isinstance(reply, BaseException):
                raise reply

    async def _in_order(self, job: Job) -> list[Outcome]:
        """Run the commands one after the other, all within the job's deadline, until one fails."""
        outcomes: list[Outcome] = []
        left_s = job.deadline_s
        for command in job.commands:
            began = asyncio.get_running_loop().time()
            outcomes += await self._together(job, (command,), left_s)
            if outcomes[-1].kind not in GOOD:
                break
            left_s = None if left_s is None else max(left_s - (asyncio.get_running_loop().time() - began), 0.001)
        return outcomes

    async def _together(self, job: Job, commands: Sequence[Command], deadline_s: float | None) -> list[Outcome]:
        """Run the commands at the same time, as one.

        When one fails by itself the others are ended; when one says that the group has measured enough, all are; and
        services are when nobody is left whom they serve. The outcomes come in the order of ending, so that a failure
        comes before those that follow from it.
        """
        processes = await self._started(job, commands, deadline_s)
        served = sum(not command.service for command in commands)
        outcomes: list[tuple[float, Outcome]] = []

        async def ended(command: Command, process: Process) -> None:
            nonlocal served
            outcome, ended_s = await self._ended(command, process)
            outcomes.append((ended_s, outcome))
            if outcome.kind in ("failed", "killed", "timeout", "lost"):
                await _stop([other for _, other in processes], "sibling")
            served -= not command.service
            if served == 0:
                await _stop([other for each, other in processes if each.service], "limit")

        async def full(process: Process) -> None:
            await process.full()
            await _stop([other for _, other in processes], "limit")

        watches = [asyncio.create_task(full(process)) for _, process in processes]
        try:
            await self._all([ended(command, process) for command, process in processes])
        finally:
            for watch in watches:
                watch.cancel()
        if len({command.node for command in commands}) == 1:  # else each has its own clock: in the order of telling
            outcomes.sort(key=lambda each: each[0])
        return [outcome for _, outcome in outcomes]

    async def _started(
        self, job: Job, commands: Sequence[Command], deadline_s: float | None
    ) -> list[tuple[Command, Process]]:
        """Start processes that live and die together: when one cannot be, those before it are ended, and sealed."""
        processes: list[tuple[Command, Process]] = []
        try:
            for command in commands:
                processes.append((command, await self._start(job, command, deadline_s)))
        except Exception:
            await _stop([process for _, process in processes], "sibling")
            await self._all([self._ended(command, process) for command, process in processes])
            raise
        return processes

    async def _start(self, job: Job, command: Command, deadline_s: float | None) -> Process:
        files = self.setting.records.files(command.tag)
        config = self.plan.config_of(command)
        first_seq = self.setting.records.begin(command, config)
        env = {name: self.setting.secrets[name] for name in job.secrets if name in self.setting.secrets}
        env |= {"MILABENCH_CONFIG": json.dumps(config)}
        launch = Launch(
            phase=self.plan.phase,
            job=job,
            command=command,
            files=files,
            env=env,
            first_seq=first_seq,
            deadline_s=deadline_s,
        )
        try:
            process = await self.setting.hosts[command.node].start(launch)
        except HostLost as error:
            self.setting.records.seal(command, Exit(tag=command.tag, cause="lost", error=str(error)))
            raise
        await self.setting.interrupt.watch(process)
        await self.happenings.put(CommandStarted(command=command, job=job))
        return process

    async def _ended(self, command: Command, process: Process) -> tuple[Outcome, float]:
        """Wait for a process; return what came of it and when it ended, which it may be told of late."""
        ended = await process.wait()
        self.setting.interrupt.unwatch(process)
        outcome = self.setting.records.seal(command, ended)
        await self.happenings.put(CommandEnded(command=command, outcome=outcome))
        return outcome, -math.inf if ended.ended_s is None else ended.ended_s  # it has never run
