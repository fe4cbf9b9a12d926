"""Are runs with a busy neighbour called noisy, and runs without one not? A real benchmark, run again and again.

Half of the trials run beside processes that keep every core busy, half without; which comes next is drawn by chance.
What a trial was is not what was planned but what the kernel says: `some` of /proc/pressure/cpu is read by this script
before and after each run, and a trial of which it shows something else than was planned (somebody else's work on a
machine that was to be quiet; a neighbour that nobody noticed) is void, and is repeated:

    python tests/performance/measure_noise.py --runs 20

Exit code 0: all trials were called what they were; 1: some were not; 3: undecided, since too many were void (`--limit`)
or the kernel has no /proc/pressure/cpu.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from measuring import Project, project

Kind = Literal["busy", "quiet"]
PRESSURE: Final = Path("/proc/pressure/cpu")
BUSY_FROM: Final = 0.30  # share of a run's wall time in which somebody waited for a CPU
QUIET_TO: Final = 0.04
EXPECTED: Final[dict[Kind, str]] = {"busy": "noisy", "quiet": "quiet"}
# Some seconds of one core's work, in steps of some milliseconds: long beside milabench's own start.
STEPS: Final = 1000
MAIN: Final = """
    from benchmate.observe import Observer

    observer = Observer(unit="items")
    for batch in observer.iterate([[0] * 8] * 100_000):
        sum(range(200_000))
"""


@dataclass
class Tally:
    """What came of the trials of one kind."""

    called: Counter[str] = field(default_factory=Counter)
    void: int = 0
    shares: list[float] = field(default_factory=list)  # of the wall time in which somebody waited
    wrong: list[str] = field(default_factory=list)

    @property
    def n(self) -> int:
        return self.called.total()


def main() -> int:
    asked = _options()
    if not PRESSURE.exists():
        print(f"undecided: this kernel has no {PRESSURE}")
        return 3
    where = _prepared()
    tallies: dict[Kind, Tally] = {"busy": Tally(), "quiet": Tally()}
    chance = random.Random(asked.seed)
    for number in range(1, asked.limit + 1):
        wanted: list[Kind] = [kind for kind, tally in tallies.items() if tally.n < asked.runs]
        if not wanted:
            break
        kind = chance.choice(wanted)
        print(f"[{number}] {kind}: {_trial(where, kind, tallies[kind])}", flush=True)
    return _verdict(tallies, asked.runs)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20, help="trials of each kind that have to count")
    parser.add_argument("--limit", type=int, help="trials in all, void ones too; default: four times as many as count")
    parser.add_argument("--seed", type=int, default=7, help="of the order of trials")
    asked = parser.parse_args()
    asked.limit = 8 * asked.runs if asked.limit is None else asked.limit
    return asked


def _prepared() -> Project:
    """Return a project with the benchmark installed."""
    where = project()
    where.write("spin/main.py", MAIN)
    limit = {"stop": STEPS, "skip": 20}
    where.suite(spin={"definition": "spin", "plan": {"method": "njobs", "n": 1}, "voir": {"options": limit}})
    done = where.verb("install")
    if done.code:
        sys.exit(f"the benchmark could not be installed:\n{done.err}")
    return where


def _trial(where: Project, kind: Kind, tally: Tally) -> str:
    """Run the benchmark once; return what came of it, in a line."""
    with _neighbours(kind):
        before_s, began_s = _pressure_s(), time.monotonic()
        done = where.verb("run", "--quiet")
        share = (_pressure_s() - before_s) / (time.monotonic() - began_s)
    if done.code:
        sys.exit(f"the benchmark failed:\n{done.out}{done.err}")
    was: Kind | None = "busy" if share >= BUSY_FROM else "quiet" if share <= QUIET_TO else None
    if was != kind:
        tally.void += 1
        return f"void, somebody waited for a CPU {share:.1%} of the time"
    noise = where.report()["spin"]["noise"]
    tally.called[noise["verdict"]] += 1
    tally.shares.append(share)
    told = f"called {noise['verdict']} (somebody waited {share:.1%} of the time): {'; '.join(noise['reasons'])}"
    if noise["verdict"] != EXPECTED[kind]:
        tally.wrong.append(told)
    return told


@contextmanager
def _neighbours(kind: Kind) -> Iterator[None]:
    """Keep every core busy, and one process more than there are cores, where a trial is to have a busy neighbour."""
    many = (os.cpu_count() or 1) + 1 if kind == "busy" else 0
    started = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(many)]
    try:
        yield
    finally:
        for each in started:
            each.kill()
        for each in started:
            each.wait()


def _pressure_s() -> float:
    """Return for how long some task has waited for a CPU since the machine was started."""
    some = PRESSURE.read_text().splitlines()[0]
    return int(some.rpartition("total=")[2]) / 1e6


def _verdict(tallies: dict[Kind, Tally], runs: int) -> int:
    for kind, tally in tallies.items():
        called = ", ".join(f"{count} {word}" for word, count in sorted(tally.called.items())) or "none"
        spread = f"{min(tally.shares):.1%} … {max(tally.shares):.1%}" if tally.shares else "–"
        print(f"{kind}: {tally.n} trials that count, called: {called}; somebody waited {spread}; {tally.void} void")
    if any(tally.wrong for tally in tallies.values()):
        print("wrong: a trial was called something else than it was")
        return 1
    if any(tally.n < runs for tally in tallies.values()):
        print(f"undecided: fewer than {runs} trials of a kind count")
        return 3
    print("right: all were called what they were")
    return 0


sys.exit(main())
