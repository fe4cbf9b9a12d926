"""A summary that holds one of everything a report can say."""

from __future__ import annotations

from array import array

from benchmate.statistics import Estimate
from benchmate.verdict import Evidence, Grade, Noise, Steadiness, Word
from milabench.plan.types import Skip
from milabench.summary import (
    BenchmarkSummary,
    Energy,
    Failure,
    Losses,
    Memory,
    Missing,
    ProcessSummary,
    RunFacts,
    Series,
    Speed,
    StepTimes,
    Summary,
    Surroundings,
    Trust,
)


def estimate(value: float | None, half: float | None, verdict: str = "ok", n: int = 60) -> Estimate:
    known = value is not None and half is not None
    return Estimate(
        n=n,
        value=value,
        low=value - half if known else None,  # type: ignore[operator]
        high=value + half if known else None,  # type: ignore[operator]
        method="batch means" if known else "none",
        verdict=verdict,  # type: ignore[arg-type]
    )


NOTHING = estimate(None, None, "too few", 0)

TIMES = StepTimes(
    n=60,
    min_s=0.01,
    max_s=0.05,
    mean=estimate(0.0121, 0.0002),
    quantiles={
        "p50": estimate(0.012, 0.0001),
        "p90": estimate(0.015, 0.001),
        "p95": estimate(0.016, 0.002),
        "p99": estimate(None, None, "too few"),
        "p99.9": estimate(None, None, "too few"),
    },
)

PROCESS = ProcessSummary(
    tag="flops-fp32.D0",
    benchmark="flops-fp32",
    repeat=(0, 0),
    place="D0",
    slot="D0",
    outcome="ok",
    reason="",
    series=Series(unit="FLOP/s", printed=array("d", [1.88e11, 1.9e11]), warmup=5),
    losses=None,
    memory=Memory(peak_bytes=3 * 2**29, source="device"),
    seconds=12.0,
    devices=(0,),
    ngpu=1,
    config={},
    speed=Speed(throughput=estimate(1.88e11, 7.5e8), times=TIMES, first_s=1.5),
    steadiness=Steadiness(kind="steady", warmup=0, detail="steady from the first sample on"),
    surroundings=Surroundings(
        window_ns=(10**18, 10**18 + 12 * 10**9),
        node="local",
        evidence=Evidence(window_s=12.0, pressure_share=0.001),
        noise=Noise(verdict="quiet"),
        overhead_ns=2400.0,
    ),
)


def benchmark(name: str, **fields: object) -> BenchmarkSummary:
    base: dict[str, object] = {
        "name": name,
        "n": 1,
        "failed": 0,
        "outcomes": {"ok": 1},
        "perf": 100.0,
        "unit": "items/s",
        "std": 5.0,
        "sem": 0.5,
        "interval": estimate(100.0, 1.0),
        "ngpu": 1,
        "devices": (0,),
        "memory": None,
        "losses": None,
        "warmup_steps": 5,
        "measured_steps": 60,
        "seconds": 10.0,
        "score": 100.0,
        "weight": 1.0,
        "enabled": True,
        "labels": {},
    }
    base["rate"] = fields.get("interval", base["interval"])
    return BenchmarkSummary(**{**base, **fields})  # type: ignore[arg-type]


def trust(word: Word, *reasons: str, **fields: object) -> Trust:
    return Trust(grade=Grade(word=word, reasons=reasons), **fields)  # type: ignore[arg-type]


SHORT = trust("too few", "4 samples are too few for an interval")

FLOPS = benchmark(
    "flops-fp32",
    n=4,
    perf=1.88e11,
    unit="FLOP/s",
    std=1e9,
    sem=1e8,
    interval=estimate(1.88e11, 7.5e8),
    devices=(0, 1, 2, 3),
    memory=Memory(peak_bytes=3 * 2**29, source="device"),
    score=7.52e11,
    labels={"dtype": "fp32"},
    processes=(PROCESS,),
    speed=PROCESS.speed,
    by_slot={"D0": estimate(1.88e11, 7.5e8)},
    repeats=(estimate(7.52e11, 3e9),),
    trust=trust("ok", steadiness={"steady": 4}, noise=Noise(verdict="quiet"), overhead=0.0002),
    energy=Energy(joules=4200.0, seconds=12.0, source="device counter", parts={"0": 4200.0}),
    energy_per_unit=2.5e-9,
)
FAILING = benchmark(
    "resnet50",
    n=2,
    failed=1,
    outcomes={"ok": 1, "timeout": 1},
    perf=23.45,
    interval=estimate(23.45, 2.9, "wide"),
    memory=Memory(peak_bytes=2**30, source="host"),
    losses=Losses(first=7.1, last=None, n=3, nan=True),
    score=11.7,
    failures=(Failure(tag="resnet50.D1", outcome="timeout", reason="reached max_duration\nafter 600 s"),),
    trust=trust("noisy", "another took the CPU", "steal", "the interval is wide", unsteady=12),
)
FEW = benchmark(
    "short|one", perf=3.0, interval=estimate(3.0, None, "too few", 4), weight=2.0, enabled=False, trust=SHORT
)
SKIPPED = benchmark(
    "big",
    n=0,
    outcomes={"skipped": 1},
    perf=None,
    unit="",
    std=None,
    sem=None,
    interval=NOTHING,
    devices=(),
    warmup_steps=0,
    measured_steps=0,
    seconds=0.0,
    score=None,
    skipped="needs 2 nodes",
)


def sample() -> Summary:
    return Summary(
        runs=(RunFacts(name="quick.2030-01-01", started="2030-01-01 00:00:00 UTC", path="/runs/quick.2030-01-01"),),
        benchmarks=(FLOPS, FAILING, FEW, SKIPPED),
        missing=(
            Missing(benchmark="gone", outcome="failed", reason="failed: no environment", weight=1.0, enabled=True),
        ),
        skipped=(Skip(benchmark="big", reason="needs 2 nodes"),),
        score={"milabench": 1234.5678},
        facts={
            "milabench": "1.0",
            "system": {
                "arch": "cuda",
                "nodes": [{"name": "local", "cpus": 16, "devices": [{"name": "H200"}] * 4}],
            },
        },
        warnings=("resnet50: a loss was NaN or infinite",),
    )


def empty() -> Summary:
    run = RunFacts(name="nothing", started="", path="/runs/nothing")
    return Summary(runs=(run,), benchmarks=(), missing=(), skipped=(), score={"milabench": None})


def of(*benchmarks: BenchmarkSummary) -> Summary:
    """Return a summary of these benchmarks, of one run."""
    runs = (RunFacts(name="r", started="", path="/r"),)
    return Summary(runs=runs, benchmarks=benchmarks, missing=(), skipped=(), score={})
