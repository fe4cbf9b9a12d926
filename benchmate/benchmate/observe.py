"""Time a training loop that belongs to the user's own code: one row per step, and nothing else inside the loop."""

from __future__ import annotations

import atexit
import inspect
import os
import sys
from collections.abc import Callable, Generator, Iterable
from typing import Any, TypeVar

from benchmate.batches import Count
from benchmate.context import Context, current
from benchmate.device import Accelerator, of_process
from benchmate.measurement import Measurement
from benchmate.recording import Recording, Task
from benchmate.stopping import StopProgram
from benchmate.tally import Tally
from benchmate.wrapped import Criterion, Observed

__all__ = ["Criterion", "Observed", "Observer", "StopProgram"]

T = TypeVar("T")


class Observer:
    """Wrap a loop's loader, and every pass over it is timed; after ``skip`` + ``observations`` steps the program ends.

    ``count`` returns the items in a batch; by default the length of its first tensor or sequence.
    No time counts twice where passes lie within each other (an evaluation within training): a step in which another
    pass made a step is written as overlapped, and counts neither for the rate nor for the limit.
    A rank of a group never ends by itself, since the others would wait for it: at the limit it goes on unrecorded. The
    leader (rank 0) writes ``stop`` a step later, when what the others do together with it says that they have made
    their last measured step too, and it is for the runner to end them all. A group of one is no group.
    Raises ContextError where the process has an Observer already, DeviceError for a device not there.
    """

    def __init__(
        self,
        unit: str = "items",
        count: Count | None = None,
        task: str = "train",
        accelerator: Accelerator | None = None,
        context: Context | None = None,
    ) -> None:
        context = current() if context is None else context
        self._task, self._count = task, count
        self._accelerator, doubt = of_process(context) if accelerator is None else (accelerator, "")
        what = Task(name=task, unit=unit, clock=self._accelerator.clock)
        self._recording = Recording(context, self._accelerator, what, left=self._leave_to_parent)
        self._measurement = Measurement(context, self._accelerator, self._recording, task)
        self._measurement.before_exit = self.close
        self._loop, self._values = self._measurement.loop, self._measurement.values
        self._hand: Generator[None, None, None] | None = None
        self._closed = self._is_child = False
        if doubt:
            self.note(doubt)
        atexit.register(self.close)

    # What a script or a voirfile calls ---------------------------------------------------------------------------

    def iterate(self, loader: Iterable[T], accumulation: int = 1) -> Observed[T]:
        """Return the loader with every pass over it timed; its other attributes stay within reach.

        ``accumulation`` is how many batches the optimizer makes one step of: so many, and those left at the end of a
        pass, are one step here too, of the items in all of them.
        """
        return Observed(loader, lambda batches: self._pass(batches, accumulation))

    loader = iterate

    def begin(self) -> Callable[[int], None]:
        """Begin a pass of a loop that has no loader; call what is returned at the end of every step, with its items.

        What lies between the last step and the next ``begin()`` belongs to no step.
        """
        self._end_by_hand()
        self._warn_child()
        self._hand, end_step = self._loop.by_hand()
        return end_step

    def record_loss(self, loss: T) -> T:
        """Keep a loss as it is now, unread where that would wait for a device. Returns it as it came."""
        if not self._loop.over:
            self._values.add_loss(self._loop.step, loss)
        return loss

    def record(self, name: str, value: Any) -> None:
        """Write down a further metric, at most four times a second; of what comes sooner the latest value counts.

        A tensor is kept unread until the pass ends. Raises ValueError for a name that a run uses itself, TypeError or
        ValueError for what is no number.
        """
        self._values.record(name, self._loop.step, value)

    def criterion(self, function: Callable[..., T]) -> Criterion[T]:
        """Return the loss function (or module) with every loss it returns recorded."""
        return Criterion(function, self.record_loss)

    def optimizer(self, optimizer: T) -> T:
        """Return the optimizer; a lazy device (hpu) is told to start after every step it makes."""
        hook = getattr(optimizer, "register_step_post_hook", None)
        if self._accelerator.arch == "hpu" and hook is not None:
            hook(lambda *_: self._accelerator.mark_step())
        return optimizer

    def note(self, message: str) -> None:
        """Write down what differs from what was asked for."""
        self._recording.note(message)

    def close(self) -> None:
        """Write what is still open and close the files; done at exit at the latest. A forked child writes nothing."""
        if self._closed:
            return
        self._end_by_hand()
        self._measurement.close()
        self._closed = True
        self._recording.close()
        if isinstance(self._recording.rows, Tally):
            sys.stderr.write(f"{self._task}: {self._recording.rows.describe()}\n")
        atexit.unregister(self.close)

    def _leave_to_parent(self) -> None:
        """Record and say nothing more: this is a forked child now."""
        self._is_child = self._closed = True
        self._measurement.leave_to_parent()

    # Outside the loop --------------------------------------------------------------------------------------------

    def _pass(self, loader: Iterable[T], accumulation: int) -> Generator[T, None, None]:
        self._warn_child()
        return self._measurement.over(loader, self._count, accumulation)

    def _warn_child(self) -> None:
        """Say once that steps of a forked child are not recorded."""
        if self._is_child:
            self._is_child = False
            sys.stderr.write(
                f"benchmate: process {os.getpid()} is not measured: it is a fork of process"
                f" {self._recording.pid}, which made the Observer; make it in the process that trains\n"
            )

    def _end_by_hand(self) -> None:
        if self._hand is not None and inspect.getgeneratorstate(self._hand) != inspect.GEN_RUNNING:
            self._hand.close()
