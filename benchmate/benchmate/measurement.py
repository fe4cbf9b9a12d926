"""The measurement of one task: when it begins and ends, and what is said of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterable
from typing import Final, TypeVar

from benchmate.batches import Count
from benchmate.context import Context
from benchmate.device import Accelerator
from benchmate.loop import Loop
from benchmate.observations import precise_enough
from benchmate.overhead import per_step
from benchmate.statistics import next_look, throughput
from benchmate.stopping import end_program, group_size
from benchmate.tally import Tally
from benchmate.usage import Usage, usage
from benchmate.values import Values
from benchmate.wire import MEASURED, WARMUP, StepsWriter

T = TypeVar("T")
USAGE_EVERY_NS: Final = 250_000_000
IN_THREAD: Final = (
    "a pass is made in another thread than the main one: its steps are what that thread does between two"
    " batches, and at the limit the process ends at once, without `finally` blocks; wrap what the training loop itself"
    " goes over"
)
UNTIMED: Final = (
    "measured steps took no time or less by the device's events, and count for nothing: does the script make them on"
    " several streams?"
)
Write = Callable[[str, object], None]


class Measurement:
    """Passes over loaders, of which the steps after ``skip`` count until the limit of the context is reached.

    Owns the ``loop`` (``benchmate.loop.Owner``): what is done here lies between passes or at a boundary, in no step.
    ``values`` are the losses and metrics of its steps.
    """

    def __init__(
        self, context: Context, accelerator: Accelerator, rows: StepsWriter | Tally, task: str, write: Write
    ) -> None:
        self._context, self._accelerator, self._rows = context, accelerator, rows
        self._task, self._write = task, write
        self.values = Values(task, write)
        self.loop = Loop(accelerator, rows.append, self)
        self.before_exit: Callable[[], object] = self.close  # where the process ends at the limit, and at once
        self._batches = 1  # of a step
        self._begun: Usage | None = None
        self._ended: Usage | None = None
        self._memory_bytes = 0  # as last written
        self._look_at = next_look(0)  # so many measured steps
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
        if self._begun is None and self.loop.phase == MEASURED:
            self._begun = usage()
        if not self._in_thread and threading.current_thread() is not threading.main_thread():
            self._in_thread = True
            self._write("note", {"message": IN_THREAD})

    def at_boundary(self) -> bool:
        """Open the measurement when warm-up is over; at its limit write it all down, then end the program.

        Returns True where the limit is reached and the program is not ours to end.
        """
        if self.loop.phase == WARMUP:
            self._open()
            self._begun = usage()
            return False
        self._stop = self._reached()
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
            self._look_at_usage()

    def beyond(self) -> None:
        """Say ``stop``, where the leader of a group waited for the others to have made their last measured step."""
        if self._stop is not None:
            self._accelerator.synchronize()
            self._say_stop()

    def _look_at_usage(self) -> None:
        """Take a pass's end for that of the measurement until a later one comes; not each, where passes are short."""
        due = self._ended is None or time.monotonic_ns() - self._ended.monotonic_ns >= USAGE_EVERY_NS
        if self._begun is not None and not self._finished and due:
            self._ended = usage()

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
        limit = self._context.limit
        ends = [] if limit.observations is None else [limit.skip + max(1, limit.observations)]
        looks = [] if limit.precision is None else [limit.skip + self._look_at]
        return min([*ends, *looks, self.loop.step + self._rows.reserve()])

    def _reached(self) -> dict[str, object] | None:
        """Return what to say of the limit, None while it is not reached."""
        limit = self._context.limit
        if self.loop.is_out_of_time():
            return {"reason": "seconds"}
        if limit.observations is not None and self._measured() >= limit.observations:
            return {"reason": "observations"}
        if limit.precision is None or self._measured() < self._look_at:
            return None
        self._look_at = next_look(self._measured())
        return self._look()

    def _look(self) -> dict[str, object] | None:
        """Say whether the rate is known well enough by the steps that are written; nothing is waited for.

        The leader decides for its group. A further rank, which will be ended without a word, writes what it can.
        """
        if self._context.rank:
            if self._accelerator.clock != "device":
                self.values.flush()
            self._say_memory()
            return None
        return precise_enough(throughput(*self._rows.work()), self._context.limit.precision)

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
            self._ended = usage()
        self._finished = True
        self._say_memory()
        self._say_measured()

    def _say_memory(self) -> None:
        memory = self._accelerator.peak_memory()
        if memory is not None and memory[0] > self._memory_bytes:
            self._memory_bytes, source = memory
            data = {"memory_peak_bytes": self._memory_bytes, "source": source, "device": self._accelerator.name}
            self._write("data", {"task": "main", **data})

    def _say_measured(self) -> None:
        """Write what the process used while it measured, and what measuring it cost."""
        if self._begun is None or self._ended is None:
            return
        steps = self._measured()
        untimed = steps - len(self._rows.work()[0])
        if untimed > 0:
            self._write("note", {"message": f"{untimed} of {steps} {UNTIMED}"})
        if steps > 0:
            overhead_ns = per_step(self._accelerator, self._batches) + self._batches * self.loop.count_ns
            used = self._ended.since(self._begun)
            self._write("measured", {"task": self._task, "steps": steps, **used, "overhead_ns": round(overhead_ns)})
