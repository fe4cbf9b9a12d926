"""Metrics that a script reports itself: written as they come, and its rates counted up to the suite's limit."""

from __future__ import annotations

import atexit
import functools
import os
import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final

from benchmate.context import Context, Limit, current, writer
from benchmate.observations import Observations
from benchmate.stopping import end_program, group_size
from benchmate.wire import WARMUP, EventWriter, is_number, unit_of_rates

METRIC: Final = "$metric"  # marks what is given to voir as a metric, whatever its name is
_NUMBERS: Final = ("rate", "loss")


class Reported:
    """What one process says of itself; after ``skip`` rates, which are warm-up, its limit ends the program.

    A rate has no duration: ``seconds`` run from the last rate of warm-up, ``precision`` is that of the mean of rates.
    A rank of a group never ends by itself: its leader says that it is enough, and the runner ends them all. A forked
    child says nothing, since the file is its parent's.
    """

    def __init__(self, context: Context, events: EventWriter | None) -> None:
        self._context, self._events, self._pid = context, events, os.getpid()
        self._sum, self._units = 0.0, ""
        self._observations = self._up_to(context.limit)
        self._enough: dict[str, object] | None = None
        self._names = {"rate", METRIC}
        self._noted: set[str] = set()

    @property
    def suite_limits(self) -> bool:
        """Whether a suite says when to end, and not the script."""
        return bool(self._context.voir)

    def end_at(self, limit: Limit) -> None:
        """Take another limit than the suite's."""
        self._observations = self._up_to(limit)

    def take(self, names: Iterable[str]) -> None:
        """Let what is given by these names be a metric, too."""
        self._names.update(names)

    def is_metric(self, data: Mapping[str, Any]) -> bool:
        """Say whether what a script gave is to be written: a rate, a loss and its task, or what else is a metric."""
        return {"loss", "task"} <= data.keys() or not self._names.isdisjoint(data)

    def push(self, data: Mapping[str, Any]) -> None:
        """Write what JSON can hold of it. Raises StopProgram after the last rate that is wanted."""
        kept = plain({**data, **self._numbers(data)})
        is_rate = "rate" in kept and kept.setdefault("task", "train") == "train" and _is_rate(kept["rate"])
        if is_rate and self._is_in_unit(kept.get("units")):
            self._observe(kept)
        else:
            self.write("data", kept)

    def stop(self, enough: dict[str, object]) -> None:
        """Say that enough is measured, once, and end the program where that is for this process to do.

        Raises StopProgram. Where that would not end the program, the process ends at once.
        """
        world_size = group_size(self._context)
        if self._enough is None:
            self._enough = enough
            if self._context.rank == 0:
                self.write("stop", {**enough, **({} if world_size == 1 else {"world_size": world_size})})
        if world_size != 1:
            return
        end_program()

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
        measured = self._observations.measured
        if not measured:
            return ""
        return f"train: {self._sum / measured:.6g} {self._units or 'items/s'}, the mean of {measured} reported rates\n"

    def _is_in_unit(self, units: object) -> bool:
        """Say whether a rate is in the unit that was said first, or in none: those in others are no part of it."""
        known = unit_of_rates(self._units, units)
        if known is None:
            self.note(f"a rate in {units} does not count: rates are in {self._units}")
            return False
        self._units = known
        return True

    def _observe(self, data: dict[str, Any]) -> None:
        """Write a rate and count it; a group that goes on after the last that was wanted gives none."""
        if self._enough is not None:
            self.stop(self._enough)
            return
        now_ns = time.monotonic_ns()
        if self._observations.add(now_ns, rate=data["rate"]) == WARMUP:
            self.write("data", {**data, "task": "warmup"})
            return
        self.write("data", data)
        self._sum += data["rate"]
        enough = self._observations.reached(now_ns)
        if enough is not None:
            self.stop(enough)

    @staticmethod
    def _up_to(limit: Limit) -> Observations:
        return Observations(
            skip=limit.skip,
            since_ns=time.monotonic_ns(),
            observations=limit.observations,
            seconds=limit.seconds,
            precision=limit.precision,
        )

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
