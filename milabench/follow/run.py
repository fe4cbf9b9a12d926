"""A whole run as it is just now: its plan, what its journal says, and how far its processes are."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from milabench.agent.usage import usage
from milabench.errors import RunDirError
from milabench.follow import Follower
from milabench.follow.progress import Progress
from milabench.journal import Journal
from milabench.outcome import Outcome
from milabench.plan.types import Command, Job, Trial
from milabench.rundir import RunDir

State = Literal["running", "complete", "interrupted", "incomplete", "failed", "killed", "unknown"]
_SAID: Mapping[object, State] = {
    "complete": "complete",
    "interrupted": "interrupted",
    "incomplete": "incomplete",
    "failed": "failed",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """A run at one moment; times in s since 1970.

    ``state`` is ``killed`` where the runner is gone without a word, ``unknown`` where it worked on another machine and
    nothing here can tell. ``running`` are the trials that have begun and not ended, with when they began;
    ``processes`` and ``usage`` (``rss_bytes``, ``cpu_s``; of this machine, where it says) are those of them.
    ``deadlines`` are those of the processes by tag, in s.
    """

    path: Path
    state: State
    pid: int | None
    host: str | None
    began: float | None
    since: float | None
    ended: float | None
    trials: tuple[str, ...]
    outcomes: Mapping[str, Outcome]
    running: Mapping[str, float]
    left_s: float | None
    processes: Sequence[Progress]
    deadlines: Mapping[str, float | None]
    usage: Mapping[str, Mapping[str, float]]

    @property
    def is_over(self) -> bool:
        return self.state not in ("running", "unknown")

    @property
    def waiting(self) -> int:
        return len(self.trials) - len(self.outcomes) - len(self.running)


class Watch:
    """Look at a run again and again; what has been read is not read again. Raises RunDirError where it has no plan."""

    def __init__(self, run: RunDir, clock: Callable[[], float] = time.time) -> None:
        self._run, self._clock = run, clock
        if not run.plan_path.exists():
            older = "it is one of milabench before this: `milabench report` reads it"
            raise RunDirError(f"{run.path} has no plan to say how far it is: {older}")
        self._plan = run.plan()
        self._trials = {trial.id: trial for trial in self._plan.trials}
        self._numbers = {trial: number for number, trial in enumerate(self._trials, 1)}
        self._follower = Follower(run.files)
        self._journal: tuple[object, Journal] = (None, Journal())
        self._followed: frozenset[str] = frozenset()
        self._commands: dict[str, tuple[Job, Command]] = {}

    def look(self, catch_up_s: float) -> Status:
        """Return how the run is; reading takes so much CPU time at most, and goes on at the next look."""
        journal, facts, now = self._read_journal(), self._facts(), self._clock()
        outcomes = {trial: each for trial, each in journal.outcomes.items() if trial in self._trials}
        running = {trial: journal.started_ns[trial] / 1e9 for trial in journal.running if trial in self._trials}
        state, sitting = self._state(journal, facts), journal.sittings[-1] if journal.sittings else None
        self._follow(frozenset(running))
        self._follower.catch_up(catch_up_s)
        processes = self._follower.progress()
        over = state not in ("running", "unknown")
        return Status(
            path=self._run.path,
            state=state,
            pid=None if sitting is None else sitting.pid,
            host=None if sitting is None else sitting.host,
            began=facts.get("started"),
            since=facts.get("started") if sitting is None else sitting.time_ns / 1e9,
            ended=facts.get("ended"),
            trials=tuple(self._trials),
            outcomes=outcomes,
            running=running,
            left_s=None if over else self._left_s(outcomes, running, now),
            processes=processes,
            deadlines={tag: job.deadline_s for tag, (job, _) in self._commands.items()},
            usage={} if over else self._usage(processes),
        )

    @property
    def commands(self) -> list[Command]:
        """The processes of the trials that have begun and not ended."""
        return [command for _, command in self._commands.values()]

    def place(self, trial: str) -> str:
        """Return which of how many a trial is."""
        return f"[{self._numbers[trial]}/{len(self._trials)}]"

    def tags(self, trial: str) -> set[str]:
        """Return the tags of a trial's processes."""
        return {tag for tag, _, _ in _processes(self._trials[trial])}

    def _read_journal(self) -> Journal:
        """Return the journal, read again where it has grown."""
        stamp: object = None
        with suppress(OSError):
            found = self._run.journal_path.stat()
            stamp = (found.st_ino, found.st_size)
        if stamp != self._journal[0]:
            self._journal = (stamp, self._run.journal())
        return self._journal[1]

    def _facts(self) -> Mapping[str, Any]:
        with suppress(RunDirError):  # being written, or never: the journal and the lock say what is to be known
            return self._run.facts()
        return {}

    def _state(self, journal: Journal, facts: Mapping[str, Any]) -> State:
        said = journal.state or (None if journal.sittings else facts.get("state"))
        if said in _SAID:
            return _SAID[said]
        if self._run.is_being_written():
            return "running"
        elsewhere = journal.sittings and journal.sittings[-1].host != platform.node()
        return "unknown" if elsewhere else "killed"

    def _follow(self, running: frozenset[str]) -> None:
        if running == self._followed:
            return
        self._follower.leave(tag for trial in self._followed - running for tag, _, _ in _processes(self._trials[trial]))
        self._commands = {
            tag: (job, command) for trial in running for tag, job, command in _processes(self._trials[trial])
        }
        for tag, (job, command) in self._commands.items():
            self._follower.follow(tag, None if command.metrics == "none" else job.limit)
        self._followed = running

    def _left_s(self, outcomes: Mapping[str, Outcome], running: Mapping[str, float], now: float) -> float | None:
        """Return how long what is left can take, one trial after the other; None where a trial has no limit."""
        left = 0.0
        for name, trial in self._trials.items():
            if name in outcomes:
                continue
            if trial.bound_s is None:
                return None
            left += max(trial.bound_s - max(now - running.get(name, now), 0.0), 0.0)
        return left

    def _usage(self, processes: Sequence[Progress]) -> dict[str, Mapping[str, float]]:
        """Return what processes take of this machine that are known to run here by their number and environment."""
        return {
            each.tag: usage([each.pid])
            for each in processes
            if each.pid is not None and each.outcome is None and _writes(each.pid, self._run.files(each.tag).events)
        }


def _processes(trial: Trial) -> list[tuple[str, Job, Command]]:
    return [(command.tag, job, command) for job in trial.jobs for command in job.commands]


def _writes(pid: int, events: Path) -> bool:
    """Say whether the process of a number here is the one that writes a file: numbers are used again, and elsewhere."""
    try:
        environ = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False
    return f"MILABENCH_EVENTS={events}".encode() in environ
