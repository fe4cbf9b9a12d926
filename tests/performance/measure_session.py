"""What a Session costs and whether it changes the rate; every figure beside a loop written by hand, in random order.

A stamp: blocks of inferences that do nothing, made by the loop of a Session and by a bare one, by the host's clock.
The rate: pairs of a few inferences of 1 ms, which wait busily or asleep, made by a Session and by a loop written by
hand; the median ratio of the two rates has to lie within ±1 %, with all of its 95 % interval. Looking: the share of the
time that a Session is not making inferences, by how long these take. Exit code 1 where a goal is missed, 3 where an
interval is too wide to say ("undecided": measure again, on a quieter machine or with more pairs).
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median

from benchmate.context import Context, Limit
from benchmate.device import Cpu
from benchmate.inferences import InParts, Pace, Timer, Whole
from benchmate.overhead import per_inference
from benchmate.session import Session, Stop, Target
from benchmate.wire import MEASURED
from measuring import median_of, show, within

BLOCK = 500  # inferences: short enough that most blocks are not interrupted
STAMP_US = 0.3  # the goal
MS = 1_000_000
CHUNK = 2  # inferences of 1 ms, while the rate is compared
LOOKING = 0.01  # the goal, from inferences of 10 µs on


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=2000, help="for the rate; at least 30 say something")
    parser.add_argument("--quick", action="store_true", help="fewer blocks and pairs, to try it out")
    asked = parser.parse_args()
    pairs = min(asked.pairs, 200) if asked.quick else asked.pairs
    with tempfile.TemporaryDirectory(prefix="milabench-performance-") as folder:
        codes = [stamps(100 if asked.quick else 600)]
        codes += [bias(step, Path(folder), pairs) for step in (busy, asleep)]
        looking(Path(folder), 0.2 if asked.quick else 1.0)
    return 1 if 1 in codes else max(codes)


# Stamps --------------------------------------------------------------------------------------------------------------


def stamps(blocks: int) -> int:
    """Print what a stamp costs in the loop, and what the Session itself says of it; return the exit code."""
    whole, parts = _timers()
    forms: dict[str, Callable[[], int]] = {
        "bare": partial(_bare, _nothing),
        "whole": partial(_made, whole),
        "three bare": partial(_bare, lambda: _nothing(_nothing(_nothing()))),
        "parts": partial(_made, parts),
    }
    of_whole, of_parts = [], []
    for _ in range(blocks):
        spent = {name: forms[name]() for name in random.sample(sorted(forms), len(forms))}
        of_whole.append((spent["whole"] - spent["bare"]) / (2 * BLOCK) / 1e3)
        of_parts.append((spent["parts"] - spent["three bare"]) / (4 * BLOCK) / 1e3)
    codes = [_cost("a stamp, two an inference", of_whole), _cost("a stamp, four an inference (parts)", of_parts)]
    found = [per_inference(whole, _nothing) / 2 / 1e3 for _ in range(5)]
    show("a stamp, as the Session itself finds it", found, "µs")
    return max(codes)


def _timers() -> tuple[Timer, Timer]:
    parts = (_nothing, _nothing, _nothing)
    return Whole(_nothing, Cpu(), time.monotonic_ns), InParts(parts, Cpu(), time.monotonic_ns)


def _nothing(*_: object) -> None:
    """Do nothing."""


def _bare(inference: Callable[[], object]) -> int:
    begun = time.perf_counter_ns()
    for _ in range(BLOCK):
        inference()
    return time.perf_counter_ns() - begun


def _made(timer: Timer) -> int:
    begun = time.perf_counter_ns()
    timer.make(BLOCK)
    return time.perf_counter_ns() - begun


def _cost(what: str, costs: Sequence[float]) -> int:
    value, low, high = median_of(costs)
    code, word = (0, "holds") if high <= STAMP_US else (1, "MISSED") if low > STAMP_US else (3, "undecided")
    print(
        f"{what}: median {value:.3f} µs [{low:.3f} … {high:.3f}], n={len(costs)} blocks; goal ≤ {STAMP_US} µs: {word}"
    )
    return code


# The rate ------------------------------------------------------------------------------------------------------------


def busy() -> None:
    """Work for 1 ms."""
    until = time.perf_counter_ns() + MS
    while time.perf_counter_ns() < until:
        pass


def asleep() -> None:
    """Wait for 1 ms, as for a device or a disk."""
    time.sleep(MS / 1e9)


def bias(inference: Callable[[], None], where: Path, pairs: int) -> int:
    """Print the ratio of the Session's rate to that of a loop written by hand; return the exit code.

    A pair is a chunk of the Session and, before it or after it, as many inferences by hand: so short that many are not
    interrupted.
    """
    made = _made_session(inference, where, Stop(observations=CHUNK * pairs))
    by_hand_ns, ratios, keep = [0], [], made._keep

    def before(calls: int) -> None:
        by_hand_ns[0] = _by_hand(inference, calls) if random.random() < 0.5 else 0

    def kept(calls: int, phase: int) -> None:
        keep(calls, phase)
        read = made._timer.read(calls)
        if phase == MEASURED:
            spent_ns = by_hand_ns[0] or _by_hand(inference, calls)
            ratios.append(spent_ns / (sum(read["end"]) - sum(read["start"])))

    made._pace, made._keep = _Steady(before), kept  # type: ignore[method-assign]
    made.run()
    return within(f"rate of inferences of 1 ms, {inference.__name__}, to that of a loop written by hand", ratios)


class _Steady(Pace):
    """Chunks of one length, each with something before it."""

    def __init__(self, before: Callable[[int], None]) -> None:
        super().__init__()
        self._before = before

    def calls(self, most: int, left_ns: int) -> int:
        calls = min(CHUNK, most)
        self._before(calls)
        return calls

    def took(self, chunk_ns: int, look_ns: int) -> None: ...


def _by_hand(inference: Callable[[], None], made: int) -> int:
    begun = time.perf_counter_ns()
    for _ in range(made):
        inference()
    return time.perf_counter_ns() - begun


def _made_session(inference: Callable[[], object], where: Path, stop: Stop) -> Session:
    for path in where.glob("a.*"):
        path.unlink()
    context = Context(events=str(where / "a.data"), steps=str(where / "a.steps"), limit=Limit())
    return Session(Target(infer=inference, warmup=1), stop=stop, context=context, accelerator=Cpu())


# Looking -------------------------------------------------------------------------------------------------------------


def looking(where: Path, seconds: float) -> None:
    """Print which share of the time goes into looking between chunks, by how long an inference takes."""
    for each_us in (1, 10, 100, 1000):
        shares = [_between(where, each_us, seconds) for _ in range(5)]
        goal = f"≤ {LOOKING:.0%}" if each_us >= 10 else None
        show(
            f"of the time between chunks of inferences of {each_us} µs", [100 * each for each in shares], "%", goal=goal
        )


def _between(where: Path, each_us: int, seconds: float) -> float:
    """Return the share of a usual look in the time of a usual chunk: one during which others ran says little."""

    def inference() -> None:
        until = time.perf_counter_ns() + 1000 * each_us
        while time.perf_counter_ns() < until:
            pass

    made = _made_session(inference, where, Stop(seconds=seconds))
    chunks: list[int] = []
    looks: list[int] = []
    note = made._pace.took

    def took(chunk_ns: int, look_ns: int) -> None:
        note(chunk_ns, look_ns)
        chunks.append(chunk_ns)
        looks.append(look_ns)

    made._pace.took = took  # type: ignore[method-assign]
    made.run()
    settled = len(chunks) // 2
    look_ns, chunk_ns = median(looks[settled:]), median(chunks[settled:])
    return look_ns / (look_ns + chunk_ns)


if __name__ == "__main__":
    sys.exit(main())
