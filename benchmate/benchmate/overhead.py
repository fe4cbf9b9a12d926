"""What the Observer itself costs: its own loop around nothing, in the process whose steps it has timed."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Final

from benchmate.device import Accelerator
from benchmate.loop import Loop
from benchmate.statistics import quantile
from benchmate.wire import StepsWriter

STEPS: Final = 200  # at a time: short enough that most blocks are not interrupted
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

    What counting the items takes is not in it.
    """
    costs: list[float] = []
    begun = time.perf_counter_ns()
    while len(costs) < BLOCKS or time.perf_counter_ns() - begun < BUDGET_NS:
        loop = Loop(accelerator, StepsWriter.scratch(STEPS).append, _Nobody())
        source = range(STEPS * batches)
        observed = loop.over_batches(source, _one) if batches == 1 else loop.over_groups(source, batches, _one)
        costs.append((_spent(observed) - _spent(source)) / STEPS)
    return quantile(costs, 0.5)


def _one(_: object) -> int:
    return 1


def _spent(source: Iterable[object]) -> int:
    begun = time.perf_counter_ns()
    for _ in source:
        pass
    return time.perf_counter_ns() - begun
