"""Runs that a monitor has watched, made up for tests of their summaries."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from monitor_lines import Line, at, cpu, header
from summary_fakes import FakeRun, MakeRun, end, plan, steps

from benchmate.wire import Steps
from milabench.plan.types import Plan
from milabench.summary import BenchmarkSummary, ProcessSummary, summarize

CPU = {"system": {"arch": "cpu"}}
GPU = {"system": {"arch": "cuda"}}
ALONE = {"net": [[("net.D0", "local", (0,))]]}
QUIET = [header(), *(cpu(t, busy=1.0, ours=0.95, pressure=0.002) for t in range(31))]
NOISY = [header(), *(cpu(t, busy=4.0, ours=1.0, pressure=0.6) for t in range(31))]


def made(begin_s: float, seconds: float, *, n: int = 100, count: int = 10, unit: str = "items") -> Steps:
    """Return steps that were made from a moment on; the first one is warm-up, and takes as long as the others."""
    each_ms = round(seconds * 1000 / n)
    rows = [(i * each_ms, (i + 1) * each_ms, count, 1) for i in range(n)]
    return replace(steps((-each_ms, 0, count, 0), *rows, unit=unit), zero_ns=at(begin_s))


def watched(run: FakeRun, lines: Iterable[Line], node: str = "local") -> None:
    """Write what the monitor of a node saw."""
    (run.path / f"{node}.monitor.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def measured(begin_s: float, end_s: float, **used: Any) -> tuple[str, object]:
    told = {"task": "train", "begin_ns": at(begin_s), "end_ns": at(end_s), "steps": 100, "cpu_s": 9.0, "wait_s": 0.01}
    return ("measured", {**told, "involuntary": 5, "overhead_ns": 300, **used})


def only(run: FakeRun | Sequence[FakeRun]) -> BenchmarkSummary:
    (found,) = summarize(run).benchmarks  # type: ignore[arg-type]
    return found


def one(run: FakeRun) -> ProcessSummary:
    return only(run).processes[0]


def watched_run(make_run: MakeRun, lines: Iterable[Line], facts: Any = CPU, jobs: Any = ALONE) -> FakeRun:
    """Return a run of a process that measured from second 5 to second 15."""
    run = make_run(recorded=facts, planned=plan(jobs), columns={"net.D0": made(5, 10)})
    run.write("net.D0", measured(5, 15), end())
    watched(run, lines)
    return run


def of_devices(make_run: MakeRun, repeats: int, *, failed: str = "") -> FakeRun:
    """Return a run of two devices, of which the second does half of what the first does."""
    names = ["net" if repeat == 0 else f"net.R{repeat}" for repeat in range(repeats)]
    jobs: dict[str, Any] = {name: [[(f"{name}.D{each}", "local", (each,))] for each in (0, 1)] for name in names}
    planned: Plan = plan(jobs)
    run = make_run(recorded=GPU, planned=planned)
    for number, name in enumerate(names):
        for each in (0, 1):
            tag = f"{name}.D{each}"
            run.columns[tag] = made(5 + 20 * number, 10 + number * 0.1, count=20 // (each + 1))
            run.write(tag, end("failed" if tag == failed else "ok"))
    return run
