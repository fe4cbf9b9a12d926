"""Summary → CSV: a row a benchmark, plain numbers, for spreadsheets and other programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Any, Final

from milabench.render import units
from milabench.summary import BenchmarkSummary, Speed, Summary

COLUMNS: Final = (
    *("name", "status", "n", "failed", "perf", "unit", "std", "sem", "low", "high", "interval_verdict"),
    *("warmup_steps", "measured_steps", "ngpu", "devices", "peak_memory_bytes", "peak_memory_source"),
    *("seconds", "score", "weight", "enabled", "labels", "reasons"),
    *("rate", "rate_low", "rate_high", "rate_interval_verdict"),
    *("throughput", "throughput_low", "throughput_high", "first_step_s", "step_min_s", "step_p50_s", "step_p90_s"),
    *("step_p95_s", "step_p99_s", "step_p99.9_s", "step_max_s", "step_mean_s"),
    *("verdict", "verdict_reasons", "noise", "steadiness", "unsteady_steps", "overhead_share"),
    *("precision_asked", "precision_reached"),
    *("energy_j", "energy_per_unit_j", "watts", "energy_source", "throttled", "ecc_corrected", "ecc_uncorrected"),
    *("throughput_by_device", "uneven"),
)


def render(summary: Summary) -> str:
    """Return a header and a row for each benchmark, skipped and missing ones included (see ``status``).

    ``devices`` are joined by spaces, ``labels`` (``key=value``), ``throughput_by_device``, ``reasons`` and the like by
    ``; ``; what is not known is empty.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(_row(found, summary.facts) for found in summary.benchmarks)
    for absent in summary.missing:
        writer.writerow(
            {
                "name": absent.benchmark,
                "status": "missing",
                "n": 0,
                "failed": 0,
                "weight": absent.weight,
                "enabled": str(absent.enabled).lower(),
                "reasons": absent.reason,
            }
        )
    return text.getvalue()


def _row(found: BenchmarkSummary, facts: Mapping[str, Any]) -> dict[str, object]:
    return {
        "name": found.name,
        "status": "skipped" if found.skipped else "failed" if found.failed else "ok",
        "n": found.n,
        "failed": found.failed,
        "perf": found.perf,
        "unit": found.unit,
        "std": found.std,
        "sem": found.sem,
        "low": found.interval.low,
        "high": found.interval.high,
        "interval_verdict": found.interval.verdict if found.perf is not None else None,
        "warmup_steps": found.warmup_steps,
        "measured_steps": found.measured_steps,
        "ngpu": found.ngpu,
        "devices": " ".join(map(str, found.devices)),
        "peak_memory_bytes": found.memory.peak_bytes if found.memory else None,
        "peak_memory_source": found.memory.source if found.memory else None,
        "seconds": found.seconds,
        "score": found.score,
        "weight": found.weight,
        "enabled": str(found.enabled).lower(),
        "labels": "; ".join(f"{key}={value}" for key, value in found.labels.items()),
        "reasons": found.skipped or "; ".join(_reasons(found, facts)),
        **_speed(found.speed),
        **_trust(found),
    }


def _speed(speed: Speed) -> dict[str, object]:
    times = speed.times
    shown = {} if times is None else {f"step_{name}_s": each.value for name, each in times.quantiles.items()}
    if times is not None:
        shown |= {"step_min_s": times.min_s, "step_max_s": times.max_s, "step_mean_s": times.mean.value}
    return {
        "throughput": speed.throughput.value,
        "throughput_low": speed.throughput.low,
        "throughput_high": speed.throughput.high,
        "first_step_s": speed.first_s,
        **shown,
    }


def _trust(found: BenchmarkSummary) -> dict[str, object]:
    trust, energy, ecc = found.trust, found.energy, found.trust.ecc
    if found.perf is None:
        return {}
    return {
        "rate": found.rate.value,
        "rate_low": found.rate.low,
        "rate_high": found.rate.high,
        "rate_interval_verdict": found.rate.verdict,
        "verdict": trust.grade.word,
        "verdict_reasons": "; ".join(trust.grade.reasons),
        "noise": trust.noise.verdict,
        "steadiness": "; ".join(f"{kind}={count}" for kind, count in trust.steadiness.items()),
        "unsteady_steps": trust.unsteady,
        "overhead_share": trust.overhead,
        "precision_asked": trust.precision.asked if trust.precision else None,
        "precision_reached": trust.precision.reached if trust.precision else None,
        "energy_j": energy.joules if energy else None,
        "energy_per_unit_j": found.energy_per_unit,
        "watts": energy.watts if energy else None,
        "energy_source": energy.source if energy else None,
        "throttled": "; ".join(trust.throttled),
        "ecc_corrected": ecc.corrected if ecc else None,
        "ecc_uncorrected": ecc.uncorrected if ecc else None,
        "throughput_by_device": "; ".join(f"{slot}={each.value}" for slot, each in found.by_slot.items()),
        "uneven": "; ".join(f"{each.name}={each.share:+.4g}" for each in trust.evenness.apart),
    }


def _reasons(found: BenchmarkSummary, facts: Mapping[str, Any]) -> Iterator[str]:
    for failure in found.failures:
        yield f"{failure.tag}: {failure.outcome}: {units.reason(failure, facts)}".removesuffix(": ")
