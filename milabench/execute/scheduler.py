"""Run a plan: one trial after the other, or those on other devices beside it; each job's processes together.

Everything is noted as it happens. Time is the event loop's, so that a loop with another clock has other times.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import Any

from milabench.errors import HostLost, PreflightError, UserError
from milabench.execute.happenings import Happening, Travelling, TrialEnded, TrialStarted, Waiting
from milabench.execute.hosts import Host
from milabench.execute.ports import Ports
from milabench.execute.setting import Setting
from milabench.execute.together import Together, all_of
from milabench.execute.travel import Travel
from milabench.execute.uses import Use, overlap, uses
from milabench.outcome import GOOD, Outcome, all_good, worst
from milabench.plan.types import Command, Job, Plan, Trial

_LOCK_POLL_S = 0.5
_NONE: Mapping[str, str] = MappingProxyType({})


async def execute(plan: Plan, setting: Setting, blocked: Mapping[str, str] = _NONE) -> AsyncIterator[Happening]:
    """Run the trials of a plan and yield what happens; a failing trial never stops the others.

    They begin in order, each when none runs that it shares a device with (side by side) or when none runs at all.
    ``blocked`` names benchmarks that cannot run, with the reason: they are noted as failed.
    """
    happenings: asyncio.Queue[Happening | _Broken] = asyncio.Queue()
    runner = _Runner(plan, setting, happenings, blocked, Ports(setting.hosts))
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
    uses: frozenset[Use]
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
    taken = [each.uses for each in running.values()]
    found: list[tuple[int, Trial]] = []
    for index, trial in waiting:
        used = uses(trial)
        if not any(overlap(used, other) for other in taken):
            found.append((index, trial))
        taken.append(used)  # those before it in the plan go first, so that nothing waits for ever
    return found


def _beside(trial: Trial, running: Mapping[str, _Running], task: asyncio.Task[None]) -> _Running:
    """Return a trial as it begins to run beside others: they have met."""
    for other in running.values():
        other.met.add(trial.id)
    return _Running(task, uses(trial), set(running))


@dataclass(frozen=True, slots=True)
class _Runner:
    plan: Plan
    setting: Setting
    happenings: asyncio.Queue[Happening | _Broken]
    blocked: Mapping[str, str]
    ports: Ports

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
        results = await all_of([self._job(trial, job) for job in trial.jobs], self.setting.interrupt)
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
            return await self._staged(job)
        except HostLost as error:
            return [_interrupted(job) if self._asked else Outcome(kind="lost", reason=str(error), tag=job.tag)]
        except PreflightError as error:
            return [Outcome(kind="failed", reason=str(error), tag=job.tag)]

    @property
    def _asked(self) -> bool:
        return self.setting.interrupt.asked

    async def _needed_once(self, host: Host, target: str, job: Job, once: dict[str, Any]) -> list[Outcome] | None:
        """Run a job under its lock, unless its record says that all has been done; record it if all went well."""
        while (state := (await host.request("begin", target=target, once=once))["state"]) == "locked":
            await self.happenings.put(Waiting(job=job))
            await asyncio.sleep(_LOCK_POLL_S)
            if self._asked:
                return [_interrupted(job)]
        if state == "done":
            return None
        outcomes: list[Outcome] = []
        known = True
        try:
            outcomes = await self._staged(job)
        finally:
            done = bool(outcomes) and all_good(outcomes)
            if not any(outcome.kind == "lost" for outcome in outcomes):  # the agent that had the lock is gone with it
                known = (await host.request("end", target=target, done=done)).get("known", True)
        if done and not known:
            return [Outcome(kind="lost", reason="the agent went away before it was recorded as done", tag=job.tag)]
        return outcomes

    async def _staged(self, job: Job) -> list[Outcome]:
        """Copy the folders a job needs to each base of its nodes, then run its commands."""
        if job.staged:
            await self._stage(job)
        if job.sequence:
            return await self._in_order(job)
        return await self._together(job, job.commands, job.deadline_s)

    async def _together(self, job: Job, commands: Sequence[Command], deadline_s: float | None) -> list[Outcome]:
        """Run commands at the same time, as one."""
        return await Together(
            plan=self.plan,
            setting=self.setting,
            ports=self.ports,
            tell=self.happenings.put,
            job=job,
            commands=commands,
            deadline_s=deadline_s,
        ).run()

    async def _stage(self, job: Job) -> None:
        """Copy folders to each base; what goes wrong with one ends nothing but this job."""
        owners = dict.fromkeys(self.setting.bases.get(command.node, command.node) for command in job.commands)
        staged = [asdict(each) for each in job.staged]
        async with Travel(f"what {job.tag} needs", self._tell_of_travel) as travel:
            requests = [self._staged_on(node, staged, travel) for node in owners]
            for reply in await asyncio.gather(*requests, return_exceptions=True):
                if isinstance(reply, BaseException):
                    raise reply

    def _tell_of_travel(self, line: str) -> None:
        self.happenings.put_nowait(Travelling(told=line))

    async def _staged_on(self, node: str, staged: Sequence[Mapping[str, Any]], travel: Travel) -> None:
        """Copy folders to one base; what goes wrong on another machine says on which."""
        host = self.setting.hosts[node]
        try:
            with travel.to(node) as so_far:
                await host.stage(staged, so_far)
        except HostLost:
            raise
        except PreflightError as error:
            if not host.remote:
                raise
            raise PreflightError(f"on node {node}: {error}") from None

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


def _interrupted(job: Job) -> Outcome:
    return Outcome(kind="interrupted", reason="interrupted by the operator", tag=job.tag)
