"""All processes of one benchmark, of all devices, repeats and runs → BenchmarkSummary."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from benchmate.statistics import Estimate, around, between, estimate, mean, std
from benchmate.wire import is_number
from milabench.outcome import GOOD
from milabench.suite.matrix import label
from milabench.summary.devices import energy_of, measuring, per_unit
from milabench.summary.grouping import grouped
from milabench.summary.pooled import rate_of, repeats_of, slots_of, speed_of, trust_of, whole
from milabench.summary.score import performance, score, trimmed
from milabench.summary.series import Series
from milabench.summary.types import BenchmarkSummary, Failure, Losses, Memory, ProcessSummary, Speed


def summarize_benchmark(
    name: str, processes: Sequence[ProcessSummary], config: Mapping[str, Any], *, skipped: str | None = None
) -> BenchmarkSummary:
    """Pool the processes of a benchmark; ``skipped`` says why there is none of it."""
    outcomes = Counter(process.outcome for process in processes)
    counted = _without_lost([process for process in processes if process.outcome != "skipped"])
    n, failed = len(counted), sum(process.outcome not in GOOD for process in counted)
    rates = _pooled(counted)
    kept = trimmed(rates)
    perf = mean(kept) if kept else None
    interval, repeats, energy = _interval(counted, perf, kept), repeats_of(counted), energy_of(counted)
    rate, spread = rate_of(counted, interval), std(kept) if kept else None
    if skipped is not None and not outcomes:
        outcomes["skipped"] = 1
    return BenchmarkSummary(
        name=name,
        n=n,
        failed=failed,
        outcomes=dict(outcomes),
        perf=perf,
        unit=next((process.unit for process in counted if len(process.series)), ""),
        std=spread,
        sem=None if spread is None else spread / math.sqrt(len(kept)),
        interval=interval,
        ngpu=max((process.ngpu for process in processes), default=0),
        devices=tuple(dict.fromkeys(device for process in processes for device in process.devices)),
        memory=Memory.most(process.memory for process in counted),
        losses=_losses(counted),
        warmup_steps=sum(process.warmup for process in counted),
        measured_steps=len(rates),
        seconds=_seconds(counted),
        score=score(_by_device(counted, perf), perf, n, failed) if n else None,
        weight=weight_of(config),
        enabled=enabled_of(config),
        labels=_labels(config),
        failures=tuple(
            Failure(tag=process.tag, outcome=process.outcome, reason=process.reason, node=process.surroundings.node)
            for process in counted
            if process.outcome not in GOOD
        ),
        skipped=skipped,
        processes=tuple(processes),
        rate=rate,
        speed=speed_of(counted, repeats),
        by_slot=slots_of(counted),
        repeats=repeats,
        trust=trust_of(counted, rate),
        energy=energy,
        energy_per_unit=per_unit(energy, counted),
    )


def _without_lost(processes: list[ProcessSummary]) -> list[ProcessSummary]:
    """Return processes without what lost ones had measured, where any went well: only that they failed counts.

    It makes no difference when they were lost. Milabench leaves out what it finds no end of.
    """
    if not any(process.outcome in GOOD for process in measuring(processes)):
        return processes
    return [_unmeasured(process) if process.outcome == "lost" else process for process in processes]


def _unmeasured(process: ProcessSummary) -> ProcessSummary:
    return replace(
        process,
        series=Series(unit=process.unit),
        speed=Speed(),
        steadiness=None,
        precision=None,
        surroundings=replace(process.surroundings, window_ns=None),
    )


def weight_of(config: Mapping[str, Any]) -> float:
    """Return a benchmark's weight by its config, 0 where it says none."""
    weight = config.get("weight")
    return float(weight) if is_number(weight) else 0.0


def enabled_of(config: Mapping[str, Any]) -> bool:
    """Return whether a benchmark counts; what was run without a word on it does."""
    return bool(config.get("enabled", True))


def _labels(config: Mapping[str, Any]) -> dict[str, str]:
    """Return what a matrix has for the benchmark, by the matrix's keys."""
    cell = config.get("matrix")
    return {str(key): label(value) for key, value in cell.items()} if isinstance(cell, Mapping) else {}


def _pooled(processes: Sequence[ProcessSummary]) -> array[float]:
    """Return the rates of several processes as one series; of a single one its own: there may be millions."""
    if len(processes) == 1:
        return processes[0].rates
    rates = array("d")
    for process in processes:
        rates.extend(process.rates)
    return rates


def _by_device(processes: Sequence[ProcessSummary], perf: float | None) -> dict[str, float | None]:
    """Return the perf of each device, or node, that has processes to itself; ``perf`` is that of all processes."""
    own = grouped((p for p in processes if p.slot is not None), lambda process: process.slot or "")
    if len(own) == 1 and all(len(several) == len(processes) for several in own.values()):
        return dict.fromkeys(own, perf)
    return {slot: performance(_pooled(several)) for slot, several in own.items()}


def _interval(processes: Sequence[ProcessSummary], perf: float | None, kept: Sequence[float]) -> Estimate:
    """Return the interval of ``perf``, the mean of the rates that are kept; of repeats it is as wide as they differ.

    Where one failed its rates are in the mean, and what it lacks is not taken for a spread.
    """
    repeats = whole(processes)
    if perf is None or len(repeats) == 1 and len(repeats[0]) == len(measuring(processes)):
        return estimate(kept)
    rates = [trimmed(_pooled(several)) for several in repeats]
    if len(repeats) == 1:
        found = estimate(rates[0])
    else:
        found = between(list(map(mean, rates)), list(map(len, rates)))
    return around(found.n, perf, found.half, found.method)


def _losses(processes: Sequence[ProcessSummary]) -> Losses | None:
    found = [process.losses for process in processes if process.losses is not None]
    if not found:
        return None
    first = [losses.first for losses in found if losses.first is not None]
    last = [losses.last for losses in found if losses.last is not None]
    return Losses(
        first=mean(first) if first else None,
        last=mean(last) if last else None,
        n=sum(losses.n for losses in found),
        nan=any(losses.nan for losses in found),
    )


def _seconds(processes: Sequence[ProcessSummary]) -> float:
    longest: dict[tuple[int, int], float] = {}
    for process in processes:
        longest[process.repeat] = max(longest.get(process.repeat, 0.0), process.seconds or 0.0)
    return math.fsum(longest.values())
