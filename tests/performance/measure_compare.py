"""How often `milabench compare` calls something better or worse where nothing changed, what it finds, and its time.

Suites of 54 benchmarks on 8 devices, each with a weight, made up in memory: a repeat's rate is the benchmark's own,
times what all benchmarks of that repeat share, times its own noise; devices differ by what stays the same.

    python tests/performance/measure_compare.py [--suites 400] [--seed 1]   # some minutes
"""

from __future__ import annotations

import argparse
import math
import random
import time
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from measuring import show
from milabench.compare import Comparison, compare
from milabench.summary import ProcessSummary, RunFacts, Series, Speed, Summary
from milabench.summary.benchmark import summarize_benchmark
from milabench.summary.speed import throughput

BENCHMARKS, DEVICES = 54, 8
Noise = Callable[[random.Random], float]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Relative noise of a repeat, in A and in B, what all benchmarks of the repeat share, and all repeats of a run."""

    before: Noise
    after: Noise
    shared: float = 0.0
    between: float = 0.0
    failing: float = 0.0  # share of the processes


@dataclass(frozen=True, kw_only=True)
class Shape:
    """How much there is of each benchmark."""

    repeats: int
    runs: int = 1
    devices: int = 1
    steps: int = 1


def normal(spread: float) -> Noise:
    return lambda chance: chance.gauss(0, spread)


def heavy(spread: float) -> Noise:
    """Return Student's t with 3 degrees of freedom, of this scale: one repeat in fifty is 3 times as far off."""
    return lambda chance: spread * chance.gauss(0, 1) / math.sqrt(chance.gammavariate(1.5, 2) / 3)


KINDS = {
    "1 % normal": Kind(before=normal(0.01), after=normal(0.01)),
    "3 % normal": Kind(before=normal(0.03), after=normal(0.03)),
    "1 % in A, 3 % in B": Kind(before=normal(0.01), after=normal(0.03)),
    "1 % heavy tails": Kind(before=heavy(0.01), after=heavy(0.01)),
    "1 %, and 2 % shared": Kind(before=normal(0.01), after=normal(0.01), shared=0.02),
}

POOLED = Kind(before=normal(0.005), after=normal(0.005), between=0.01)  # runs that differ more than their repeats


def main() -> None:
    asked = _options()
    chance = random.Random(asked.seed)
    print(f"{BENCHMARKS} benchmarks, {asked.suites} suites a row, seed {asked.seed}")
    print("nothing changed: suites in which anything is called better or worse; benchmarks called the same")
    for name, repeats in (("1 % normal", 3), *((name, 5) for name in KINDS)):
        found = [_compared(KINDS[name], Shape(repeats=repeats), chance) for _ in range(asked.suites)]
        alarms = sum(map(_has_alarm, found)) / len(found)
        same = sum(each.counts["same"] for each in found) / len(found) / BENCHMARKS
        print(f"  {name}, n = {repeats}: {alarms:.1%}, {same:.0%}", flush=True)
    for share, devices in ((0.05, 1), (0.01, DEVICES)):
        kind = replace(KINDS["1 % normal"], failing=share)
        found = [_compared(kind, Shape(repeats=5, devices=devices), chance) for _ in range(asked.suites // devices)]
        alarms = sum(map(_has_alarm, found)) / len(found)
        open_ = sum("as chance may have it" in each.reason for one in found for each in one.benchmarks)
        told = f"{alarms:.1%}, undecided for it {open_ / len(found) / BENCHMARKS:.0%}"
        print(f"  1 % normal, n = 5, {share:.0%} of the processes fail, one on each of {devices}: {told}", flush=True)
    for runs, repeats in ((2, 5), (3, 5), (5, 5), (5, 1)):
        found = [_compared(POOLED, Shape(repeats=repeats, runs=runs), chance) for _ in range(asked.suites)]
        alarms = sum(map(_has_alarm, found)) / len(found)
        same = sum(each.counts["same"] for each in found) / len(found) / BENCHMARKS
        print(f"  1 % between runs, 0.5 % within, {runs} runs of {repeats}: {alarms:.1%}, {same:.0%}", flush=True)
    print("−3 % in one benchmark at 1 % normal: found; −1.5 % in all of them: found by the score")
    for repeats in (3, 5, 6, 8):
        shape, kind = Shape(repeats=repeats), KINDS["1 % normal"]
        one = [_compared(kind, shape, chance, one=0.97) for _ in range(asked.suites // 2)]
        every = [_compared(kind, shape, chance, every=0.985) for _ in range(asked.suites // 2)]
        first = sum(each.benchmarks[0].verdict == "worse" for each in one) / len(one)
        second = sum(each.overall.verdict == "worse" for each in every) / len(every)
        print(f"  n = {repeats}: {first:.0%}; {second:.0%}", flush=True)
    shape = Shape(repeats=5, devices=DEVICES, steps=60)
    quiet = KINDS["1 % normal"]
    whole = [tuple(_suite(quiet.before, shape, chance, quiet) for _ in "AB") for _ in range(5)]
    show(
        f"compare of 2 × {BENCHMARKS} × {DEVICES} × 5 processes",
        [_seconds(before, after) for before, after in whole],
        "s",
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suites", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def _has_alarm(found: Comparison) -> bool:
    verdicts = {each.verdict for each in found.benchmarks} | {found.overall.verdict}
    return bool(verdicts & {"better", "worse"})


def _compared(kind: Kind, shape: Shape, chance: random.Random, *, one: float = 1.0, every: float = 1.0) -> Comparison:
    before = _suite(kind.before, shape, chance, kind)
    levels = [one * every, *[every] * (BENCHMARKS - 1)]
    return compare(before, _suite(kind.after, shape, chance, kind, levels))


def _suite(noise: Noise, shape: Shape, chance: random.Random, kind: Kind, levels: Sequence[float] = ()) -> Summary:
    repeats = [(run, repeat) for run in range(shape.runs) for repeat in range(shape.repeats)]
    together = [chance.gauss(0, kind.shared) for _ in repeats]
    benchmarks = []
    for number, level in enumerate(levels or [1.0] * BENCHMARKS):
        of_runs = [chance.gauss(0, kind.between) for _ in range(shape.runs)]
        processes = [
            _process(f"b{number}", repeat, device, _rate(level, moved, device, chance, kind), shape.steps)
            for repeat, moved in [
                (repeat, each + of_runs[repeat[0]] + noise(chance))
                for repeat, each in zip(repeats, together, strict=True)
            ]
            for device in range(shape.devices)
        ]
        benchmarks.append(summarize_benchmark(f"b{number}", processes, {"weight": 1.0}))
    runs = tuple(RunFacts(name=f"run{number}", started="", path=f"/run{number}") for number in range(shape.runs))
    return Summary(runs=runs, benchmarks=tuple(benchmarks), missing=(), skipped=(), score={})


def _rate(level: float, moved: float, device: int, chance: random.Random, kind: Kind) -> float | None:
    """Return the rate of a process; None where it fails."""
    failed = kind.failing > 0 and chance.random() < kind.failing
    return None if failed else 100 * level * math.exp(moved) * (1 + 0.02 * device)


def _process(name: str, repeat: tuple[int, int], device: int, rate: float | None, steps: int) -> ProcessSummary:
    series = Series(unit="items/s", printed=array("d", [] if rate is None else [rate]) * steps)
    return ProcessSummary(
        tag=f"{name}.R{repeat[1]}.D{device}",
        benchmark=name,
        repeat=repeat,
        place=f"D{device}",
        slot=f"D{device}",
        outcome="failed" if rate is None else "ok",
        reason="exit code 1" if rate is None else "",
        series=series,
        speed=Speed(throughput=throughput(series)),
        losses=None,
        memory=None,
        seconds=1.0,
        devices=(device,),
        ngpu=1,
        config={},
    )


def _seconds(before: Summary, after: Summary) -> float:
    started = time.perf_counter()
    compare(before, after)
    return time.perf_counter() - started


main()
