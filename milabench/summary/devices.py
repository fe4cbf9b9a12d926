"""What devices and machines took and counted, once for all the processes of a benchmark that used them at a time.

The copies of a job, a client and its server, and the commands of a sequence may have the same device: each of them has
seen all that it took.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from milabench.summary.grouping import grouped
from milabench.summary.types import Ecc, Energy, ProcessSummary

Span = tuple[int, int]  # ns since 1970


def measuring(processes: Iterable[ProcessSummary]) -> list[ProcessSummary]:
    """Return the processes that measured something."""
    return [process for process in processes if len(process.series)]


def energy_of(processes: Sequence[ProcessSummary]) -> Energy | None:
    """Return the energy that measuring took, of all repeats; None where that of a process is not known.

    Of processes that have devices theirs counts, of servers too; else that of the whole machine. ``seconds`` are those
    in which any of them measured.
    """
    seen = [process for process in processes if process.surroundings.window_ns is not None]
    using = [process for process in seen if process.surroundings.shown] or measuring(seen)
    known = [energy for process in using if (energy := process.surroundings.energy) is not None]
    if not known or len(known) < len(using) or len({energy.source for energy in known}) > 1:
        return None
    named = len({process.surroundings.node for process in using}) > 1
    parts: dict[str, float] = {}
    seconds = 0.0
    for several in grouped(using, lambda process: process.repeat).values():
        seconds += _seconds(merged(map(_window, several)))
        for name, joules in _of_repeat(several, named=named):
            parts[name] = parts.get(name, 0.0) + joules
    return Energy(joules=math.fsum(parts.values()), seconds=seconds, source=known[0].source, parts=parts)


def _of_repeat(processes: Sequence[ProcessSummary], *, named: bool) -> Iterable[tuple[str, float]]:
    """Yield what each part took while processes ran at the same time, ``named`` with its node.

    The time in which several of them measured is in the energy of each: it counts once.
    """
    found = [
        (f"{process.surroundings.node}:{name}" if named else name, joules, _window(process))
        for process in processes
        if process.surroundings.energy is not None
        for name, joules in process.surroundings.energy.parts.items()
    ]
    for name, several in grouped(found, lambda part: part[0]).items():
        windows = [window for _, _, window in several]
        once = _seconds(merged(windows)) / _seconds(windows)
        yield name, math.fsum(joules for _, joules, _ in several) * once


def per_unit(energy: Energy | None, processes: Sequence[ProcessSummary]) -> float | None:
    """Return the J that each unit of work took; None where how much was done is not known."""
    done = [process.series.done for process in measuring(processes)]
    known = [amount for amount in done if amount is not None]
    if energy is None or len(known) < len(done) or not sum(known):
        return None
    return energy.joules / sum(known)


def ecc_of(processes: Sequence[ProcessSummary]) -> Ecc | None:
    """Return the memory errors that devices counted while they were used; None where none of them counts any."""
    found = [
        ((process.repeat, process.surroundings.node, name), _window(process), ecc)
        for process in processes
        if process.surroundings.window_ns is not None
        for name, ecc in process.surroundings.errors.items()
    ]
    devices = grouped(found, lambda each: each[0]).values()
    once = [ecc for device in devices for ecc in _once([(window, ecc) for _, window, ecc in device])]
    return Ecc.total(once) if once else None


def _once(several: Sequence[tuple[Span, Ecc]]) -> Iterable[Ecc]:
    """Yield the errors that a device had, those of windows that overlap once: the most that any has seen of them."""
    for begin, end in merged(window for window, _ in several):
        seen = [ecc for window, ecc in several if begin <= window[0] and window[1] <= end]
        yield Ecc(corrected=max(ecc.corrected for ecc in seen), uncorrected=max(ecc.uncorrected for ecc in seen))


def merged(windows: Iterable[Span]) -> list[Span]:
    """Return windows of time with those that overlap as one."""
    found: list[Span] = []
    for begin, end in sorted(windows):
        if found and begin < found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], end)
        else:
            found.append((begin, end))
    return found


def _window(process: ProcessSummary) -> Span:
    return process.surroundings.window_ns or (0, 0)


def _seconds(windows: Iterable[Span]) -> float:
    return sum(end - begin for begin, end in windows) / 1e9
