"""What a look before a run finds, and what it is told of the run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal

from milabench.plan.scaling import Scaling
from milabench.plan.types import Command, Once, Phase, Plan, Trial

Severity = Literal["blocking", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("blocking", "warning", "note")
_WORKERS = ("--num-workers", "--num_workers", "--workers", "--n-workers", "--loader-workers")
TORCH = "torch"  # what the install groups of benchmarks that load with torch are called
IO = "io"  # the tag of benchmarks whose workers read and write files, and share no memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is found: ``what``, the ``consequence`` it will have, and the ``remedy``, what to type or do.

    Blocking: the run cannot do its work, or its numbers would be wrong beyond doubt. A warning is told, and a note is
    there to be looked up. ``code`` is stable; ``subject`` names what it is about: an environment, a device, a folder.
    ``nodes`` are those it was found on, where there are several.
    """

    code: str
    severity: Severity
    subject: str
    what: str
    consequence: str
    remedy: str
    nodes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A run that is to be made, and what must be there for it.

    ``environments`` and ``data`` say what makes them needed, by install group and by benchmark, on the base of the main
    node, ``elsewhere`` on those of others, by their names; what the phases in ``ahead`` make need not be there yet.
    ``commands`` are what to type for a verb; ``environ`` is the operator's environment, and ``tokens`` are the files in
    which a login leaves its token: the first is the one that benchmarks look into. ``scaling``: what is known of the
    memory that benchmarks take. ``side_by_side``: trials that share no device run at the same time. ``recorded``: of
    so many processes the run keeps files, where that is not all of ``plan``.
    """

    plan: Plan
    environments: Mapping[str, Once] = field(default_factory=dict)
    data: Mapping[str, Once] = field(default_factory=dict)
    elsewhere: Mapping[str, tuple[Mapping[str, Once], Mapping[str, Once]]] = field(default_factory=dict)
    ahead: tuple[Phase, ...] = ()
    offline: bool = False
    commands: Mapping[str, str] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict)
    tokens: tuple[str, ...] = ()
    scaling: Scaling | None = None
    side_by_side: bool = False
    recorded: int | None = None

    @property
    def benchmarks(self) -> dict[str, Mapping[str, Any]]:
        """The configurations of the benchmarks that are to be run, by name."""
        names = dict.fromkeys(trial.benchmark for trial in self.plan.trials)
        return {name: self.plan.configs.get(name, {}) for name in names}

    @property
    def folders(self) -> dict[str, list[str]]:
        """The benchmarks that have processes start in a folder, by its path; in containers it is another matter."""
        found: dict[str, dict[str, None]] = {}
        for each in (command for trial in self.plan.trials for command in _commands(trial)):
            if each.container is None:
                found.setdefault(each.cwd, {})[each.benchmark] = None
        return {folder: [*names] for folder, names in found.items()}

    @property
    def processes(self) -> int:
        """How many processes run at the same time, at most."""
        return self._at_once(_processes)

    @property
    def all_processes(self) -> int:
        """How many processes the run has in all."""
        return self.recorded if self.recorded is not None else sum(map(_processes, self.plan.trials))

    @property
    def devices(self) -> frozenset[int]:
        """The numbers of the devices that its processes are shown."""
        return frozenset(d for trial in self.plan.trials for each in _commands(trial) for d in each.devices)

    @property
    def spans_devices(self) -> bool:
        """Whether a process, or the ranks that it starts, work on several devices together."""
        return any(len(each.devices) > 1 for trial in self.plan.trials for each in _commands(trial))

    @property
    def loading(self) -> list[str]:
        """The benchmarks that load data by worker processes of torch, which share memory."""
        return list(dict.fromkeys(trial.benchmark for trial in self.plan.trials if self._workers(trial)))

    @property
    def workers(self) -> int:
        """How many such worker processes there are at the same time, at most."""
        return self._at_once(self._workers)

    def _workers(self, trial: Trial) -> int:
        """Return how many worker processes load data in a trial.

        That they are torch's is told by the install group: who shares one named ``torch`` loads with it.
        """
        config = self.plan.configs.get(trial.benchmark, {})
        argv = config.get("argv", {})
        if not str(config.get("install_group", "")).startswith(TORCH) or IO in config.get("tags", ()):
            return 0
        each = next((argv[name] for name in _WORKERS if name in argv), 0) if isinstance(argv, Mapping) else 0
        return int(each) * _processes(trial) if str(each).isdecimal() else 0

    def _at_once(self, amount: Callable[[Trial], int]) -> int:
        """Return the most that any trials which run at the same time come to together.

        Side by side that is no more than if on each device the trial ran whose share of a device is the largest.
        """
        most = max(map(amount, self.plan.trials), default=0)
        if not self.side_by_side:
            return most
        shares: dict[tuple[str, int], Fraction] = {}
        for trial in self.plan.trials:
            places = {(each.node, device) for each in _commands(trial) for device in each.devices}
            for place in places:
                shares[place] = max(shares.get(place, Fraction()), Fraction(amount(trial), len(places)))
        return max(most, int(sum(shares.values())))


def _commands(trial: Trial) -> Iterator[Command]:
    return (command for job in trial.jobs for command in job.commands)


def _processes(trial: Trial) -> int:
    return sum(1 for _ in _commands(trial))
