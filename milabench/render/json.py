"""Summary → the JSON of ``milabench report --json``: versioned, additions only, never NaN."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any, Final

from benchmate.statistics import Estimate
from benchmate.verdict import Evenness, Grade, Noise
from milabench.summary import (
    BenchmarkSummary,
    Ecc,
    Energy,
    Losses,
    Precision,
    ProcessSummary,
    Speed,
    StepTimes,
    Summary,
    Surroundings,
)
from milabench.summary.areas import container

VERSION: Final = 1


def render(summary: Summary) -> str:
    """Return the summary as indented JSON. Rates, ``std`` and ``sem`` are in ``unit``, memory in bytes."""
    return json.dumps(document(summary), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def document(summary: Summary) -> dict[str, Any]:
    """Return what ``render`` writes."""
    return {
        "version": VERSION,
        "runs": [{"name": run.name, "started": run.started or None, "path": run.path} for run in summary.runs],
        "benchmarks": [_benchmark(found) for found in summary.benchmarks],
        "score": dict(summary.score),
        "missing": [
            {"benchmark": absent.benchmark, "reason": absent.reason, "weight": absent.weight, "enabled": absent.enabled}
            for absent in summary.missing
        ],
        "skipped": [{"benchmark": skip.benchmark, "reason": skip.reason} for skip in summary.skipped],
        "warnings": list(summary.warnings),
        "container": container(summary.facts) or None,
    }


def _benchmark(found: BenchmarkSummary) -> dict[str, Any]:
    interval, memory = found.interval, found.memory
    return {
        "name": found.name,
        "n": found.n,
        "failed": found.failed,
        "outcomes": dict(found.outcomes),
        "perf": found.perf,
        "unit": found.unit,
        "std": found.std,
        "sem": found.sem,
        "low": interval.low,
        "high": interval.high,
        "interval": {"n": interval.n, "method": interval.method, "interval_verdict": interval.verdict},
        "rate": _estimate(found.rate),
        "ngpu": found.ngpu,
        "devices": list(found.devices),
        "peak_memory_bytes": memory.peak_bytes if memory else None,
        "peak_memory_source": memory.source if memory else None,
        "steps": {"warmup": found.warmup_steps, "measured": found.measured_steps},
        "unsteady_steps": found.trust.unsteady,
        "throughput": _estimate(found.speed.throughput),
        "throughput_by_device": {slot: _estimate(each) for slot, each in found.by_slot.items()},
        "uneven": _uneven(found.trust.evenness),
        "repeats": [_estimate(each) for each in found.repeats],
        **_times(found.speed),
        "verdict": _grade(found.trust.grade),
        "steadiness": dict(found.trust.steadiness),
        "noise": _noise(found.trust.noise),
        "overhead_share": found.trust.overhead,
        "precision": _precision(found.trust.precision),
        "energy": _energy(found.energy),
        "energy_per_unit_j": found.energy_per_unit,
        "throttled": list(found.trust.throttled),
        "ecc": _ecc(found.trust.ecc),
        "losses": _losses(found.losses),
        "seconds": found.seconds,
        "score": found.score,
        "weight": found.weight,
        "enabled": found.enabled,
        "labels": dict(found.labels),
        "failures": [asdict(fail) for fail in found.failures],
        "skipped": found.skipped,
        "processes": [_process(process) for process in found.processes],
    }


def _process(process: ProcessSummary) -> dict[str, Any]:
    (run, repeat), rates = process.repeat, process.rates
    return {
        "tag": process.tag,
        "run": run,
        "repeat": repeat,
        "outcome": process.outcome,
        "reason": process.reason,
        "task": process.task or None,
        "missing_ranks": list(process.missing_ranks),
        "steps": {"warmup": process.warmup, "measured": len(process.series)},
        "perf": sum(rates) / len(rates) if rates else None,
        "unit": process.unit,
        "devices": list(process.devices),
        "neighbours": list(process.neighbours),
        "peak_memory_bytes": process.memory.peak_bytes if process.memory else None,
        "peak_memory_source": process.memory.source if process.memory else None,
        "losses": _losses(process.losses),
        "seconds": process.seconds,
        "throughput": _estimate(process.speed.throughput),
        **_times(process.speed),
        "verdict": _grade(process.grade),
        "steadiness": None if process.steadiness is None else asdict(process.steadiness),
        **_surroundings(process.surroundings),
        "overhead_share": process.overhead,
        "precision": _precision(process.precision),
    }


def _estimate(found: Estimate) -> dict[str, Any]:
    return {("interval_verdict" if name == "verdict" else name): value for name, value in asdict(found).items()}


def _times(speed: Speed) -> dict[str, Any]:
    """Return the first step's time and those of the measured ones; a quantile for which n is too small is null."""
    step_s = None if speed.times is None else _step_times(speed.times)
    parts = {name: _step_times(times) for name, times in speed.parts.items()}
    return {"first_step_s": speed.first_s, "step_s": step_s, "part_s": parts or None, "load_s": speed.load_s}


def _step_times(times: StepTimes) -> dict[str, Any]:
    quantiles = {name: _estimate(found) for name, found in times.quantiles.items()}
    return {"n": times.n, "min": times.min_s, "max": times.max_s, "mean": _estimate(times.mean), **quantiles}


def _grade(grade: Grade) -> dict[str, Any]:
    return {"word": grade.word, "reasons": list(grade.reasons)}


def _uneven(found: Evenness) -> dict[str, Any] | None:
    if not found.apart:
        return None
    return {"median": found.median, "of": found.of, "apart": {each.name: each.share for each in found.apart}}


def _noise(noise: Noise) -> dict[str, Any]:
    return {"verdict": noise.verdict, "reasons": list(noise.reasons)}


def _surroundings(found: Surroundings) -> dict[str, Any]:
    return {
        "window_ns": list(found.window_ns) if found.window_ns else None,
        "noise": _noise(found.noise),
        "evidence": asdict(found.evidence),
        "energy": _energy(found.energy),
        "ecc": _ecc(found.ecc),
        "overhead_ns": found.overhead_ns,
    }


def _precision(found: Precision | None) -> dict[str, Any] | None:
    return None if found is None else asdict(found)


def _energy(energy: Energy | None) -> dict[str, Any] | None:
    return None if energy is None else {**asdict(energy), "watts": energy.watts}


def _ecc(ecc: Ecc | None) -> dict[str, Any] | None:
    return None if ecc is None else asdict(ecc)


def _losses(losses: Losses | None) -> dict[str, Any] | None:
    if losses is None:
        return None
    return {"first": losses.first, "last": losses.last, "n": losses.n, "nan": losses.nan}
