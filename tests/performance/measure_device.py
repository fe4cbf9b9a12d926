"""Steps timed by a device's own events beside loops that are timed by hand, and what the events cost the host.

Needs a CUDA, ROCm, XPU or HPU device that torch sees; exit code 4 without one. In pairs, in random order: the rate that
an observed loop of matrix products states, over that of the same loop by the host's clock, which waits for the device
before its first step and after its last one. The ratio's 95 % interval has to lie within ±1 %: exit code 1 where it
lies elsewhere, 3 where it is too wide to say. Beside it a loop that waits after every step, which is what the events
spare; how far the sum of times from event to event is from that between the first and the last; what a timed step costs
the host.

    python tests/performance/measure_device.py [--arch cuda] [--pairs 30] [--steps 200] [--size 2048]
"""

from __future__ import annotations

import argparse
import itertools
import random
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import repeat
from pathlib import Path
from typing import Any

from benchmate import statistics
from benchmate.context import Context, Limit
from benchmate.device import Accelerator, DeviceError, fetch
from benchmate.observe import Observer
from benchmate.overhead import per_step
from benchmate.wire import read_steps
from measuring import median_of, show, within

WARM_UP = 20


def main() -> int:
    asked = _asked()
    try:
        accelerator = fetch(asked.arch, Context())
    except DeviceError as error:
        print(f"nothing was measured: {error}")
        return 4
    if accelerator.clock != "device":
        print("nothing was measured: no device is visible to torch, and the CPU has no events of its own")
        return 4
    print(f"{accelerator.name} ({accelerator.arch})")
    show("what timing a step costs the host", [per_step(accelerator) / 1e3 for _ in range(5)], "µs")
    with tempfile.TemporaryDirectory(prefix="milabench-performance-") as folder:
        return compare(accelerator, product(accelerator, asked.size), Path(folder), asked)


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", help="cuda, rocm, xpu or hpu; by default what torch sees")
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--size", type=int, default=2048, help="of the square matrices that a step multiplies")
    return parser.parse_args()


def product(accelerator: Accelerator, size: int) -> Callable[[], None]:
    """Return a step: it submits a product of matrices, and waits for nothing."""
    import torch

    left, right = (torch.randn(size, size, device=accelerator.device()) for _ in range(2))
    out = torch.empty_like(left)

    def step() -> None:
        torch.mm(left, right, out=out)
        accelerator.mark_step()

    for _ in range(WARM_UP):
        step()
    accelerator.synchronize()
    return step


def compare(accelerator: Accelerator, step: Callable[[], None], where: Path, asked: argparse.Namespace) -> int:
    """Print the ratios of the rates; return the exit code."""
    ratios: dict[str, list[float]] = {"observed": [], "waiting": []}
    for _ in range(asked.pairs):
        rates = {}
        for name in random.sample(["by hand", "observed", "waiting"], 3):
            if name == "observed":
                rates[name] = _observed(accelerator, step, where, asked.steps)
            else:
                rates[name] = _by_hand(accelerator, step, asked.steps, waits=name == "waiting")
        for name, values in ratios.items():
            values.append(rates[name] / rates["by hand"])
    code = within(f"rate by events over {asked.steps} steps", ratios["observed"])
    print(f"a loop that waits after every step: {median_of(ratios['waiting'])[0] - 1:+.2%} of the rate")
    gaps_ns = [_gap_ns(accelerator, step, asked.steps) for _ in range(asked.pairs)]
    show(f"{asked.steps} times from event to event less that from the first to the last", gaps_ns, "ns")
    return code


def _by_hand(accelerator: Accelerator, step: Callable[[], None], steps: int, *, waits: bool) -> float:
    accelerator.synchronize()
    begun = time.perf_counter_ns()
    for _ in range(steps):
        step()
        if waits:
            accelerator.synchronize()
    accelerator.synchronize()
    return steps / (time.perf_counter_ns() - begun) * 1e9


def _observed(accelerator: Accelerator, step: Callable[[], None], where: Path, steps: int) -> float:
    """Return the rate that a report would state."""
    path = where / "device.steps"
    limit = Limit(skip=0, observations=None)
    context = Context(events=str(where / "device.data"), steps=str(path), limit=limit)
    observer = Observer(count=lambda _: 1, context=context, accelerator=accelerator)
    accelerator.synchronize()
    for _ in observer.iterate(repeat(None, steps)):
        step()
    observer.close()
    counts, durations = read_steps(path).work()
    for each in where.glob("device.*"):
        each.unlink()
    if len(counts) != steps:
        sys.exit(f"{len(counts)} of {steps} steps were recorded")
    return float(statistics.throughput(counts, durations).value or 0)


def _gap_ns(accelerator: Accelerator, step: Callable[[], None], steps: int) -> float:
    """Return what is lost by summing: an interval comes as a 32-bit number of ms."""
    events: list[Any] = [accelerator.event()]
    for _ in range(steps):
        step()
        events.append(accelerator.event())
    accelerator.synchronize()
    summed = sum(round(one.elapsed_time(other) * 1e6) for one, other in itertools.pairwise(events))
    return summed - float(events[0].elapsed_time(events[-1])) * 1e6


if __name__ == "__main__":
    raise SystemExit(main())
