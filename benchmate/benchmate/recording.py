"""What a process writes of the task it measures: its hello, its events, a row for each step, the error that ends it."""

from __future__ import annotations

import functools
import os
import platform
import sys
import time
import traceback
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Final

from benchmate.context import Context, ContextError, writer
from benchmate.device import Accelerator
from benchmate.tally import Tally
from benchmate.wire import BASE_COLUMNS, Clock, StepsWriter

LIBRARIES: Final = ("torch", "numpy", "jax", "transformers", "accelerate", "lightning", "voir")


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is measured: its name, the unit of what it does, the clock of its steps and the columns of their rows."""

    name: str
    unit: str
    clock: Clock
    columns: tuple[str, ...] = BASE_COLUMNS
    one: str = (  # what to do where its rows have a writer already
        "make one Observer, in the process that measures, and wrap every loader with it (or one Session); processes of"
        " a group need a RANK each"
    )


class Recording:
    """The files of one task: events, and ``rows``, which stay in memory where a script is run by hand.

    Until it is closed an error that ends the script is written down. A forked child writes nothing, since all of it is
    its parent's: what it goes on to measure stays in its memory, and ``left`` is called there. Raises ContextError
    where the process's rows have a writer already.
    """

    def __init__(
        self, context: Context, accelerator: Accelerator, task: Task, left: Callable[[], object] = lambda: None
    ) -> None:
        self._task, self._left, self._place = task, left, context.place
        self._events, self.pid = writer(context), os.getpid()
        self.is_by_hand = context.steps is None
        self.rows: StepsWriter | Tally = self._open(context.steps)
        self.write("hello", self._hello(accelerator))
        self._hook, self._previous_hook = self._on_exception, sys.excepthook
        sys.excepthook = self._hook
        os.register_at_fork(after_in_child=functools.partial(_in_child, weakref.ref(self)))

    def write(self, event: str, data: object) -> None:
        if self._events is not None:
            self._events.write(event, data)

    def note(self, message: str) -> None:
        """Write down what differs from what was asked for."""
        self.write("note", {"message": message})

    def close(self) -> None:
        """Close the rows; the process's events go on."""
        if isinstance(self.rows, StepsWriter):
            self.rows.close()
        if sys.excepthook is self._hook:
            sys.excepthook = self._previous_hook

    def _open(self, path: str | None) -> StepsWriter | Tally:
        task = self._task
        zero_ns = time.time_ns() - time.monotonic_ns()
        if path is None:
            return Tally(unit=task.unit, clock=task.clock, zero_ns=zero_ns, columns=task.columns)
        try:
            return StepsWriter(path, unit=task.unit, clock=task.clock, zero_ns=zero_ns, columns=task.columns)
        except FileExistsError:
            error = ContextError(f"{path} is there already, and has one writer: {task.one}")
            self.write("error", error_data(error))  # no hook is set yet that would
            raise error from None

    def _hello(self, accelerator: Accelerator) -> dict[str, object]:
        versions = {name: getattr(sys.modules.get(name), "__version__", None) for name in LIBRARIES}
        return {
            "pid": self.pid,
            "python": platform.python_version(),
            **self._place,
            "device": accelerator.name,
            "clock": self._task.clock,
            "unit": self._task.unit,
            "task": self._task.name,
            "libraries": {name: str(version) for name, version in versions.items() if version is not None},
        }

    def _leave_to_parent(self) -> None:
        self._events, self.rows, self.is_by_hand = None, self._open(None), False
        self._left()

    def _on_exception(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, Exception):
            self.write("error", error_data(error))
        self._previous_hook(kind, error, trace)


def _in_child(recording: weakref.ref[Recording]) -> None:
    forked = recording()
    if forked is not None:
        forked._leave_to_parent()


def error_data(error: BaseException) -> dict[str, str]:
    """Return the data of an ``error`` event."""
    trace = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    return {"type": type(error).__name__, "message": str(error), "trace": trace}
