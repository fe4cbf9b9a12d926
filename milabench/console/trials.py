"""Which trials of a plan run, since when, and what came of the others."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from milabench.console.board import Overview
from milabench.console.words import Usage
from milabench.follow import Progress
from milabench.outcome import GOOD, UNDECIDED, Outcome
from milabench.plan.types import Command, Job, Plan, Trial


@dataclass(slots=True)
class _Running:
    place: str
    began: float
    told: float
    commands: dict[str, Command] = field(default_factory=dict)


class Trials:
    """The trials of one phase as they begin and end; times are of ``clock``."""

    def __init__(self, plan: Plan, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._total = len(plan.trials)
        self._trial_of = {command.tag: trial.id for trial in plan.trials for command in _commands(trial)}
        self._bounds = {trial.id: trial.bound_s for trial in plan.trials}
        self._waiting = set(self._bounds)
        self._waiting_s = sum(bound or 0.0 for bound in self._bounds.values())  # kept: there may be many thousands
        self._unbounded = sum(bound is None for bound in self._bounds.values())
        self._running: dict[str, _Running] = {}
        self._started: dict[str, float] = {}  # wall clock, as events have it
        self._deadlines: dict[str, float | None] = {}
        self._ended = self._failed = 0

    def begin(self, trial: str, place: str) -> None:
        now = self._clock()
        if trial in self._waiting:
            self._waiting.remove(trial)
            self._waiting_s -= self._bounds[trial] or 0.0
        self._running[trial] = _Running(place=place, began=now, told=now)

    def add(self, command: Command, job: Job) -> None:
        self._started[command.tag], self._deadlines[command.tag] = time.time(), job.deadline_s
        running = self._running.get(self._trial_of.get(command.tag, ""))
        if running is not None:
            running.commands[command.tag] = command

    def remove(self, tag: str) -> None:
        running = self._running.get(self._trial_of.get(tag, ""))
        if running is not None:
            running.commands.pop(tag, None)
        self._started.pop(tag, None)
        self._deadlines.pop(tag, None)

    def end(self, trial: str, outcome: Outcome) -> float:
        """Take note of a trial's end; return how long it took, in s."""
        self._ended += outcome.kind not in UNDECIDED
        self._failed += outcome.kind not in GOOD | UNDECIDED
        running = self._running.pop(trial, None)
        return 0.0 if running is None else self._clock() - running.began

    @property
    def commands(self) -> list[Command]:
        return [command for running in self._running.values() for command in running.commands.values()]

    def untold(self, every_s: float) -> tuple[float, list[tuple[str, str, float, list[str]]]]:
        """Return in how many s the next line is due, and what lines are due now.

        Each with the trial's place, its id, how long it has run, and the tags of what runs of it; they count as told.
        """
        now, due = self._clock(), []
        for trial, running in self._running.items():
            if now - running.told >= every_s:
                running.told = now
                due.append((running.place, trial, now - running.began, list(running.commands)))
        next_s = min((running.told + every_s - now for running in self._running.values()), default=every_s)
        return next_s, due

    def with_times(self, found: Sequence[Progress]) -> list[Progress]:
        """Return progress with the time of the start where no event has told it."""
        return [each if each.started else replace(each, started=self._started.get(each.tag)) for each in found]

    def overview(self, title: str, found: Sequence[Progress], usage: Mapping[str, Usage]) -> Overview:
        now = self._clock()
        return Overview(
            title=title,
            total=self._total,
            ended=self._ended,
            failed=self._failed,
            now=time.time(),
            elapsed_s=now - self._began,
            left_s=self._left_s(now),
            processes=self.with_times(found),
            deadlines=self._deadlines,
            usage=usage,
        )

    def _left_s(self, now: float) -> float | None:
        """Return how long what is left can take, one trial after the other; None where a trial has no limit."""
        if self._unbounded:
            return None
        running = ((self._bounds.get(trial) or 0.0) - (now - each.began) for trial, each in self._running.items())
        return max(self._waiting_s, 0.0) + sum(max(left, 0.0) for left in running)


def _commands(trial: Trial) -> list[Command]:
    return [command for job in trial.jobs for command in job.commands]
