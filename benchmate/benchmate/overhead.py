"""What the Observer itself costs: its own loop around nothing, in the process whose steps it has timed."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Final

from benchmate.device import Accelerator
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
    costs: list[float] = []
    tried = min(batches, STEPS)
    steps = STEPS // tried
    begun = time.perf_counter_ns()
    while len(costs) < BLOCKS or time.perf_counter_ns() - begun < BUDGET_NS:
        loop = Loop(accelerator, StepsWriter.scratch(steps).append, _Nobody())
        source = range(steps * tried)
        observed = loop.over_batches(source, _one) if batches == 1 else loop.over_groups(source, tried, _one)
        costs.append((_spent(observed) - _spent(source)) / steps)
    return quantile(costs, 0.5) * batches / tried


def _one(_: object) -> int:
    return 1


def _spent(source: Iterable[object]) -> int:
    begun = time.perf_counter_ns()
    for _ in source:
        pass
    return time.perf_counter_ns() - begun
