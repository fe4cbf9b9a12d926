"""A whole run as it is just now: its plan, what its journal says, and how far its processes are."""

from __future__ import annotations

import platform
import time
from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from benchmate.wire import is_number
from milabench.agent.monitor.now import devices
from milabench.agent.usage import usage
from milabench.errors import RunDirError
from milabench.follow import Follower
from milabench.follow.journal import GrowingJournal
from milabench.follow.progress import Progress
from milabench.journal import Journal
from milabench.outcome import UNDECIDED, Outcome
from milabench.plan.types import Command, Job, Trial
from milabench.rundir import RunDir
from milabench.untrusted import mapping

State = Literal["running", "complete", "interrupted", "incomplete", "failed", "killed", "unknown"]
_SAID: Mapping[str, State] = {
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
    ``deadlines`` are those of the processes by tag, in s. ``devices`` are as the monitor's latest sample has them.
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
    devices: Sequence[Mapping[str, Any]] = ()

    @property
    def is_over(self) -> bool:
        return self.state not in ("running", "unknown")

    @property
    def done(self) -> int:
        """The number of trials that need not be run again: they ended otherwise than interrupted or lost."""
        return len(self.outcomes) - sum(self.undecided.values())

    @property
    def undecided(self) -> Mapping[str, int]:
        """How many trials ended ``interrupted`` or ``lost``: a run that is gone on with runs them again."""
        return Counter(each.kind for each in self.outcomes.values() if each.kind in UNDECIDED)

    @property
    def waiting(self) -> int:
        return len(self.trials) - len(self.outcomes) - len(self.running)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Standing:
    """What of a run changes only when its journal grows; ``waiting_s``: how long what has not begun can take."""

    outcomes: Mapping[str, Outcome]
    running: Mapping[str, float]
    waiting_s: float | None


class Watch:
    """Look at a run again and again; what has been read is not read again. Raises RunDirError where it has no plan."""

    def __init__(self, run: RunDir, clock: Callable[[], float] = time.time) -> None:
        self._run, self._clock = run, clock
        if not run.has_begun:
            older = "it is one of milabench before this: `milabench report` reads it"
            raise RunDirError(f"{run.path} has no plan to say how far it is: {older}")
        self._planned = _stamp(run.plan_path)
        self._trials = {trial.id: trial for trial in run.plan().trials}
        self._ids = tuple(self._trials)
        self._bounds = {name: trial.bound_s for name, trial in self._trials.items()}
        self._numbers = {trial: number for number, trial in enumerate(self._trials, 1)}
        self._follower = Follower(run.files)
        self._journal, self._facts = GrowingJournal(run.journal_path), _Facts(run)
        self._stood: tuple[Journal | None, _Standing] = (None, _Standing(outcomes={}, running={}, waiting_s=None))
        self._followed: frozenset[str] = frozenset()
        self._commands: dict[str, tuple[Job, Command]] = {}

    def look(self, catch_up_s: float) -> Status:
        """Return how the run is; reading takes so much CPU time at most, and goes on at the next look."""
        state, now = self._state(), self._clock()
        journal, facts, stands = self._journal.journal, self._facts, self._standing()
        sitting = journal.sittings[-1] if journal.sittings else None
        self._plan_again()
        self._follow(frozenset(stands.running))
        self._follower.catch_up(catch_up_s)
        processes = self._follower.progress()
        over = state not in ("running", "unknown")
        return Status(
            path=self._run.path,
            state=state,
            pid=None if sitting is None else sitting.pid,
            host=None if sitting is None else sitting.host,
            began=facts.time("started"),
            since=facts.time("started") if sitting is None else sitting.time_ns / 1e9,
            ended=facts.time("ended"),
            trials=self._ids,
            outcomes=stands.outcomes,
            running=stands.running,
            left_s=None if over else self._left_s(stands, now),
            processes=processes,
            deadlines={tag: job.deadline_s for tag, (job, _) in self._commands.items()},
            usage={} if over else self._usage(processes),
            devices=[] if over else self._devices(now),
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

    def _state(self) -> State:
        """Read what was added to the journal; return the state by it, and by the run's lock where it says none."""
        if said := self._said():
            return said
        if self._run.is_being_written():
            return "running"
        if said := self._said():  # its runner may have ended it between the two looks
            return said
        sittings = self._journal.journal.sittings
        return "unknown" if sittings and sittings[-1].host != platform.node() else "killed"

    def _said(self) -> State | None:
        self._journal.read()
        self._facts.read()
        journal = self._journal.journal
        said = journal.state or (None if journal.sittings else self._facts.state)
        return None if said is None else _SAID.get(said)

    def _standing(self) -> _Standing:
        journal = self._journal.journal
        if self._stood[0] is not journal:
            outcomes = {trial: each for trial, each in journal.outcomes.items() if trial in self._trials}
            running = {
                trial: journal.started_ns[trial] / 1e9
                for trial in journal.running
                if trial in self._trials and trial in journal.started_ns
            }
            waiting_s = self._waiting_s(outcomes, running)
            self._stood = (journal, _Standing(outcomes=outcomes, running=running, waiting_s=waiting_s))
        return self._stood[1]

    def _plan_again(self) -> None:
        """Read the plan again where another is in its place: what is left may be on other nodes, under other tags."""
        stamp = _stamp(self._run.plan_path)
        if stamp not in (None, self._planned):
            self._follow(frozenset())
            self._trials = {trial.id: trial for trial in self._run.plan().trials}
            self._planned = stamp

    def _follow(self, running: frozenset[str]) -> None:
        if running == self._followed:
            return
        self._follower.leave(tag for trial in self._followed - running for tag, _, _ in _processes(self._trials[trial]))
        self._commands = {
            tag: (job, command) for trial in running for tag, job, command in _processes(self._trials[trial])
        }
        for tag, (job, command) in self._commands.items():
            limit = None if command.metrics == "none" else job.limit
            self._follower.follow(tag, limit, self._facts.ahead_s(command.node))
        self._followed = running

    def _waiting_s(self, outcomes: Container[str], running: Container[str]) -> float | None:
        """Return how long what has not begun can take; None where that, or what runs, has no limit."""
        waiting_s = 0.0
        for trial, bound in self._bounds.items():
            if trial in outcomes:
                continue
            if bound is None:
                return None
            waiting_s += 0.0 if trial in running else bound
        return waiting_s

    def _left_s(self, stands: _Standing, now: float) -> float | None:
        """Return how long what is left can take, one trial after the other; None where a trial has no limit."""
        if stands.waiting_s is None:
            return None
        running = ((self._bounds[trial] or 0.0) - max(now - began, 0.0) for trial, began in stands.running.items())
        return stands.waiting_s + sum(max(left, 0.0) for left in running)

    def _devices(self, now: float) -> list[Mapping[str, Any]]:
        found: list[Mapping[str, Any]] = []
        for node, path in self._run.monitor_paths().items():
            now_there_ns = round((now + self._facts.ahead_s(node)) * 1e9)
            found += ({**device, "node": node} for device in devices(path, now_there_ns))
        return found

    def _usage(self, processes: Sequence[Progress]) -> dict[str, Mapping[str, float]]:
        """Return what processes take of this machine that are known to run here by their number and environment."""
        return {
            each.tag: usage([each.pid])
            for each in processes
            if each.pid is not None and each.outcome is None and _writes(each.pid, self._run.files(each.tag).events)
        }


class _Facts:
    """What ``run.json`` says of a run, read again where it is another file or has been changed."""

    def __init__(self, run: RunDir) -> None:
        self._run = run
        self._stamp: object = None
        self._found: Mapping[str, Any] = {}

    def read(self) -> None:
        stamp = _stamp(self._run.facts_path)
        if stamp == self._stamp:
            return
        self._stamp, self._found = stamp, {}
        with suppress(RunDirError, RecursionError):  # the journal and the lock say what is to be known
            facts: object = self._run.facts()
            self._found = facts if isinstance(facts, dict) else {}

    @property
    def state(self) -> str | None:
        said = self._found.get("state")
        return said if isinstance(said, str) else None

    def time(self, name: str) -> float | None:
        """Return a time, in s since 1970; None where it says none."""
        value = self._found.get(name)
        return float(value) if is_number(value) else None

    def ahead_s(self, node: str) -> float:
        """Return how far a node's clock was ahead of the runner's, 0 where it is not known."""
        offset_ns = mapping(mapping(self._found.get("nodes")).get(node)).get("clock_offset_ns")
        return float(offset_ns) / 1e9 if is_number(offset_ns) else 0.0


def _stamp(path: Path) -> object:
    """Return what is another where a file is, or has been changed; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _processes(trial: Trial) -> list[tuple[str, Job, Command]]:
    return [(command.tag, job, command) for job in trial.jobs for command in job.commands]


def _writes(pid: int, events: Path) -> bool:
    """Say whether the process of a number here is the one that writes a file: numbers are used again, and elsewhere."""
    try:
        environ = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False
    return f"MILABENCH_EVENTS={events}".encode() in environ
