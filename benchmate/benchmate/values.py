"""Losses and further metrics of a task: kept as they come, and read where nothing has to wait for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from benchmate.batches import read_loss

EVERY_NS: Final = 250_000_000  # at most four lines a second of a metric
RESERVED: Final = ("loss", "memory_peak_bytes", "rate", "step", "task", "time", "units")


class Values:
    """What a script says of a task beside its steps. ``write`` takes the data of an event."""

    def __init__(self, task: str, write: Callable[[dict[str, object]], None]) -> None:
        self._task, self._write = task, write
        self._losses: list[tuple[int, Any]] = []
        self._waiting: dict[str, tuple[int, Any]] = {}
        self._written_ns: dict[str, int] = {}

    def add_loss(self, step: int, loss: Any) -> None:
        """Keep a loss, detached and unread: reading it would wait for the device."""
        detach = getattr(loss, "detach", None)
        self._losses.append((step, loss if detach is None else detach()))

    def record(self, name: str, step: int, value: Any) -> None:
        """Write a number down, at most four times a second; what comes sooner, and a tensor, waits for the next flush.

        The latest value counts. Raises ValueError for a name that means something else in a run, and TypeError or
        ValueError for what is no number.
        """
        if name in RESERVED:
            raise ValueError(f"{name!r} has a meaning of its own in a run: give the metric another name")
        now = time.monotonic_ns()
        detach = getattr(value, "detach", None)
        value = read_loss(value) if detach is None else detach()
        if detach is None and now - self._written_ns.get(name, -EVERY_NS) >= EVERY_NS:
            self._written_ns[name] = now
            self._waiting.pop(name, None)
            self._write_one(name, step, value)
        else:
            self._waiting[name] = step, value

    def flush(self) -> None:
        """Read and write what waits; waits for the device."""
        losses, self._losses = self._losses, []
        waiting, self._waiting = self._waiting, {}
        for step, loss in losses:
            self._write_one("loss", step, loss)
        for name, (step, value) in waiting.items():
            self._write_one(name, step, value)

    def _write_one(self, name: str, step: int, value: Any) -> None:
        self._write({"task": self._task, name: read_loss(value), "step": step})
