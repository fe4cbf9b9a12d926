"""What a look before a run finds, and what it is told of the run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from milabench.plan.scaling import Scaling
from milabench.plan.types import Once, Phase, Plan

Severity = Literal["blocking", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("blocking", "warning", "note")
_WORKERS = ("--num-workers", "--num_workers", "--workers", "--n-workers", "--loader-workers", "-j")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is found: ``what``, the ``consequence`` it will have, and the ``remedy``, what to type or do.

    Blocking: the run cannot do its work, or its numbers would be wrong beyond doubt. A warning is told, and a note is
    there to be looked up. ``code`` is stable; ``subject`` names what it is about: an environment, a device, a folder.
    """

    code: str
    severity: Severity
    subject: str
    what: str
    consequence: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A run that is to be made, and what must be there for it.

    ``environments`` and ``data`` say what makes them needed, by install group and by benchmark; what the phases in
    ``ahead`` make need not be there yet. ``commands`` are what to type for a verb; ``environ`` is the
    operator's environment, and ``tokens`` are the files in which a login leaves its token: the first is the one that
    benchmarks look into. ``scaling``: what is known of the memory that benchmarks take.
    """

    plan: Plan
    environments: Mapping[str, Once] = field(default_factory=dict)
    data: Mapping[str, Once] = field(default_factory=dict)
    ahead: tuple[Phase, ...] = ()
    offline: bool = False
    commands: Mapping[str, str] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict)
    tokens: tuple[str, ...] = ()
    scaling: Scaling | None = None

    @property
    def benchmarks(self) -> dict[str, Mapping[str, Any]]:
        """The configurations of the benchmarks that are to be run, by name."""
        names = dict.fromkeys(trial.benchmark for trial in self.plan.trials)
        return {name: self.plan.configs.get(name, {}) for name in names}

    @property
    def processes(self) -> int:
        """How many processes run at the same time, at most."""
        return max((sum(len(job.commands) for job in trial.jobs) for trial in self.plan.trials), default=0)

    @property
    def devices(self) -> frozenset[int]:
        """The numbers of the devices that its processes are shown."""
        commands = (command for trial in self.plan.trials for job in trial.jobs for command in job.commands)
        return frozenset(device for command in commands for device in command.devices)

    @property
    def spans_devices(self) -> bool:
        """Whether a process, or the ranks that it starts, work on several devices together."""
        commands = (command for trial in self.plan.trials for job in trial.jobs for command in job.commands)
        return any(len(command.devices) > 1 for command in commands)

    def workers(self) -> Iterator[tuple[str, int]]:
        """Yield the benchmarks that load data by processes of their own, with how many these are at the same time."""
        for trial in self.plan.trials:
            argv = self.plan.configs.get(trial.benchmark, {}).get("argv", {})
            each = next((argv[name] for name in _WORKERS if name in argv), 0) if isinstance(argv, Mapping) else 0
            if str(each).isdecimal() and int(each) > 0:
                yield trial.benchmark, int(each) * sum(len(job.commands) for job in trial.jobs)
