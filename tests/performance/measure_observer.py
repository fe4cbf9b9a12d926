"""What observing a loop costs and whether it changes the rate; every figure beside the bare loop, in random order.

In the loop: blocks of steps of an empty loop, with and without the Observer, by the host's clock. The rate: pairs of a
loop written by hand and an observed one over the same steps of 1 ms, which wait busily or asleep; the ratio of the
observed rate (items over time of the ``.steps`` file) to the other has to lie within ±1 %, with all of its 95 %
interval. Exit code 1 where it lies elsewhere, 3 where the interval is too wide to say ("undecided": measure again, on a
quieter machine or with more pairs). Stamps of inferences: ``measure_session.py``.

The peer is a checkout of mila-iqia/milabench, whose dependencies are those of an interpreter of yours:

    python tests/performance/measure_observer.py --peer ~/milabench --peer-python ~/milabench/.venv/bin/python
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import islice, repeat
from pathlib import Path

from benchmate import statistics
from benchmate.context import Context, Limit
from benchmate.device import Cpu
from benchmate.observe import Observer
from benchmate.overhead import per_step
from benchmate.wire import read_steps
from measuring import median_of, show, within

PEER = Path(__file__).with_name("peer_observer.py")
BATCH = [0] * 8
BLOCK = 500  # steps: short enough that most blocks are not interrupted
STEP_NS = 1_000_000
TURN = 20  # steps


def main() -> int:
    asked = _asked()
    with tempfile.TemporaryDirectory(prefix="milabench-performance-") as folder:
        where = Path(folder)
        in_loop(where, 100 if asked.quick else 600, asked)
        verdicts = [bias(kind, where, asked) for kind in (busy, asleep)]
    return max(verdicts)


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=30, help="of loops, for the rate; at least 30 say something")
    parser.add_argument("--steps", type=int, default=200, help="of 1 ms in each loop of a pair, in turns of 20")
    parser.add_argument("--quick", action="store_true", help="fewer blocks and steps, to try it out")
    parser.add_argument("--peer", type=Path, help="a checkout of mila-iqia/milabench")
    parser.add_argument("--peer-python", type=Path, default=sys.executable, help="an interpreter with its dependencies")
    asked = parser.parse_args()
    asked.steps = 40 if asked.quick else asked.steps
    return asked


# In the loop ---------------------------------------------------------------------------------------------------------


def in_loop(where: Path, blocks: int, asked: argparse.Namespace) -> None:
    """Print what the Observer adds to a step, the peer's where there is one, and what our own calibration says."""
    costs: dict[str, list[float]] = {"observed": [], "by hand": [], "peer": []}
    passed, end_step = iter(_observer(where, "loop").iterate(repeat(BATCH))), _observer(where, "hand").begin()
    forms: dict[str, Callable[[], int]] = {
        "observed": lambda: _spent(passed),
        "by hand": lambda: _ended(end_step),
        "bare": lambda: _spent(repeat(BATCH)),
    }
    for block in range(blocks):
        spent = {name: forms[name]() for name in random.sample(sorted(forms), 3)}
        for name in ("observed", "by hand"):
            costs[name].append((spent[name] - spent["bare"]) / BLOCK / 1e3)
        if asked.peer and block % (blocks // 5) == 0:
            costs["peer"] += _peer(asked, blocks // 5)
    _cost("in the loop, a step", costs["observed"], goal="≤ 0.5")
    _cost("in a loop without a loader, a step that is ended by hand", costs["by hand"])
    if costs["peer"]:
        _cost("in the loop, a step of the peer's BenchObserver", costs["peer"])
    show("in the loop, as the Observer itself finds it", [per_step(Cpu()) / 1e3 for _ in range(5)], "µs")


def _peer(asked: argparse.Namespace, blocks: int) -> list[float]:
    paths = os.pathsep.join(str(path.resolve()) for path in (asked.peer, asked.peer / "benchmate"))
    argv = [str(asked.peer_python.absolute()), str(PEER), str(BLOCK), str(blocks)]
    environ = {**os.environ, "PYTHONPATH": paths}
    said = subprocess.run(argv, env=environ, capture_output=True, text=True, check=True).stdout
    costs: list[float] = json.loads(said.splitlines()[-1])
    return costs


# The rate ------------------------------------------------------------------------------------------------------------


def busy() -> None:
    """Work for 1 ms."""
    until = time.perf_counter_ns() + STEP_NS
    while time.perf_counter_ns() < until:
        pass


def asleep() -> None:
    """Wait for 1 ms, as for a device or a disk."""
    time.sleep(STEP_NS / 1e9)


def bias(step: Callable[[], None], where: Path, asked: argparse.Namespace) -> int:
    """Print the ratio of the observed rate to that of a loop written by hand; return the exit code."""
    ratios = [_ratio(step, where, asked.steps) for _ in range(asked.pairs)]
    return within(f"rate over {asked.steps} steps of 1 ms, {step.__name__}, to that of a loop written by hand", ratios)


def _ratio(step: Callable[[], None], where: Path, steps: int) -> float:
    """Return it for a pair, whose loops take turns: what else the machine does comes and goes within a pair, too."""
    observer, by_hand_ns = _observer(where, "rate"), 0
    passes, turns = observer.iterate([BATCH] * TURN), steps // TURN
    for _ in range(turns):
        for name in random.sample(["by hand", "observed"], 2):
            if name == "by hand":
                by_hand_ns += _by_hand(step)
            else:
                for _ in passes:
                    step()
    observer.close()
    counts, durations = read_steps(where / "rate.steps").work()
    for path in where.glob("rate.*"):
        path.unlink()
    if len(counts) != turns * TURN:
        sys.exit(f"{len(counts)} of {turns * TURN} steps were recorded")
    reported = statistics.throughput(counts, durations).value or 0  # as a report states it: items over time
    return reported / (turns * TURN * len(BATCH) / by_hand_ns * 1e9)


def _by_hand(step: Callable[[], None]) -> int:
    begun = time.perf_counter_ns()
    for _ in range(TURN):
        step()
    return time.perf_counter_ns() - begun


# What they share -----------------------------------------------------------------------------------------------------


def _observer(where: Path, name: str) -> Observer:
    limit = Limit(skip=0, observations=None)
    context = Context(events=str(where / f"{name}.data"), steps=str(where / f"{name}.steps"), limit=limit)
    return Observer(context=context, accelerator=Cpu())


def _spent(source: Iterable[object]) -> int:
    begun = time.perf_counter_ns()
    for _ in islice(source, BLOCK):
        pass
    return time.perf_counter_ns() - begun


def _ended(end_step: Callable[[int], None]) -> int:
    begun = time.perf_counter_ns()
    for _ in repeat(None, BLOCK):
        end_step(1)
    return time.perf_counter_ns() - begun


def _cost(what: str, costs: Sequence[float], goal: str | None = None) -> None:
    value, low, high = median_of(costs)
    said = f"{what}: median {value:.3f} µs [{low:.3f} … {high:.3f}], n={len(costs)} blocks"
    print(said + (f"; goal {goal} µs" if goal else ""))


if __name__ == "__main__":
    raise SystemExit(main())
