"""What the monitors of a run's nodes saw, and what should be there of it and is not."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmate.wire import is_number
from milabench.agent.monitor import samples
from milabench.summary import monitor
from milabench.summary.monitor import Stretch
from milabench.summary.surroundings import UNCOVERED
from milabench.summary.types import ProcessSummary, Run
from milabench.untrusted import mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What each node's monitor saw. ``unseen``: of nodes whose file says nothing, what is wrong with it.

    ``ahead_ns``: how far the clock of nodes was ahead of the runner's, when they were connected.
    """

    stretches: Mapping[str, Sequence[Stretch]] = field(default_factory=dict)
    unseen: Mapping[str, str] = field(default_factory=dict)
    ahead_ns: Mapping[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def watched(run: Run, facts: Mapping[str, Any], nodes: Collection[str]) -> Watched:
    """Read what the monitors of a run wrote; ``nodes``: those on which it has processes."""
    stretches: dict[str, Sequence[Stretch]] = {}
    unseen: dict[str, str] = {}
    warnings: list[str] = []
    paths = run.monitor_paths()
    for node, path in paths.items():
        found, passed_over, wrong = _read(path)
        stretches[node] = found
        if wrong:
            unseen[node] = f"its monitor file {wrong}"
            warnings.append(f"{path.name} {wrong}: what else the machine did while benchmarks measured is not known")
        elif passed_over:
            lines = "1 line is" if passed_over == 1 else f"{passed_over} lines are"
            warnings.append(f"{path.name} is damaged: {lines} no samples and left out")
    if _expected(facts):
        for node in sorted(set(nodes) - set(paths)):
            unseen[node] = "its monitor file is missing"
            warnings.append(
                f"{node}{samples.SUFFIX} is missing: what else the machine did while benchmarks measured is not known"
            )
    return Watched(stretches=stretches, unseen=unseen, ahead_ns=ahead_ns(facts), warnings=tuple(warnings))


def ahead_ns(facts: Mapping[str, Any]) -> dict[str, int]:
    """Return how far the clock of each node is ahead of the runner's, by a run's facts."""
    told = {name: mapping(node).get("clock_offset_ns") for name, node in mapping(facts.get("nodes")).items()}
    return {name: round(offset) for name, offset in told.items() if is_number(offset)}


def uncovered(processes: Iterable[ProcessSummary]) -> Iterator[str]:
    """Say of which benchmarks the monitor of their node saw too little."""
    found: dict[str, dict[str, None]] = {}
    for process in processes:
        if process.surroundings.unseen == UNCOVERED:
            found.setdefault(process.surroundings.node or "", {})[process.benchmark] = None
    for node, names in found.items():
        yield (
            f"{node}{samples.SUFFIX} does not cover the time in which {', '.join(names)} measured:"
            " what else the machine did then is not known"
        )


def _read(path: Path) -> tuple[list[Stretch], int, str]:
    """Return what a monitor saw, how many lines are none of its, and what is wrong where it says nothing at all."""
    try:
        if not path.stat().st_size:
            return [], 0, "is empty"
        found = monitor.read(samples.lines(path))
        passed_over = samples.passed_over(path)
    except OSError as error:
        return [], 0, f"cannot be read ({(error.strerror or str(error)).lower()})"
    if any(stretch.columns or stretch.devices for stretch in found):
        return found, passed_over, ""
    return found, passed_over, "is damaged: no sample in it can be read" if passed_over or found else "has no sample"


def _expected(facts: Mapping[str, Any]) -> bool:
    """Say whether a run had its nodes watched, by its facts."""
    interval_s = facts.get("monitor_interval_s")
    return is_number(interval_s) and interval_s > 0
