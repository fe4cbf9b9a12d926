"""Steps that a script ends by itself, timed on the host."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


class StepTimer:
    """Add up the work of a step, and report its rate at the end of it, in items/s.

    ``pusher`` takes metrics by name (``benchmate.metrics.give_push()``); ``sync`` waits for the device, whose work
    the host's clock would miss. Whoever can, wraps the loader with an Observer: it waits for no device.
    """

    def __init__(self, pusher: Callable[..., Any], sync: Callable[[], object] = lambda: None) -> None:
        self.pusher, self.sync = pusher, sync
        self.n_size, self.n_obs = 0, 0
        self.start_time = time.perf_counter()

    def step(self, step_size: int) -> None:
        """Add work that was done."""
        self.n_size += step_size

    def end(self) -> None:
        """Report the rate of what was added since the last end."""
        self.sync()
        now = time.perf_counter()
        size, seconds = self.n_size, now - self.start_time
        self.n_size, self.n_obs = 0, self.n_obs + 1
        self.pusher(rate=size / seconds, units="items/s", task="train")
        self.start_time = time.perf_counter()  # reporting is no part of the next step

    def log(self, **metrics: Any) -> None:
        """Report further metrics, by name."""
        self.pusher(**metrics)
