"""A summary that holds one of everything a report can say."""

from __future__ import annotations

from array import array

from benchmate.statistics import Estimate
from milabench.plan.types import Skip
from milabench.summary import (
    BenchmarkSummary,
    Failure,
    Losses,
    Memory,
    Missing,
    ProcessSummary,
    RunFacts,
    Summary,
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

PROCESS = ProcessSummary(
    tag="flops-fp32.D0",
    benchmark="flops-fp32",
    repeat=(0, 0),
    slot="D0",
    outcome="ok",
    reason="",
    rates=array("d", [1.88e11, 1.9e11]),
    unit="FLOP/s",
    warmup=5,
    losses=None,
    memory=Memory(peak_bytes=3 * 2**29, source="device"),
    seconds=12.0,
    devices=(0,),
    ngpu=1,
    config={},
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
    return BenchmarkSummary(**{**base, **fields})  # type: ignore[arg-type]


def sample() -> Summary:
    flops = benchmark(
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
    )
    failing = benchmark(
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
    )
    few = benchmark("short|one", perf=3.0, interval=estimate(3.0, None, "too few", 4), weight=2.0, enabled=False)
    skipped = benchmark(
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
    return Summary(
        runs=(RunFacts(name="quick.2030-01-01", started="2030-01-01 00:00:00 UTC", path="/runs/quick.2030-01-01"),),
        benchmarks=(flops, failing, few, skipped),
        missing=(Missing(benchmark="gone", reason="failed: no environment", weight=1.0, enabled=True),),
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
