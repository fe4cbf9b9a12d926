"""What timing itself costs: the loop that timed steps or inferences, around nothing, in the same process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Final

from benchmate.device import Accelerator
from benchmate.inferences import Timer
from benchmate.loop import Loop
from benchmate.statistics import quantile
from benchmate.wire import StepsWriter

STEPS: Final = 200  # or batches, at a time: short enough that most blocks are not interrupted
BLOCKS: Final = 5  # at least
BUDGET_NS: Final = 10_000_000


class _Nobody:
    """An owner whom nothing concerns."""

    def pass_begins(self) -> None: ...
    def at_boundary(self) -> bool:
        return False

    def pass_ended(self) -> None: ...
    def beyond(self) -> None: ...


def per_step(accelerator: Accelerator, batches: int = 1) -> float:
    """Return the ns that a step of so many batches takes longer for being timed: the median of short blocks.

    What counting the items takes is not in it. A step of more than ``STEPS`` batches is found by one of so many: all
    but the first few cost the same.
    """
    tried = min(batches, STEPS)
    steps = STEPS // tried

    def cost() -> float:
        loop = Loop(accelerator, StepsWriter.scratch(steps).append, _Nobody())
        source = range(steps * tried)
        observed = loop.over_batches(source, _one) if batches == 1 else loop.over_groups(source, tried, _one)
        return (_spent(observed) - _spent(source)) / steps

    return _median(cost) * batches / tried


def per_inference(timer: Timer, bare: Callable[[], object]) -> float:
    """Return the ns that an inference takes longer for being timed: the median of short blocks, never below 0.

    ``timer`` times what does nothing, ``bare`` does the same untimed. What waiting for an idle device takes is in it.
    """

    def cost() -> float:
        begun = time.perf_counter_ns()
        timer.make(STEPS)
        between = time.perf_counter_ns()
        for _ in range(STEPS):
            bare()
        return (2 * between - begun - time.perf_counter_ns()) / STEPS

    return max(0.0, _median(cost))


def _median(cost: Callable[[], float]) -> float:
    """Return the median of as many tries as fit into the budget."""
    costs: list[float] = []
    begun = time.perf_counter_ns()
    while len(costs) < BLOCKS or time.perf_counter_ns() - begun < BUDGET_NS:
        costs.append(cost())
    return quantile(costs, 0.5)


def _one(_: object) -> int:
    return 1


def _spent(source: Iterable[object]) -> int:
    begun = time.perf_counter_ns()
    for _ in source:
        pass
    return time.perf_counter_ns() - begun
