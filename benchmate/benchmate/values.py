"""Losses and further metrics of a task: kept as they come, and read where nothing has to wait for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from benchmate.batches import read_loss

EVERY_NS: Final = 250_000_000  # at most four lines a second of a metric
RESERVED: Final = ("loss", "memory_peak_bytes", "rate", "step", "task", "time", "units")


class Values:
    """What a script says of a task beside its steps. ``write`` takes an event and its data."""

    def __init__(self, task: str, write: Callable[[str, object], None]) -> None:
        self._task, self._write = task, write
        self._losses: list[tuple[int, Any]] = []
        self._waiting: dict[str, tuple[int, Any]] = {}
        self._written_ns: dict[str, int] = {}
        self._odd: set[str] = set()

    def add_loss(self, step: int, loss: Any) -> None:
        """Keep a loss as it is now, unread where reading it would wait for the device."""
        self._losses.append((step, _as_it_is(loss)))

    def record(self, name: str, step: int, value: Any) -> None:
        """Write a number down, at most four times a second; what comes sooner, and a tensor, waits for the next flush.

        The latest value counts. Raises ValueError for a name that means something else in a run, and TypeError or
        ValueError for what is no number.
        """
        if name in RESERVED:
            raise ValueError(f"{name!r} has a meaning of its own in a run: give the metric another name")
        now = time.monotonic_ns()
        waits = hasattr(value, "detach")
        value = _as_it_is(value) if waits else read_loss(value)
        if not waits and now - self._written_ns.get(name, -EVERY_NS) >= EVERY_NS:
            self._written_ns[name] = now
            self._waiting.pop(name, None)
            self._write_one(name, step, value)
        else:
            self._waiting[name] = step, value

    def flush(self) -> None:
        """Read and write what waits; waits for the device. What is no number is left out, with a note."""
        losses, self._losses = self._losses, []
        waiting, self._waiting = self._waiting, {}
        for step, loss in losses:
            self._write_one("loss", step, loss)
        for name, (step, value) in waiting.items():
            self._write_one(name, step, value)

    def _write_one(self, name: str, step: int, value: Any) -> None:
        try:
            number = read_loss(value)
        except (TypeError, ValueError) as error:
            self._note(name, step, error)
        else:
            self._write("data", {"task": self._task, name: number, "step": step})

    def _note(self, name: str, step: int, error: Exception) -> None:
        """Say of the first that is no number which it is."""
        if name not in self._odd:
            self._odd.add(name)
            what = "a loss" if name == "loss" else f"a value of {name!r}"
            self._write("note", {"message": f"{what} is no number and is left out, first at step {step}: {error}"})


def _as_it_is(value: Any) -> Any:
    """Return what a script may alter in place later: of a tensor on a device a copy, which nothing has to wait for.

    A number on the host is read: in half of the time that a view of it takes, and a seventh of that of a copy.
    """
    if getattr(value, "is_cpu", False) and value.numel() == 1:
        return value.item()
    detach = getattr(value, "detach", None)
    if detach is None:
        return value
    kept = detach()
    return kept.clone() if hasattr(kept, "clone") else kept
