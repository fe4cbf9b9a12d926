"""Run a plan: one trial after the other, each job's processes together, everything noted as it happens."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any, Protocol

from milabench.errors import HostLost, PreflightError
from milabench.execute.hosts import Host, Launch, Process
from milabench.outcome import GOOD, Cause, Exit, Outcome, worst
from milabench.plan.types import Command, Job, Plan, Trial
from milabench.rundir import Files

_LOCK_POLL_S = 0.5
_GRACE_S: Mapping[Cause, float] = {"limit": 2.0, "sibling": 5.0}
_NONE: Mapping[str, str] = MappingProxyType({})


class Records(Protocol):
    """Where a phase keeps what its processes write and what came of them: a run directory, or a folder of logs."""

    def files(self, tag: str) -> Files: ...

    def begin(self, command: Command, config: Mapping[str, Any]) -> int: ...

    def seal(self, command: Command, ended: Exit) -> Outcome: ...

    def note(self, trial: Trial, outcome: Outcome) -> None: ...

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
    """``done_before``: nothing had to be done."""

    trial: Trial
    outcome: Outcome
    done_before: bool = False


Happening = TrialStarted | CommandStarted | CommandEnded | Waiting | TrialEnded


class Interrupt:
    """How the operator's wish to stop reaches a running plan. The first ``set`` is gentle, a second one is not."""

    def __init__(self) -> None:
        self.asked = False
        self._processes: set[Process] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def set(self) -> None:
        grace_s = 0.0 if self.asked else 5.0
        self.asked = True
        for process in self._processes:
            task = asyncio.ensure_future(process.stop("interrupt", grace_s))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def watch(self, process: Process) -> None:
        self._processes.add(process)

    def unwatch(self, process: Process) -> None:
        self._processes.discard(process)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a plan is executed with: hosts by node name, where results go, the values of secrets that jobs name."""

    hosts: Mapping[str, Host]
    records: Records
    interrupt: Interrupt
    secrets: Mapping[str, str] = field(default_factory=dict)


async def execute(plan: Plan, setting: Setting, blocked: Mapping[str, str] = _NONE) -> AsyncIterator[Happening]:
    """Run the trials of a plan in order and yield what happens; a failing trial never stops the others.

    ``blocked`` names benchmarks that cannot run, with the reason: they are noted as failed.
    """
    for index, trial in enumerate(plan.trials):
        if setting.interrupt.asked:
            return
        yield TrialStarted(trial=trial, index=index, total=len(plan.trials))
        reason = blocked.get(trial.benchmark)
        if reason is not None:
            ended = TrialEnded(trial=trial, outcome=Outcome(kind="failed", reason=reason, tag=trial.id))
        else:
            happenings: asyncio.Queue[Happening] = asyncio.Queue()
            runner = _Runner(plan, setting, happenings)
            task = asyncio.create_task(runner.trial(trial))
            async for happening in _until_done(task, happenings):
                yield happening
            ended = await task
        setting.records.note(trial, ended.outcome)
        yield ended


async def _until_done(task: asyncio.Task[TrialEnded], queue: asyncio.Queue[Happening]) -> AsyncIterator[Happening]:
    """Yield what a task puts into a queue until the task has ended and the queue is empty."""
    while not (task.done() and queue.empty()):
        getter = asyncio.ensure_future(queue.get())
        await asyncio.wait({getter, task}, return_when=asyncio.FIRST_COMPLETED)
        if getter.done():
            yield getter.result()
        else:
            getter.cancel()


async def _stop(processes: Sequence[Process], cause: Cause) -> None:
    for process in processes:
        await process.stop(cause, _GRACE_S[cause])


@dataclass(frozen=True, slots=True)
class _Runner:
    plan: Plan
    setting: Setting
    happenings: asyncio.Queue[Happening]

    async def trial(self, trial: Trial) -> TrialEnded:
        results = await asyncio.gather(*(self._job(trial, job) for job in trial.jobs))
        outcomes = [outcome for outcomes in results if outcomes is not None for outcome in outcomes]
        done_before = all(outcomes is None for outcomes in results)
        return TrialEnded(
            trial=trial,
            outcome=worst(outcomes) if outcomes else Outcome(kind="ok", tag=trial.id),
            done_before=done_before,
        )

    async def _job(self, trial: Trial, job: Job) -> list[Outcome] | None:
        """Run one job; None when what it makes is there already. What a node cannot do is the job's outcome."""
        host = self.setting.hosts[job.commands[0].node]
        try:
            if job.once is not None:
                return await self._needed_once(host, f"{trial.id}/{job.tag}", job, asdict(job.once))
            return await self._staged(host, job)
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
            outcomes = await self._staged(host, job)
        finally:
            done = bool(outcomes) and all(outcome.kind in GOOD for outcome in outcomes)
            await host.request("end", target=target, done=done)
        return outcomes

    async def _staged(self, host: Host, job: Job) -> list[Outcome]:
        """Copy the folders a job needs, then run its commands."""
        if job.staged:
            await host.request("stage", staged=[asdict(each) for each in job.staged])
        if job.sequence:
            return await self._in_order(job)
        return await self._together(job, job.commands, job.deadline_s)

    async def _in_order(self, job: Job) -> list[Outcome]:
        """Run the commands one after the other, all within the job's deadline, until one fails."""
        outcomes: list[Outcome] = []
        left_s = job.deadline_s
        for command in job.commands:
            began = time.monotonic()
            outcomes += await self._together(job, (command,), left_s)
            if outcomes[-1].kind not in GOOD:
                break
            left_s = None if left_s is None else max(left_s - (time.monotonic() - began), 0.001)
        return outcomes

    async def _together(self, job: Job, commands: Sequence[Command], deadline_s: float | None) -> list[Outcome]:
        """Run the commands at the same time, as one.

        When one fails by itself the others are ended; when one says that the group has measured enough, all are; and
        services are when nobody is left whom they serve.
        """
        processes = [(command, await self._start(job, command, deadline_s)) for command in commands]
        served = sum(not command.service for command in commands)

        async def ended(command: Command, process: Process) -> Outcome:
            nonlocal served
            outcome = await self._ended(command, process)
            if outcome.kind in ("failed", "killed", "timeout", "lost"):
                await _stop([other for _, other in processes], "sibling")
            served -= not command.service
            if served == 0:
                await _stop([other for each, other in processes if each.service], "limit")
            return outcome

        async def full(process: Process) -> None:
            await process.full()
            await _stop([other for _, other in processes], "limit")

        watches = [asyncio.create_task(full(process)) for _, process in processes]
        try:
            return list(await asyncio.gather(*(ended(command, process) for command, process in processes)))
        finally:
            for watch in watches:
                watch.cancel()

    async def _start(self, job: Job, command: Command, deadline_s: float | None) -> Process:
        files = self.setting.records.files(command.tag)
        config = self.plan.config_of(command)
        first_seq = self.setting.records.begin(command, config)
        env = {name: self.setting.secrets[name] for name in job.secrets if name in self.setting.secrets}
        env |= {"MILABENCH_CONFIG": json.dumps(config)}
        if command.metrics != "none":
            env |= {
                "MILABENCH_EVENTS": str(files.events),
                "MILABENCH_STEPS": str(files.steps),
                "MILABENCH_SEQ": str(first_seq),
            }
        launch = Launch(
            phase=self.plan.phase,
            job=job,
            command=command,
            files=files,
            env=env,
            first_seq=first_seq,
            deadline_s=deadline_s,
        )
        process = await self.setting.hosts[command.node].start(launch)
        self.setting.interrupt.watch(process)
        if self.setting.interrupt.asked:
            await process.stop("interrupt")
        await self.happenings.put(CommandStarted(command=command, job=job))
        return process

    async def _ended(self, command: Command, process: Process) -> Outcome:
        ended = await process.wait()
        self.setting.interrupt.unwatch(process)
        outcome = self.setting.records.seal(command, ended)
        await self.happenings.put(CommandEnded(command=command, outcome=outcome))
        return outcome
