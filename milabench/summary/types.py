"""What came of a run: frozen values, plain enough to be written as JSON."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from benchmate.statistics import Estimate
from benchmate.wire import Steps
from milabench.outcome import Kind, Outcome
from milabench.plan.types import Plan, Skip

MemorySource = Literal["device", "host"]


class EventFile(Protocol):
    """Where a process's event lines are."""

    @property
    def events(self) -> Path: ...


class Run(Protocol):
    """What is read of a run directory; a method may raise RunDirError where a run of another tool has no such file."""

    @property
    def path(self) -> Path: ...

    def plan(self) -> Plan: ...

    def facts(self) -> Mapping[str, Any]: ...

    def outcomes(self) -> Mapping[str, Outcome]:
        """Trial id → the trial's last outcome."""
        ...

    def neighbours(self) -> Mapping[str, tuple[str, ...]]:
        """Trial id → the ids of the trials that ran at the same time, where any did."""
        ...

    def failed_before(self) -> Mapping[str, int]:
        """Trial id → how many attempts had failed before the one that counts, where any did."""
        ...

    def tags(self) -> Iterable[str]:
        """Tags of the processes that have a ``.data`` file."""
        ...

    def files(self, tag: str) -> EventFile: ...

    def steps(self, tag: str) -> Iterable[Steps]:
        """Yield the steps of a process in parts; nothing where it has none that can be read."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """First and last finite loss (of several processes: their mean), how many there were, whether any was NaN."""

    first: float | None
    last: float | None
    n: int
    nan: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """The most memory used: of the ``device``, or of the process itself (``host``) where that is not known."""

    peak_bytes: int
    source: MemorySource


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSummary:
    """One process of a run.

    ``rates``: of each measured step, in ``unit``, in the order taken. ``warmup``: steps that are not in them.
    ``repeat`` sets apart what did not run at the same time: the run's index and the repeat in it. ``slot`` is the
    device of a per-device process, the node of one that is on every node, else None. ``devices`` are ids on one node,
    ``node:id`` in a plan of several. ``started``: when, in s since 1970, where its file says it.
    ``neighbours``: the trials that ran at the same time as its own.
    """

    tag: str
    benchmark: str
    repeat: tuple[int, int]
    slot: str | None
    outcome: Kind
    reason: str
    rates: array[float] = field(repr=False)
    unit: str
    warmup: int
    losses: Losses | None
    memory: Memory | None
    seconds: float | None
    devices: tuple[int | str, ...]
    ngpu: int
    config: Mapping[str, Any] = field(repr=False)
    started: float | None = None
    neighbours: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A process that failed, and why."""

    tag: str
    outcome: Kind
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """A benchmark of the plan of which nothing was started. It counts ln 1 in the score."""

    benchmark: str
    reason: str
    weight: float
    enabled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkSummary:
    """All processes of one benchmark, of all devices and repeats.

    ``n`` counts processes; ``failed`` those with an outcome other than ok, early_stop and skipped. ``perf`` is the mean
    rate in ``unit``; ``std`` (ddof 0, absolute), ``sem`` = std/√(number of rates) and ``interval`` (95 %, of the mean)
    are of the same rates: one minimum and one maximum are left out where there are at least five. ``ngpu``: devices
    that one job uses, 0 on a CPU. ``seconds``: the longest process of each repeat, summed. A skipped benchmark has
    n = 0, no perf, and no score: it does not count.
    """

    name: str
    n: int
    failed: int
    outcomes: Mapping[Kind, int]
    perf: float | None
    unit: str
    std: float | None
    sem: float | None
    interval: Estimate
    ngpu: int
    devices: tuple[int | str, ...]
    memory: Memory | None
    losses: Losses | None
    warmup_steps: int
    measured_steps: int
    seconds: float
    score: float | None
    weight: float
    enabled: bool
    labels: Mapping[str, str]
    failures: tuple[Failure, ...] = ()
    skipped: str | None = None
    processes: tuple[ProcessSummary, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """Which run: its name, when it started (as its facts say it), and where it is."""

    name: str
    started: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A run, or several pooled as repeats; ``facts`` are the first's. A score is None where no weight is above 0."""

    runs: tuple[RunFacts, ...]
    benchmarks: tuple[BenchmarkSummary, ...]
    missing: tuple[Missing, ...]
    skipped: tuple[Skip, ...]
    score: Mapping[str, float | None]
    facts: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def n(self) -> int:
        return sum(benchmark.n for benchmark in self.benchmarks)

    @property
    def failed(self) -> int:
        return sum(benchmark.failed for benchmark in self.benchmarks)
