"""Several processes of a benchmark → its speed as a whole, the energy it took, and how far to trust its numbers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from benchmate import verdict
from benchmate.statistics import Estimate, of_repeats
from benchmate.verdict import Noise
from milabench.outcome import GOOD
from milabench.summary.speed import pooled_times, together
from milabench.summary.types import Ecc, Energy, ProcessSummary, Speed, StepTimes, Trust

K = TypeVar("K", bound=Hashable)
_NOISES = ("noisy", "unknown", "quiet")  # that of one process is that of all, the worst first


def measuring(processes: Iterable[ProcessSummary]) -> list[ProcessSummary]:
    """Return the processes that measured something."""
    return [process for process in processes if len(process.series)]


def repeats_of(processes: Sequence[ProcessSummary]) -> tuple[Estimate, ...]:
    """Return the throughput of each repeat: of all that ran at the same time, together.

    Repeats of which a process failed count only where there are no others: a part of a benchmark is slower.
    """
    repeats = _grouped(processes, lambda process: process.repeat)
    whole = [several for several in repeats.values() if all(process.outcome in GOOD for process in several)]
    found = (measuring(several) for several in whole or repeats.values())
    return tuple(together([process.speed.throughput for process in several]) for several in found if several)


def slots_of(processes: Sequence[ProcessSummary]) -> dict[str, Estimate]:
    """Return the throughput on each device, or node, that has a process to itself."""
    own = _grouped((p for p in measuring(processes) if p.slot is not None), lambda process: process.slot or "")
    return {slot: of_repeats([process.speed.throughput for process in several]) for slot, several in own.items()}


def speed_of(processes: Sequence[ProcessSummary], repeats: Sequence[Estimate]) -> Speed:
    """Return how fast a benchmark was; ``repeats``: the throughput of each."""
    firsts = [process.speed.first_s for process in processes if process.speed.first_s is not None]
    return Speed(throughput=of_repeats(repeats), times=_times(measuring(processes)), first_s=max(firsts, default=None))


def _times(processes: Sequence[ProcessSummary]) -> StepTimes | None:
    """Return the times of all steps; of repeats the spread between them says how sure mean and median are."""
    if len(processes) == 1:
        return processes[0].speed.times
    pooled = pooled_times([process.series for process in processes])
    repeats = _grouped(processes, lambda process: process.repeat).values()
    if pooled is None or len(repeats) < 2:
        return pooled
    each = [pooled_times([process.series for process in several]) for several in repeats]
    known = [times for times in each if times is not None]
    median = of_repeats([times.quantiles["p50"] for times in known])
    return replace(
        pooled, mean=of_repeats([times.mean for times in known]), quantiles={**pooled.quantiles, "p50": median}
    )


def trust_of(processes: Sequence[ProcessSummary], interval: Estimate) -> Trust:
    """Return how far to trust a benchmark's rate, which has this interval."""
    several = measuring(processes)
    series = [process.steadiness for process in several if process.steadiness is not None]
    noises = [process.surroundings.noise for process in several]
    evidences = [process.surroundings.evidence for process in several]
    overheads = [process.overhead for process in several if process.overhead is not None]
    return Trust(
        grade=verdict.grade(interval, series, noises),
        steadiness=dict(Counter(found.kind for found in series)),
        unsteady=max((found.warmup for found in series), default=0),
        noise=_worst(noises),
        overhead=max(overheads, default=None),
        throttled=tuple(dict.fromkeys(reason for evidence in evidences for reason in evidence.throttled)),
        ecc=_ecc([process.surroundings.ecc for process in processes]),
    )


def _worst(noises: Sequence[Noise]) -> Noise:
    """Return the noise of several processes: one that is noisy, or of which nothing is known, speaks for all."""
    for word in _NOISES:
        alike = [noise for noise in noises if noise.verdict == word]
        if alike:
            return max(alike, key=lambda noise: len(noise.reasons))
    return Noise(verdict="unknown")


def _ecc(several: Sequence[Ecc | None]) -> Ecc | None:
    known = [ecc for ecc in several if ecc is not None]
    if not known:
        return None
    return Ecc(corrected=sum(ecc.corrected for ecc in known), uncorrected=sum(ecc.uncorrected for ecc in known))


def energy_of(processes: Sequence[ProcessSummary]) -> Energy | None:
    """Return the energy that measuring took, of all repeats; None where that of a process is not known.

    Of processes that have devices theirs counts, of servers too; else that of the whole machine, once for all that ran
    on it at the same time.
    """
    seen = [process for process in processes if process.surroundings.window_ns is not None]
    using = [process for process in seen if process.surroundings.shown] or measuring(seen)
    known = [energy for process in using if (energy := process.surroundings.energy) is not None]
    if not known or len(known) < len(using) or len({energy.source for energy in known}) > 1:
        return None
    several = len({process.surroundings.node for process in using}) > 1
    repeats = [_of_repeat(each, named=several) for each in _grouped(using, lambda process: process.repeat).values()]
    return _summed(repeats, math.fsum(energy.seconds for energy in repeats))


def _of_repeat(processes: Sequence[ProcessSummary], *, named: bool) -> Energy:
    """Return the energy of what ran at the same time, its parts named by their nodes where there are several."""
    nodes = _grouped(processes, lambda process: process.surroundings.node)
    found = [_of_node(each, f"{node}:" if named else "") for node, each in nodes.items()]
    return _summed(found, _seconds(processes))


def _of_node(processes: Sequence[ProcessSummary], prefix: str) -> Energy:
    """Return the energy of what ran on a node at the same time."""
    energies = [process.surroundings.energy for process in processes if process.surroundings.energy is not None]
    summed = _summed(energies, math.fsum(energy.seconds for energy in energies))
    factor = 1.0
    if summed.source.endswith("machine"):  # each has that of all of it: once, from the first beginning to the last end
        factor = _seconds(processes) / summed.seconds
    parts = {f"{prefix}{name}": joules * factor for name, joules in summed.parts.items()}
    return replace(summed, joules=summed.joules * factor, parts=parts)


def _seconds(processes: Sequence[ProcessSummary]) -> float:
    """Return how long it took from the first beginning to the last end of measurements."""
    spans = [process.surroundings.window_ns for process in processes if process.surroundings.window_ns is not None]
    return (max(end for _, end in spans) - min(begin for begin, _ in spans)) / 1e9


def _summed(energies: Sequence[Energy], seconds: float) -> Energy:
    parts: dict[str, float] = {}
    for energy in energies:
        for name, joules in energy.parts.items():
            parts[name] = parts.get(name, 0.0) + joules
    joules = math.fsum(energy.joules for energy in energies)
    return Energy(joules=joules, seconds=seconds, source=energies[0].source, parts=parts)


def per_unit(energy: Energy | None, processes: Sequence[ProcessSummary]) -> float | None:
    """Return the J that each unit of work took; None where how much was done is not known."""
    done = [process.series.done for process in measuring(processes)]
    known = [amount for amount in done if amount is not None]
    if energy is None or len(known) < len(done) or not sum(known):
        return None
    return energy.joules / sum(known)


def _grouped(
    processes: Iterable[ProcessSummary], key: Callable[[ProcessSummary], K]
) -> Mapping[K, list[ProcessSummary]]:
    found: dict[K, list[ProcessSummary]] = {}
    for process in processes:
        found.setdefault(key(process), []).append(process)
    return found
