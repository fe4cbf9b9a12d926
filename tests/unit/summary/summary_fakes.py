"""A run with files in a folder of the test and everything else in memory."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from benchmate.wire import BASE_COLUMNS, Steps, encode_event
from milabench.errors import AbsentFileError
from milabench.group import Group
from milabench.outcome import Outcome
from milabench.plan.types import Command, Job, Plan, Skip, Trial
from milabench.rundir import Files


@dataclass(kw_only=True)
class FakeRun:
    path: Path
    planned: Plan | None = None
    recorded: Mapping[str, Any] | None = None
    journal: dict[str, Outcome] = field(default_factory=dict)
    columns: dict[str, Steps] = field(default_factory=dict)
    met: dict[str, tuple[str, ...]] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)
    damaged: dict[str, str] = field(default_factory=dict)

    def plan(self) -> Plan:
        if self.planned is None:
            raise AbsentFileError("no plan.json")
        return self.planned

    def facts(self) -> Mapping[str, Any]:
        if self.recorded is None:
            raise AbsentFileError("no run.json")
        return self.recorded

    def outcomes(self) -> dict[str, Outcome]:
        return self.journal

    def tags(self) -> tuple[str, ...]:
        return tuple(path.name.removesuffix(".data") for path in self.path.glob("*.data"))

    def files(self, tag: str) -> SimpleNamespace:
        return SimpleNamespace(events=self.path / f"{tag}.data")

    def steps(self, tag: str) -> list[Steps]:
        return [self.columns[tag]] if tag in self.columns else []

    def damage(self, tag: str) -> str:
        return self.damaged.get(tag, "")

    def group(self, tag: str) -> Group:
        return Group(of_rank=Files.of(self.path, tag).of_rank)

    def monitor_paths(self) -> dict[str, Path]:
        return {path.name.split(".")[0]: path for path in self.path.glob("*.monitor.jsonl")}

    def failed_before(self) -> dict[str, int]:
        return self.failed

    def neighbours(self) -> dict[str, tuple[str, ...]]:
        return self.met

    def write(self, tag: str, *events: tuple[str, object], config: Mapping[str, Any] | None = None) -> None:
        """Write a process's file: its config and start, then the given events."""
        name, *rest = tag.split(".")
        first = {"name": name, "weight": 1, "enabled": True, "tag": [name, *rest], **(config or {})}
        several = (("config", first), ("start", {"command": ["python"], "time": 10.0}), *events)
        with self.files(tag).events.open("wb") as file:
            for seq, (event, data) in enumerate(several):
                file.write(encode_event(event, data, time_ns=seq, seq=seq))


def rates(*values: float, task: str = "train", units: str = "items/s") -> list[tuple[str, object]]:
    return [("data", {"task": task, "rate": value, "units": units}) for value in values]


def end(outcome: str = "ok", **more: object) -> tuple[str, object]:
    return ("end", {"code": 0, "signal": None, "outcome": outcome, "reason": "", "seconds": 2.0, **more})


def steps(*rows: tuple[int, int, int, int], unit: str = "items") -> Steps:
    """Return columns of rows (start in ms, end in ms, count, phase), all of them good."""
    whole = [(start * 10**6, stop * 10**6, count, phase, 0) for start, stop, count, phase in rows]
    columns = {name: array("q", [row[index] for row in whole]) for index, name in enumerate(BASE_COLUMNS)}
    return Steps(unit=unit, clock="monotonic", zero_ns=0, columns=columns)


def plan(
    jobs: Mapping[str, Sequence[Sequence[tuple[str, str, tuple[int, ...]]]]],
    skipped: Mapping[str, str] | None = None,
    **configs: Mapping[str, Any],
) -> Plan:
    """Return a plan of trials by id (``bench``, ``bench.R1``), each of jobs of (tag, node, devices)."""
    trials = tuple(
        Trial(
            benchmark=name.split(".")[0],
            repeat=int(name.partition(".R")[2] or 0),
            jobs=tuple(
                Job(
                    tag=commands[0][0],
                    deadline_s=60,
                    commands=tuple(
                        Command(
                            tag=tag, node=node, argv=("true",), cwd="/", devices=devices, benchmark=name.split(".")[0]
                        )
                        for tag, node, devices in commands
                    ),
                )
                for commands in several
            ),
        )
        for name, several in jobs.items()
    )
    skips = tuple(Skip(benchmark=name, reason=reason) for name, reason in (skipped or {}).items())
    return Plan(phase="run", trials=trials, skipped=skips, configs=configs)


MakeRun = Callable[..., FakeRun]
