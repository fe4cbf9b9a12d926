"""Resolving, planning and printing suites of 54 to 50,000 jobs, as a matrix and as entries, beside the peer.

The peer is a checkout of mila-iqia/milabench, whose dependencies are those of an interpreter of yours:

    python tests/performance/measure_scale.py --peer ~/milabench --peer-python ~/milabench/.venv/bin/python

A job has one process. What a job costs is CPU and memory over those of the same command for a suite of one job: costs
that are equal from size to size mean linear. The ratio to the peer is one of CPU too, which other work on the machine
disturbs less than wall time.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

from measuring import Cost, Project, milabench, project, spent

HEAD = """\
_trivial:
  inherits: _defaults
  definition: bench
  group: trivial
  tags: [monogpu]
  plan: {method: per_gpu}
  argv: {--lr: 0.01, --epochs: 50}

"""
ENTRY = """\
bench{n}:
  inherits: _trivial
  tags: [number{n}]
  argv: {{--number: {n}, --workers: "{{cpu_per_gpu}}"}}

"""
MATRIX = """\
many:
  matrix: {{a: {a}, b: {b}}}
  job:
    name: "bench-{{a}}-{{b}}"
    inherits: _trivial
    argv: {{--a: "{{a}}", --b: "{{b}}"}}
"""
BENCHFILE = """\
from milabench.pack import Package


class Trivial(Package):
    pass


__pack__ = Trivial
"""
TIMES = {54: 5, 1_000: 3, 5_000: 3, 50_000: 1}
GOALS = {54: "≤ 0.3 s", 1_000: "linear", 5_000: "≤ 1.5 s", 50_000: "≤ 15 s"}
PLANNER = Path(__file__).with_name("peer_plan.py")


def entries(jobs: int) -> str:
    return HEAD + "".join(ENTRY.format(n=n) for n in range(jobs))


def matrix(jobs: int) -> str:
    inner = next(size for size in (100, 9, 1) if jobs % size == 0)
    return HEAD + MATRIX.format(a=list(range(jobs // inner)), b=list(range(inner)))


FORMS: dict[str, Callable[[int], str]] = {"matrix": matrix, "entries": entries}


def main() -> None:
    asked = _options()
    where = project()
    where.write("bench/main.py", "print('{\"rate\": 1}')\n")
    where.write("bench/benchfile.py", BENCHFILE)
    for form in FORMS:
        print(f"resolve, plan and print, {form}")
        alone = _ours(where, form, 1, 3)
        beside = _peer(where, asked, form, 1, 3) if asked.peer else None
        for jobs, times in TIMES.items():
            cost = _ours(where, form, jobs, times)
            print(f"  {_row('', jobs, cost, alone)}; goal {GOALS[jobs]}")
            if beside is not None and jobs <= asked.peer_most:
                theirs = _peer(where, asked, form, jobs, times if jobs == min(TIMES) else 1)
                print(f"  {_row('the peer', jobs, theirs, beside)}; × {theirs.cpu_s / cost.cpu_s:.1f}")
        if beside is not None and asked.peer_most < max(TIMES):
            print(f"  the peer was not asked for more than {asked.peer_most:,} jobs")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path, help="a checkout of mila-iqia/milabench")
    parser.add_argument("--peer-python", type=Path, default=sys.executable, help="an interpreter with its dependencies")
    parser.add_argument("--peer-most", type=int, default=1_000, help="jobs that it is asked for at most (1000)")
    return parser.parse_args()


def _ours(where: Project, form: str, jobs: int, times: int) -> Cost:
    where.write("suite.yaml", FORMS[form](jobs))
    arguments = ("plan", "--config", "suite.yaml", "--arch", "cpu", "--format", "json")
    return _median([milabench(where, *arguments) for _ in range(times)])


def _peer(where: Project, asked: argparse.Namespace, form: str, jobs: int, times: int) -> Cost:
    suite = where.write("suite.yaml", FORMS[form](jobs))
    paths = os.pathsep.join(str(path.resolve()) for path in (asked.peer, asked.peer / "benchmate"))
    environ = {**where.environ, "PYTHONPATH": paths, "MILABENCH_GPU_ARCH": "cpu"}
    argv = [str(asked.peer_python), str(PLANNER), str(suite), str(where.base)]
    return _median([spent(argv, where.folder, environ) for _ in range(times)])


def _median(costs: list[Cost]) -> Cost:
    return Cost(*(statistics.median(values) for values in zip(*(vars(cost).values() for cost in costs), strict=True)))


def _row(who: str, jobs: int, cost: Cost, alone: Cost) -> str:
    each_ms = 1_000 * (cost.cpu_s - alone.cpu_s) / jobs
    each_kib = 1_024 * (cost.rss_mib - alone.rss_mib) / jobs
    total = f"{cost.wall_s:7.2f} s wall, {cost.cpu_s:7.2f} s CPU, {cost.rss_mib:5.0f} MiB"
    return f"{who:>8} {jobs:>6,} jobs: {total}; a job {each_ms:.3f} ms CPU, {each_kib:.1f} KiB"


main()
