"""The measurement of one task: when it begins and ends, and what is said of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable
from typing import Final, TypeVar

from benchmate.account import Account
from benchmate.batches import Count
from benchmate.context import Context
from benchmate.device import Accelerator
from benchmate.loop import Loop
from benchmate.observations import Enough
from benchmate.overhead import per_step
from benchmate.recording import Recording
from benchmate.statistics import Estimate, throughput
from benchmate.stopping import end_program, group_size
from benchmate.values import Values
from benchmate.wire import MEASURED, WARMUP

T = TypeVar("T")
IN_THREAD: Final = (
    "a pass is made in another thread than the main one: its steps are what that thread does between two"
    " batches, and at the limit the process ends at once, without `finally` blocks; wrap what the training loop itself"
    " goes over"
)
UNTIMED: Final = (
    "measured steps took no time or less by the device's events, and count for nothing: does the script make them on"
    " several streams?"
)


class Measurement:
    """Passes over loaders, of which the steps after ``skip`` count until the limit of the context is reached.

    Owns the ``loop`` (``benchmate.loop.Owner``): what is done here lies between passes or at a boundary, in no step.
    ``values`` are the losses and metrics of its steps.
    """

    def __init__(self, context: Context, accelerator: Accelerator, recording: Recording, task: str) -> None:
        self._context, self._accelerator, self._rows = context, accelerator, recording.rows
        self._write = recording.write
        self._account = Account(task, accelerator, recording.write)
        self.values = Values(task, recording.write)
        self.loop = Loop(accelerator, self._rows.append, self)
        self.before_exit: Callable[[], object] = self.close  # where the process ends at the limit, and at once
        self._batches = 1  # of a step
        self._enough = Enough(context.limit.stop)
        self._stop: dict[str, object] | None = None  # what is to be said of the limit that was reached
        self._finished = self._closed = self._in_thread = False
        self.loop.boundary = context.limit.skip
        if context.limit.skip == 0:
            self._open()

    # What the Observer calls -------------------------------------------------------------------------------------

    def over(self, loader: Iterable[T], count: Count | None, batches: int) -> Generator[T, None, None]:
        """Return a pass over a loader, a step every so many batches."""
        if batches == 1:
            return self.loop.over_batches(loader, count)
        self._batches = batches
        return self.loop.over_groups(loader, batches, count)

    def close(self) -> None:
        """Say what there is to say; nothing is recorded afterwards."""
        self._finish()
        self._say_stop()
        self.loop.stop()
        self._closed = True

    def leave_to_parent(self) -> None:
        """Record and say nothing more, in a forked child: all of it is its parent's, which goes on."""
        self._finished = self._closed = True
        self._stop = None
        self.loop.stop()

    # What the loop calls -----------------------------------------------------------------------------------------

    def pass_begins(self) -> None:
        if not self._account.is_open and self.loop.phase == MEASURED:
            self._account.begin()
        if not self._in_thread and threading.current_thread() is not threading.main_thread():
            self._in_thread = True
            self._write("note", {"message": IN_THREAD})

    def at_boundary(self) -> bool:
        """Open the measurement when warm-up is over; at its limit write it all down, then end the program.

        Returns True where the limit is reached and the program is not ours to end.
        """
        if self.loop.phase == WARMUP:
            self._open()
            self._account.begin()
            return False
        self._stop = self._enough.reached(self._measured(), self.loop.measured_ns(), self._look)
        if self._stop is None:
            self.loop.boundary = self._next_boundary()
            return False
        self._finish()
        self.loop.stop()
        world_size = group_size(self._context)
        if world_size == 1:
            self._say_stop()
            end_program(self.before_exit)
        self._stop["world_size"] = world_size
        return True

    def pass_ended(self) -> None:
        if not self._closed:
            self._flush()
            if self._account.is_open and not self._finished:
                self._account.end_for_now()

    def beyond(self) -> None:
        """Say ``stop``, where the leader of a group waited for the others to have made their last measured step."""
        if self._stop is not None:
            self._accelerator.synchronize()
            self._say_stop()

    # The limit ---------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        self.loop.phase = MEASURED
        if self._context.limit.seconds is not None:
            self.loop.limit_time(self._context.limit.seconds)
        self.loop.boundary = self._next_boundary()

    def _measured(self) -> int:
        return self.loop.step - self._context.limit.skip

    def _next_boundary(self) -> int:
        """Return the number of good steps after which to end, to look at what was measured, or to make room for more.

        None of their rows makes room for itself then, which now and then would take a hundred times as long.
        """
        ends = self._context.limit.skip + self._enough.next_count(self._measured())
        return min(ends, self.loop.step + self._rows.reserve())

    def _look(self) -> Estimate | None:
        """Return the rate by the steps that are written; nothing is waited for.

        The leader decides for its group. A further rank, which will be ended without a word, writes what it can.
        """
        if self._context.rank:
            if self._accelerator.clock != "device":
                self.values.flush()
            self._account.say_memory()
            return None
        return throughput(*self._rows.work())

    def _say_stop(self) -> None:
        """Write ``stop``, once, where a limit was reached and this process speaks for its group."""
        if self._stop is not None and self._context.rank == 0:
            self._write("stop", self._stop)
        self._stop = None

    # What is written ---------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        """Write what waits: steps on the device, then values (reading them waits for the device)."""
        self.loop.drain()
        self.values.flush()

    def _finish(self) -> None:
        if self._finished:
            return
        self._flush()
        if self._stop is not None:
            self._account.end()
        self._finished = True
        self._account.say_memory()
        self._say_measured()

    def _say_measured(self) -> None:
        steps = self._measured()
        if self._account.used() is None:
            return
        untimed = steps - len(self._rows.work()[0])
        if untimed > 0:
            self._write("note", {"message": f"{untimed} of {steps} {UNTIMED}"})
        self._account.say_measured(steps, self._overhead_ns)

    def _overhead_ns(self) -> float:
        return per_step(self._accelerator, self._batches) + self._batches * self.loop.count_ns
