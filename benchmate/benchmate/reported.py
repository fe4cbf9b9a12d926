"""Metrics that a script reports itself: written as they come, and its rates counted up to the suite's limit."""

from __future__ import annotations

import atexit
import functools
import os
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any, Final

from benchmate import statistics
from benchmate.context import Context, Limit, current, writer
from benchmate.stopping import StopProgram
from benchmate.wire import EventWriter, is_number

_NUMBERS: Final = ("rate", "loss")


class Reported:
    """What one process says of itself; after ``skip`` rates, which are warm-up, its limit ends the program.

    A rate has no duration: ``seconds`` run from the last rate of warm-up, ``precision`` is that of the mean of rates.
    A rank of a group never ends by itself: its leader says that it is enough, and the runner ends them all. A forked
    child says nothing, since the file is its parent's.
    """

    def __init__(self, context: Context, events: EventWriter | None) -> None:
        self._context, self._events, self._pid = context, events, os.getpid()
        self._limit = context.limit
        self._rates: list[float] = []
        self._seen, self._look_at = 0, statistics.next_look(0)
        self._since_ns = time.monotonic_ns()
        self._enough: str | None = None
        self._units = ""
        self._noted: set[str] = set()

    @property
    def suite_limits(self) -> bool:
        """Whether a suite says when to end, and not the script."""
        return bool(self._context.voir)

    def end_at(self, limit: Limit) -> None:
        """Take another limit than the suite's."""
        self._limit = limit

    def push(self, data: Mapping[str, Any]) -> None:
        """Write what JSON can hold of it. Raises StopProgram after the last rate that is wanted."""
        kept = plain({**data, **self._numbers(data)})
        if "rate" in kept and kept.setdefault("task", "train") == "train" and _is_rate(kept["rate"]):
            self._observe(kept)
        else:
            self.write("data", kept)

    def stop(self, reason: str) -> None:
        """Say that enough is measured, once, and end the program where that is for this process to do.

        Raises StopProgram. In another thread than the main one, which that would end alone (JAX calls back in one), the
        process ends at once.
        """
        world_size = self._context.world_size
        if self._enough is None:
            self._enough = reason
            if self._context.rank == 0:
                self.write("stop", {"reason": reason, **({"world_size": world_size} if world_size > 1 else {})})
        if world_size > 1:
            return
        if threading.current_thread() is threading.main_thread():
            raise StopProgram
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)

    def note(self, message: str) -> None:
        """Write down what differs from what was asked for, once."""
        if message not in self._noted:
            self._noted.add(message)
            self.write("note", {"message": message})

    @property
    def is_own_process(self) -> bool:
        """Whether this is the process that the events are of, and no child that it forked."""
        return os.getpid() == self._pid

    def write(self, event: str, data: object) -> None:
        if self._events is not None and self.is_own_process:
            self._events.write(event, data)

    def describe(self) -> str:
        """Return what is kept of the rates of a script that was run by hand, or nothing where there were none."""
        if not self._rates:
            return ""
        return (
            f"train: {statistics.mean(self._rates):.6g} {self._units}, the mean of {len(self._rates)} reported rates\n"
        )

    def _observe(self, data: dict[str, Any]) -> None:
        self._seen += 1
        if self._seen <= self._limit.skip:
            self.write("data", {**data, "task": "warmup"})
            self._since_ns = time.monotonic_ns()
            return
        self.write("data", data)
        self._rates.append(data["rate"])
        self._units = data.get("units", "items/s")
        reason = self._enough or self._reached()
        if reason is not None:
            self.stop(reason)

    def _reached(self) -> str | None:
        limit, measured = self._limit, len(self._rates)
        if limit.observations is not None and measured >= limit.observations:
            return "observations"
        if limit.seconds is not None and time.monotonic_ns() - self._since_ns >= limit.seconds * 1e9:
            return "seconds"
        if limit.precision is not None and measured >= self._look_at:
            self._look_at = statistics.next_look(measured)
            if statistics.precise(statistics.estimate(self._rates, "mean"), limit.precision):
                return "precision"
        return None

    def _numbers(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Return a rate and a loss that are arrays of one element (torch, numpy, jax) as numbers."""
        read = [name for name in _NUMBERS if hasattr(data.get(name), "item")]
        if any(hasattr(data[name], "device") for name in read):
            self.note("a rate or a loss is reported as a tensor: reading it waits for the device each time")
        return {name: data[name].item() for name in read}


@functools.cache
def here() -> Reported:
    """Return the process's one: voir's overseer, a voirfile and the script know nothing of each other."""
    context = current()
    metrics = Reported(context, writer(context))
    if context.events is None:
        atexit.register(lambda: sys.stderr.write(metrics.describe()))
    return metrics


def is_metric(data: Mapping[str, Any]) -> bool:
    """Say whether what a script gave is to be written: a rate, a loss and its task, or what it says is a metric."""
    return "rate" in data or {"loss", "task"} <= data.keys() or METRIC in data


METRIC: Final = "$metric"  # marks what is given to voir as a metric, whatever its name is


def plain(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries that JSON can hold, without voir's own (``$…``)."""
    return {key: value for key, value in data.items() if not key.startswith("$") and _is_plain(value)}


def _is_plain(value: object) -> bool:
    match value:
        case None | bool() | int() | float() | str():
            return True
        case list() | tuple():
            return all(map(_is_plain, value))
        case dict():
            return all(isinstance(key, str) for key in value) and all(map(_is_plain, value.values()))
        case _:
            return False


def _is_rate(value: object) -> bool:
    return is_number(value) and value > 0
