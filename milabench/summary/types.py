"""What came of a run: frozen values, plain enough to be written as JSON."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, Protocol

from benchmate.statistics import Estimate
from benchmate.verdict import Evenness, Evidence, Grade, Noise, Steadiness, grade
from benchmate.wire import Steps
from milabench.group import Group
from milabench.outcome import Kind, Outcome, step_of
from milabench.plan.types import Plan, Skip
from milabench.summary.series import Series

MemorySource = Literal["device", "host"]
EnergySource = Literal["device counter", "power samples", "RAPL of the whole machine", "IPMI of the whole machine"]

NOTHING: Final = Estimate(n=0, value=None, low=None, high=None, method="none", verdict="too few")


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

    def damage(self, tag: str) -> str:
        """Say what is wrong with the steps of a process, nothing where they are whole or it has none."""
        ...

    def group(self, tag: str) -> Group:
        """Return the files of the ranks that a process leads, if it leads any."""
        ...

    def monitor_paths(self) -> Mapping[str, Path]:
        """Node → the file of what its monitor saw, where one ran."""
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

    @staticmethod
    def most(several: Iterable[Memory | None]) -> Memory | None:
        """Return the largest; of devices where any is known of those."""
        known = [memory for memory in several if memory is not None]
        return max(known, key=lambda memory: (memory.source == "device", memory.peak_bytes), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTimes:
    """How long measured steps took, in s. ``quantiles``: p50 to p99.9, without a value where n is too small for it."""

    n: int
    min_s: float
    max_s: float
    mean: Estimate
    quantiles: Mapping[str, Estimate]


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """How fast measured steps were made. ``throughput``: all that was done over all the time it took, per s.

    Of steps told as rates each is taken to have done the same. ``times`` are None then. ``first_s``: the very first
    step, warm-up included (of several processes the longest). ``parts``: the times of what an inference is made of,
    where they were told. ``load_s``: what loading took, where that was told (of several processes the longest).
    """

    throughput: Estimate = NOTHING
    times: StepTimes | None = None
    first_s: float | None = None
    parts: Mapping[str, StepTimes] = field(default_factory=dict)
    load_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Energy:
    """The energy of the measured window, which took ``seconds``, and of each part: devices, or a machine's packages."""

    joules: float
    seconds: float
    source: EnergySource
    parts: Mapping[str, float]

    @property
    def watts(self) -> float:
        return self.joules / self.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Ecc:
    """Memory errors that devices counted while they measured."""

    corrected: int
    uncorrected: int

    @staticmethod
    def total(several: Collection[Ecc]) -> Ecc:
        """Return errors added up."""
        corrected, uncorrected = (each.corrected for each in several), (each.uncorrected for each in several)
        return Ecc(corrected=sum(corrected), uncorrected=sum(uncorrected))


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What is known of a process and its machine while it measured. ``window_ns``: when that was (the runner's clock).

    ``shown``: its devices, as its node's monitor calls them; ``errors``: of memory, by device, where they count them.
    ``overhead_ns``: what measuring cost in each step. ``unseen``: why its node's monitor says
    nothing of it, where one ran.
    """

    window_ns: tuple[int, int] | None = None
    node: str | None = None
    shown: frozenset[str] = frozenset()
    evidence: Evidence = Evidence()
    noise: Noise = Noise(verdict="unknown")
    energy: Energy | None = None
    errors: Mapping[str, Ecc] = field(default_factory=dict)
    overhead_ns: float | None = None
    unseen: str = ""

    @property
    def ecc(self) -> Ecc | None:
        """The memory errors of all its devices; None where they do not count any."""
        several = self.errors.values()
        return Ecc.total(several) if several else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """How precise a rate was to be, and is: half its 95 % interval as a share of it, None where too few steps tell.

    ``ended_by``: the limit at which the process ended its measurement (``precision``, ``seconds``, ``observations``).
    """

    asked: float
    reached: float | None
    ended_by: str

    @property
    def is_missed(self) -> bool:
        return self.reached is None or self.reached > self.asked


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSummary:
    """One process of a run, with the further ranks that it leads.

    ``series``: its measured steps. ``repeat`` sets apart what did not run at the same time: the run's index and the
    repeat in it; ``place`` is where it stands among those of its repeat: its tag without the benchmark and the repeat.
    ``slot`` is the device of a per-device process, the node of one that is on every node, else None.
    ``devices`` are ids on one node, ``node:id`` in a plan of several. ``started``: when, in s since 1970, where its
    file says it. ``neighbours``: the trials that ran at the same time as its own. ``task``: what it says it measured.
    ``missing_ranks``: those of its group that have no steps where others have: what these did is not in ``series``.
    """

    tag: str
    benchmark: str
    repeat: tuple[int, int]
    place: str
    slot: str | None
    outcome: Kind
    reason: str
    series: Series
    losses: Losses | None
    memory: Memory | None
    seconds: float | None
    devices: tuple[int | str, ...]
    ngpu: int
    config: Mapping[str, Any] = field(repr=False)
    started: float | None = None
    neighbours: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    speed: Speed = Speed()
    steadiness: Steadiness | None = None
    surroundings: Surroundings = Surroundings()
    precision: Precision | None = None
    task: str = ""
    missing_ranks: tuple[int, ...] = ()

    @property
    def rates(self) -> array[float]:
        """The rate of each measured step, in ``unit``, in the order taken."""
        return self.series.rates

    @property
    def unit(self) -> str:
        return self.series.unit

    @property
    def warmup(self) -> int:
        """How many steps are no measured ones."""
        return self.series.warmup

    @property
    def grade(self) -> Grade:
        """One word for its throughput, with all that speaks against it."""
        series = () if self.steadiness is None else (self.steadiness,)
        return grade(self.speed.throughput, series, (self.surroundings.noise,))

    @property
    def overhead(self) -> float | None:
        """What measuring itself cost, as a share of the median step; None where either is not known."""
        times, cost_ns = self.speed.times, self.surroundings.overhead_ns
        median_s = times.quantiles["p50"].value if times is not None else None
        return cost_ns / 1e9 / median_s if cost_ns is not None and median_s else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A process that failed, or was planned and never started, and why; ``node``: where, as far as a plan says it."""

    tag: str
    outcome: Kind
    reason: str
    node: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """A benchmark of the plan of which nothing was started. It counts ln 1 in the score.

    ``outcome`` is that of its trial; ``reason`` has it too. ``definition`` is its folder, where its config says it.
    """

    benchmark: str
    outcome: Kind
    reason: str
    weight: float
    enabled: bool
    definition: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """How far the numbers of a benchmark are to be trusted, by all its processes.

    ``steadiness`` counts processes by what their series are; ``unsteady``: steps that were measured before a series
    was steady, the most of any process. ``overhead``: what measuring cost as a share of a step, the most of any.
    ``precision``: where it was asked for, the least of any. ``evenness``: of the devices, or nodes, that have
    processes to themselves.
    """

    grade: Grade = Grade(word="ok")
    evenness: Evenness = Evenness()
    steadiness: Mapping[str, int] = field(default_factory=dict)
    unsteady: int = 0
    noise: Noise = Noise(verdict="unknown")
    overhead: float | None = None
    throttled: tuple[str, ...] = ()
    ecc: Ecc | None = None
    precision: Precision | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkSummary:
    """All processes of one benchmark, of all devices and repeats.

    ``n`` counts processes, planned ones too that never started where others did; ``failed`` those with an outcome other
    than ok, early_stop and skipped. ``perf`` is the mean rate in ``unit``, without what lost processes had measured
    where others went well; ``std`` (ddof 0, absolute), ``sem`` = std/√(number of rates) and ``interval`` (95 %, of the
    mean) are of the same rates: one minimum and one maximum are left out where there are at least five. The score is
    made of it. ``rate`` is what is shown: what one process did over the time it took, where steps have times, else
    perf.
    ``speed`` is that of the whole benchmark, processes that run at the same time together; ``by_slot`` of each device
    (or node), and ``repeats`` of each repeat. ``energy_per_unit``: J for each unit of work. ``ngpu``: devices that one
    job uses, 0 on a CPU. ``seconds``: the longest process of each repeat, summed. A skipped benchmark has n = 0, no
    perf, and no score: it does not count.
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
    rate: Estimate = NOTHING
    speed: Speed = Speed()
    by_slot: Mapping[str, Estimate] = field(default_factory=dict)
    repeats: tuple[Estimate, ...] = ()
    trust: Trust = Trust()
    energy: Energy | None = None
    energy_per_unit: float | None = None

    @property
    def step(self) -> str:
        """What a step of it is, in words."""
        return step_of(next((process.task for process in self.processes if process.task), ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """Which run: its name, when it started (as its facts say it), and where it is."""

    name: str
    started: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A run, or several, pooled as repeats where they are of the same benchmark; ``facts`` are the first's.

    A score is None where no weight is above 0.
    """

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
