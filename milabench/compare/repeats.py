"""The processes of a benchmark → one throughput for each repeat, of the same devices and copies in both runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from benchmate.statistics import Estimate, scaled
from benchmate.verdict import Runs
from milabench.outcome import GOOD, UNDECIDED
from milabench.summary import ProcessSummary
from milabench.summary.speed import together

Repeat = tuple[int, int]  # which of the pooled runs, and which repeat in it
Repeats = Mapping[Repeat, Estimate]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cell:
    """The throughput of one process; None where it did not go well."""

    repeat: Repeat
    place: str
    throughput: Estimate | None


def measured(
    before: Sequence[ProcessSummary], after: Sequence[ProcessSummary]
) -> tuple[dict[Repeat, Estimate], dict[Repeat, Estimate]]:
    """Return the throughputs of both sides by repeat: the mean over the processes where all of them went well.

    Devices and copies that run at the same time share the machine's state: they are no repeats. A place that never
    went well on one side is left out on the other too, if that has others; so is one that measures nothing by its
    nature (a server).
    """
    first, second = [*_cells(before)], [*_cells(after)]
    never = _never_well(first), _never_well(second)
    return _by_repeat(_without(first, *never)), _by_repeat(_without(second, *reversed(never)))


def rates(repeats: Repeats) -> Runs:
    """Return the throughputs of repeats by the run that they are of."""
    return by_run({repeat: found.value for repeat, found in repeats.items() if found.value is not None})


def by_run(repeats: Mapping[Repeat, float]) -> Runs:
    """Return what repeats have by the run that they are of."""
    runs: dict[int, list[float]] = {}
    for (run, _), found in sorted(repeats.items()):
        runs.setdefault(run, []).append(found)
    return tuple(map(tuple, runs.values()))


def broken(processes: Iterable[ProcessSummary]) -> list[ProcessSummary]:
    """Return the processes that failed; those that were cut off say nothing of the benchmark."""
    return [each for each in processes if each.outcome not in GOOD | UNDECIDED | {"skipped"}]


def cut_off(processes: Iterable[ProcessSummary]) -> list[ProcessSummary]:
    """Return the processes that were cut off with their run."""
    return [each for each in processes if each.outcome in UNDECIDED]


def _cells(processes: Iterable[ProcessSummary]) -> Iterable[_Cell]:
    for process in processes:
        if process.outcome != "skipped":
            yield _Cell(repeat=process.repeat, place=process.place, throughput=_throughput(process))


def _throughput(process: ProcessSummary) -> Estimate | None:
    """Return that of a process that went well; None for one that did not, or did nothing."""
    found = process.speed.throughput
    return found if process.outcome in GOOD and found.value is not None and found.value > 0 else None


def _never_well(cells: Sequence[_Cell]) -> frozenset[str]:
    """Return the places that have no throughput in any repeat."""
    return frozenset(cell.place for cell in cells) - {cell.place for cell in cells if cell.throughput is not None}


def _without(cells: Sequence[_Cell], own: frozenset[str], others: frozenset[str]) -> list[_Cell]:
    """Return the cells of places that went well at some time, on both sides where there are any."""
    left = [cell for cell in cells if cell.place not in own]
    return [cell for cell in left if cell.place not in others] or left


def _by_repeat(cells: Sequence[_Cell]) -> dict[Repeat, Estimate]:
    """Return the mean of each repeat that has all the places, in their order."""
    places = {cell.place for cell in cells}
    found: dict[Repeat, dict[str, Estimate]] = {}
    for cell in cells:
        if cell.throughput is not None:
            found.setdefault(cell.repeat, {})[cell.place] = cell.throughput
    whole = {repeat: several for repeat, several in found.items() if len(several) == len(places)}
    return {repeat: scaled(together([*several.values()]), 1 / len(places)) for repeat, several in sorted(whole.items())}
