"""Several processes of a benchmark → its speed as a whole, and how far to trust its numbers."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence

from benchmate import verdict
from benchmate.statistics import Estimate, Statistic, of_repeats, scaled
from milabench.outcome import GOOD
from milabench.summary.devices import ecc_of, measuring
from milabench.summary.grouping import grouped
from milabench.summary.speed import CENTRAL, central, step_times, times_of_parts, together
from milabench.summary.types import Precision, ProcessSummary, Speed, StepTimes, Trust


def repeats_of(processes: Sequence[ProcessSummary]) -> tuple[Estimate, ...]:
    """Return the throughput of each repeat: of all that ran at the same time, together."""
    return tuple(together([process.speed.throughput for process in several]) for several in whole(processes))


def rate_of(processes: Sequence[ProcessSummary], interval: Estimate) -> Estimate:
    """Return what one process did over the time it took, the mean of those that ran at the same time.

    Where the times of steps are not known it is ``interval``, that of the mean of their rates.
    """
    if not all(process.series.durations_ns for process in measuring(processes)):
        return interval
    several = [[each.speed.throughput for each in repeat] for repeat in whole(processes)]
    found = of_repeats([scaled(together(each), 1 / len(each)) for each in several], _runs(processes))
    return interval if found.value is None else found


def whole(processes: Sequence[ProcessSummary]) -> list[list[ProcessSummary]]:
    """Return the processes of each repeat that measured something.

    Repeats of which a process failed count only where there are no others: a part of a benchmark is slower.
    """
    repeats = grouped(processes, lambda process: process.repeat).values()
    good = [several for several in repeats if all(process.outcome in GOOD for process in several)]
    return [several for several in map(measuring, good or repeats) if several]


def _runs(processes: Sequence[ProcessSummary]) -> list[int]:
    """Return of each repeat that counts which of the pooled runs it is of."""
    return [several[0].repeat[0] for several in whole(processes)]


def slots_of(processes: Sequence[ProcessSummary]) -> dict[str, Estimate]:
    """Return the throughput on each device, or node, that has a process to itself."""
    own = grouped((p for p in measuring(processes) if p.slot is not None), lambda process: process.slot or "")
    return {
        slot: of_repeats([process.speed.throughput for process in several], [process.repeat[0] for process in several])
        for slot, several in own.items()
    }


def speed_of(processes: Sequence[ProcessSummary], repeats: Sequence[Estimate]) -> Speed:
    """Return how fast a benchmark was; ``repeats``: the throughput of each."""
    loads = [process.speed.load_s for process in processes if process.speed.load_s is not None]
    firsts = [process.speed.first_s for process in processes if process.speed.first_s is not None]
    return Speed(
        throughput=of_repeats(repeats, _runs(processes)),
        times=_times(measuring(processes)),
        first_s=max(firsts, default=None),
        parts=_parts(measuring(processes)),
        load_s=max(loads, default=None),
    )


def _parts(processes: Sequence[ProcessSummary]) -> Mapping[str, StepTimes]:
    if len(processes) == 1:
        return processes[0].speed.parts
    return times_of_parts([process.series.parts for process in processes])


def _times(processes: Sequence[ProcessSummary]) -> StepTimes | None:
    """Return the times of all steps; of repeats the spread between them says how sure mean and median are."""
    if len(processes) == 1:
        return processes[0].speed.times
    repeats = grouped(processes, lambda process: process.repeat)
    if len(repeats) < 2:
        return step_times(_durations(processes))
    each = [(run, found) for (run, _), several in repeats.items() if (found := _central(several))]
    runs = [run for run, _ in each]
    known = {name: of_repeats([found[name] for _, found in each], runs) for name in CENTRAL}
    return step_times(_durations(processes), known)


def _central(processes: Sequence[ProcessSummary]) -> Mapping[Statistic, Estimate]:
    """Return mean and median of the steps of a repeat, nothing where their times are not known."""
    if len(processes) > 1:
        return central(_durations(processes))
    times = processes[0].speed.times
    return {} if times is None else {"mean": times.mean, "p50": times.quantiles["p50"]}


def _durations(processes: Sequence[ProcessSummary]) -> array[int]:
    durations_ns = array("q")
    for process in processes:
        durations_ns.extend(process.series.durations_ns)
    return durations_ns


def _least_precise(processes: Sequence[ProcessSummary]) -> Precision | None:
    """Return the precision of the process that is furthest from what was asked for."""
    several = [process.precision for process in processes if process.precision is not None]
    return max(several, key=lambda each: math.inf if each.reached is None else each.reached / each.asked, default=None)


def trust_of(processes: Sequence[ProcessSummary], rate: Estimate) -> Trust:
    """Return how far to trust a benchmark's rate, whose estimate is ``rate``."""
    several = measuring(processes)
    series = [process.steadiness for process in several if process.steadiness is not None]
    noises = [process.surroundings.noise for process in several]
    evidences = [process.surroundings.evidence for process in several]
    even = verdict.evenness(slots_of(processes))
    overheads = [process.overhead for process in several if process.overhead is not None]
    return Trust(
        grade=verdict.grade(rate, series, noises, even),
        evenness=even,
        steadiness=dict(Counter(found.kind for found in series)),
        unsteady=max((found.warmup for found in series), default=0),
        noise=verdict.pooled(noises),
        overhead=max(overheads, default=None),
        throttled=tuple(dict.fromkeys(reason for evidence in evidences for reason in evidence.throttled)),
        ecc=ecc_of(processes),
        precision=_least_precise(several),
    )
