"""Time a training loop that belongs to the user's own code: one row per step, and nothing else inside the loop."""

from __future__ import annotations

import atexit
import functools
import os
import platform
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Final, Generic, TypeVar

from benchmate.batches import Count, counter, read_loss
from benchmate.context import Context, ContextError, current, writer
from benchmate.device import Accelerator, Cpu, fetch, has_torch
from benchmate.ring import Append, Lane, Ring, Tally
from benchmate.wire import GOOD, MEASURED, OVERLAPPED, WARMUP, StepsWriter

T = TypeVar("T")

LIBRARIES: Final = ("torch", "numpy", "jax", "transformers", "accelerate", "lightning", "voir")
_NEVER: Final = 2**62
_END: Final[Any] = object()


class StopProgram(SystemExit):
    """End a program early and well: plain Python exits with 0, voir takes it for its own exception of that name."""

    def __new__(cls, value: object = None) -> StopProgram:
        phase = sys.modules.get("voir.phase")
        kind = _also(phase.StopProgram) if phase is not None and cls is StopProgram else cls
        return super().__new__(kind, value)

    def __init__(self, value: object = None) -> None:
        super().__init__(value)  # voir unpacks exactly one argument
        self.code = 0


@functools.cache
def _also(other: type[BaseException]) -> type[StopProgram]:
    return type("StopProgram", (StopProgram, other), {})


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
        self._context = current() if context is None else context
        self._task, self._unit, self._count = task, unit, count
        self._events, self._pid = writer(self._context), os.getpid()
        without_torch = accelerator is None and not has_torch()
        self._accelerator = accelerator or (Cpu() if without_torch else fetch(context=self._context))
        self._tally = Tally()
        self._steps = self._open_steps()
        self._append: Append = self._tally.append if self._steps is None else self._steps.append
        self._ring: Ring | None = None
        self._losses: list[tuple[int, Any]] = []
        self._limit = self._context.limit
        self._phase, self._boundary, self._left_ns = WARMUP, self._limit.skip, _NEVER
        self._step, self._over, self._finished, self._closed = 0, False, False, False
        self._stop: dict[str, object] | None = None  # what is to be said of the limit that was reached
        if self._boundary == 0:
            self._open_measurement()
        self._write("hello", self._hello())
        if without_torch and self._context.arch not in (None, "cpu"):
            self.note(f"torch is not there: steps on {self._context.arch} are timed by the host's clock")
        self._hook, self._previous_hook = self._on_exception, sys.excepthook
        sys.excepthook = self._hook
        atexit.register(self.close)

    # What a script or a voirfile calls ---------------------------------------------------------------------------

    def iterate(self, loader: Iterable[T]) -> Observed[T]:
        """Return the loader with every pass over it timed; its other attributes stay within reach."""
        return Observed(loader, self._on_device if self._accelerator.clock == "device" else self._on_host)

    loader = iterate

    def record_loss(self, loss: T) -> T:
        """Keep a loss for later, detached and unread (reading it would wait for the device). Returns it as it came."""
        detach = getattr(loss, "detach", None)
        self._losses.append((self._step, loss if detach is None else detach()))
        return loss

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
        self._write("note", {"message": message})

    def close(self) -> None:
        """Write what is still open and close the files; done at exit at the latest. A forked child writes nothing."""
        if self._closed or os.getpid() != self._pid:
            return
        self._finish()
        self._say_stop()
        self._closed = self._over = True
        if self._steps is not None:
            self._steps.close()
        else:
            sys.stderr.write(f"{self._task}: {self._tally.describe(self._unit)}\n")
        if sys.excepthook is self._hook:
            sys.excepthook = self._previous_hook
        atexit.unregister(self.close)

    # The loop ----------------------------------------------------------------------------------------------------

    # A pass knows by the number of good steps whether another one made a step within its own; one that did may have
    # reached the limit, too.

    def _on_host(self, loader: Iterable[T]) -> Iterator[T]:
        iterator, batch = _begin(loader)
        if self._over or batch is _END:
            yield from self._unrecorded(_rest(iterator, batch))
            return
        clock, append, count = time.monotonic_ns, self._append, self._count or counter(batch)
        try:
            start, step = clock(), self._step
            while batch is not _END:
                yield batch
                end = clock()
                if self._over:
                    break
                if step == self._step:
                    append(start, end, count(batch), self._phase, GOOD)
                    self._step = step + 1
                    self._left_ns -= end - start
                    if (step + 1 >= self._boundary or self._left_ns <= 0) and self._advance():
                        break
                else:
                    append(start, end, count(batch), self._phase, OVERLAPPED)
                start, step = end, self._step
                batch = next(iterator, _END)
            else:
                return
        finally:
            self._flush()
        yield from self._unrecorded(iterator)

    def _on_device(self, loader: Iterable[T]) -> Iterator[T]:
        iterator, batch = _begin(loader)
        if self._over or batch is _END:
            yield from self._unrecorded(_rest(iterator, batch))
            return
        ring = self._ring = self._ring or Ring(self._accelerator, self._append)
        push, resolve, event, count = ring.push, ring.resolve, self._accelerator.event, self._count or counter(batch)
        try:
            lane, step = Lane(), self._step
            push(event(), lane, None)
            while batch is not _END:
                yield batch
                if self._over:
                    break
                if step == self._step:
                    push(event(), lane, count(batch), self._phase, GOOD)
                    self._step = step + 1
                    self._left_ns -= resolve()
                    if (step + 1 >= self._boundary or self._left_ns <= 0) and self._advance():
                        break
                else:
                    push(event(), lane, count(batch), self._phase, OVERLAPPED)
                step = self._step
                batch = next(iterator, _END)
            else:
                return
        finally:
            self._flush()
        yield from self._unrecorded(iterator)

    def _advance(self) -> bool:
        """Open the measurement when warm-up is over; at its limit write it all down, then raise StopProgram.

        Returns True where the limit is reached and the program is not ours to end.
        """
        if self._phase == WARMUP:
            self._open_measurement()
            return False
        self._over = True
        self._stop = {"reason": "seconds" if self._left_ns <= 0 else "observations"}
        self._finish()
        if self._context.world_size > 1:
            self._stop["world_size"] = self._context.world_size
            return True
        self._say_stop()
        raise StopProgram

    def _unrecorded(self, iterator: Iterator[T]) -> Iterator[T]:
        """Hand on what comes after the limit; when a step has been made of it, the leader says so."""
        for batch in iterator:
            yield batch
            if self._stop is not None:
                self._accelerator.synchronize()
                self._say_stop()

    def _say_stop(self) -> None:
        """Write ``stop``, once, where a limit was reached and this process speaks for its group."""
        if self._stop is not None and self._context.rank == 0:
            self._write("stop", self._stop)
        self._stop = None

    def _open_measurement(self) -> None:
        limit = self._limit
        self._phase = MEASURED
        self._boundary = _NEVER if limit.observations is None else limit.skip + max(1, limit.observations)
        self._left_ns = _NEVER if limit.seconds is None else int(limit.seconds * 1e9)

    # Outside the loop --------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        """Write what waits: steps on the device, then losses (reading them waits for the device)."""
        if self._closed:
            return
        if self._ring is not None:
            self._left_ns -= self._ring.drain()
        for step, loss in self._losses:
            self._write("data", {"task": self._task, "loss": read_loss(loss), "step": step})
        self._losses.clear()

    def _finish(self) -> None:
        self._flush()
        memory = None if self._finished else self._accelerator.peak_memory()
        self._finished = True
        if memory is not None:
            bytes_, source = memory
            data = {"task": "main", "memory_peak_bytes": bytes_, "source": source, "device": self._accelerator.name}
            self._write("data", data)

    def _open_steps(self) -> StepsWriter | None:
        path, clock = self._context.steps, self._accelerator.clock
        if path is None:
            return None
        try:
            return StepsWriter(path, unit=self._unit, clock=clock, zero_ns=time.time_ns() - time.monotonic_ns())
        except FileExistsError:
            error = ContextError(
                f"{path} is there already, and has one writer: make one Observer, in the process that measures, and"
                " wrap every loader with it; processes of a group need a RANK each"
            )
            self._write("error", error_data(error))  # no hook is set yet that would
            raise error from None

    def _hello(self) -> dict[str, object]:
        versions = {name: getattr(sys.modules.get(name), "__version__", None) for name in LIBRARIES}
        return {
            "pid": self._pid,
            "python": platform.python_version(),
            "device": self._accelerator.name,
            "clock": self._accelerator.clock,
            "unit": self._unit,
            "task": self._task,
            "libraries": {name: str(version) for name, version in versions.items() if version is not None},
        }

    def _write(self, event: str, data: object) -> None:
        if self._events is not None:
            self._events.write(event, data)

    def _on_exception(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, Exception) and os.getpid() == self._pid:
            self._write("error", error_data(error))
        self._previous_hook(kind, error, trace)


def error_data(error: BaseException) -> dict[str, str]:
    """Return the data of an ``error`` event."""
    trace = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    return {"type": type(error).__name__, "message": str(error), "trace": trace}


class _Wrapper:
    """Everything but what a subclass adds is the wrapped object's own."""

    def __init__(self, wrapped: Any) -> None:
        self._wrapped = wrapped

    def __getattr__(self, name: str) -> Any:
        if name == "_wrapped":  # while unpickling there is none yet
            raise AttributeError(name)
        return getattr(self._wrapped, name)


class Observed(_Wrapper, Generic[T]):
    """A loader with every pass over it timed."""

    def __init__(self, loader: Iterable[T], steps: Callable[[Iterable[T]], Iterator[T]]) -> None:
        super().__init__(loader)
        self._steps = steps

    def __iter__(self) -> Iterator[T]:
        return self._steps(self._wrapped)

    def __len__(self) -> int:
        return len(self._wrapped)


class Criterion(_Wrapper, Generic[T]):
    """A loss function with every loss recorded."""

    def __init__(self, function: Callable[..., T], record: Callable[[T], T]) -> None:
        super().__init__(function)
        self._record = record

    def __call__(self, *args: Any, **kwargs: Any) -> T:
        return self._record(self._wrapped(*args, **kwargs))


def _begin(loader: Iterable[T]) -> tuple[Iterator[T], T]:
    """Make the iterator and fetch its first batch: neither belongs to a step."""
    iterator = iter(loader)
    return iterator, next(iterator, _END)


def _rest(iterator: Iterator[T], batch: T) -> Iterator[T]:
    if batch is not _END:
        yield batch
        yield from iterator
