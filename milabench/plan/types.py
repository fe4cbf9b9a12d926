"""What a plan is: Trials of Jobs of Commands. Frozen, pure, and the same as its JSON form (plan/codec.py)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from milabench.agent.container import Container
from milabench.suite.types import Limit, Ready

Phase = Literal["fetch", "install", "prepare", "run", "pin", "pack"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranks:
    """The ranks that a command starts: ``count`` of them, from ``first`` on, in the group that ``leader`` leads.

    ``leader`` is the tag of the command that has rank 0, its own or another's; ``nodes`` how many the group is on.
    ``address`` and ``interface`` are those of its node where the group is on several, as far as they are known.
    """

    leader: str
    first: int
    count: int
    nodes: int = 1
    address: str = ""
    interface: str = ""

    @property
    def is_group(self) -> bool:
        """Whether there are several ranks, here or on other nodes."""
        return self.count > 1 or self.nodes > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One process. ``tag`` names its files, ``env`` is what differs from the node's environment.

    ``benchmark`` is the one whose configuration it sees (``Plan.configs``).
    ``metrics``: where its metrics appear: the event ``file``, JSON lines on ``stdout``, or ``none``.
    ``service``: it serves the others of its job (a server for its client) and is ended when they have ended; ``ready``
    says what those that come after it wait for.
    ``rank`` is the place of its node among those of the benchmark; ``ranks`` are the ranks that it starts, if any.
    ``container``: it runs in one; its ``argv``, ``env`` and ``cwd`` are those in there.
    """

    tag: str
    benchmark: str
    node: str
    argv: tuple[str, ...]
    cwd: str
    rank: int = 0
    devices: tuple[int, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    metrics: Literal["file", "stdout", "none"] = "file"
    service: bool = False
    ready: Ready | None = None
    ranks: Ranks | None = None
    container: Container | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Once:
    """What makes a job needed only once: a record on the node's disk, under a lock, that says what has been done.

    ``base`` must be equal to what the record says, else ``folder`` is made anew; ``parts`` accumulate in it.
    ``always``: the commands run every time (a prepare script checks for itself) and the record is renewed.
    ``keep``: what is there stays as it was until the commands succeed, and so does the record.
    """

    record: str
    folder: str | None
    base: Mapping[str, str]
    parts: Mapping[str, str]
    always: bool = False
    keep: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged:
    """A folder, or a file, to be copied below ``$MILABENCH_BASE`` before a job: only what changed is written.

    ``fresh``: what is there is removed first, so that an install finds nothing of an earlier or a failed one.
    """

    source: str
    target: str
    fresh: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Processes that live and die together; one after the other where ``sequence`` is set.

    ``stop``: who ends a measurement once ``limit`` is reached: the process itself or the runner.
    ``secrets`` are names of variables taken from the operator's environment at start, never their values.
    ``first_event_s``: so long after the start (on one node, after others have spoken) every rank of a group is heard
    of; None: they may take as long as the job.
    """

    tag: str
    commands: tuple[Command, ...]
    deadline_s: float | None
    stop: Literal["self", "runner"] = "self"
    limit: Limit = field(default_factory=Limit)
    sequence: bool = False
    once: Once | None = None
    staged: tuple[Staged, ...] = ()
    secrets: tuple[str, ...] = ()
    first_event_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """All that runs at the same time; the atom of measurement, repeat and resume."""

    benchmark: str
    jobs: tuple[Job, ...]
    repeat: int = 0

    @property
    def id(self) -> str:
        return f"{self.benchmark}.R{self.repeat}" if self.repeat else self.benchmark

    @property
    def commands(self) -> tuple[Command, ...]:
        """Its processes, of all jobs."""
        return tuple(command for job in self.jobs for command in job.commands)

    @property
    def bound_s(self) -> float | None:
        """Return the longest deadline of its jobs; None where one has none."""
        deadlines = [job.deadline_s for job in self.jobs]
        return max((each for each in deadlines if each is not None), default=0.0) if None not in deadlines else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Skip:
    """A benchmark that is not run here, and why."""

    benchmark: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """The commit of a git repository that a benchmark's folder comes from: the one that ``reference`` was found at."""

    benchmark: str
    git: str
    reference: str
    commit: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """What ``auto_batch(default)`` of a benchmark came to; ``workers``: what ``auto`` came to on its first node.

    ``reason`` is empty where sizing is off, ``node`` where the size is the same on all nodes of the benchmark.
    """

    benchmark: str
    batch_size: int
    default: int
    workers: int | None = None
    reason: str = ""
    node: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What will be run, in order. ``configs`` is what each benchmark's processes see, once per benchmark.

    ``node_configs``: by node and benchmark, the keys that differ for processes there (placeholders of its arguments).
    """

    phase: Phase
    trials: tuple[Trial, ...]
    skipped: tuple[Skip, ...] = ()
    configs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    fetched: tuple[Fetched, ...] = ()
    sizes: tuple[Size, ...] = ()
    node_configs: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)

    @property
    def time_bound_s(self) -> float:
        """Sum of the trials' longest deadlines: the run cannot take longer."""
        return sum(max((job.deadline_s or 0.0 for job in trial.jobs), default=0.0) for trial in self.trials)

    def config_of(self, command: Command) -> dict[str, Any]:
        """Return what a process sees as its configuration: its benchmark's, with its own tag and devices."""
        own = {"tag": command.tag.split("."), "devices": list(command.devices)}
        first = {"device": command.devices[0]} if command.devices else {}
        there = self.node_configs.get(command.node, {}).get(command.benchmark, {})
        return {**self.configs.get(command.benchmark, {}), **there, **own, **first}
