"""What is told of a plan as it is run."""

from __future__ import annotations

from dataclasses import dataclass

from milabench.outcome import Outcome
from milabench.plan.types import Command, Job, Trial


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
class Travelling:
    """How far is what is sent to nodes for a job, in a line."""

    told: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialEnded:
    """``done_before``: nothing had to be done. ``neighbours``: the trials that ran at the same time for a while."""

    trial: Trial
    outcome: Outcome
    done_before: bool = False
    neighbours: tuple[str, ...] = ()


Happening = TrialStarted | CommandStarted | CommandEnded | Waiting | Travelling | TrialEnded
