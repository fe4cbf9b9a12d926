"""Measure inferences in a loop of our own: a Session is a Target under a Load until a Stop, on a clock.

::

    from benchmate.session import Session, Stop, Target

    result = Session(Target(infer=lambda: model(images), items=32, unit="images"), stop=Stop(precision=0.02)).run()
    print(result.latency["p99"].value, result.throughput.value)

An Observer times a loop that the user's own code owns, and ends the program; a Session owns the loop, and returns.
"""

from __future__ import annotations

import atexit
import sys
import time
from dataclasses import dataclass, replace
from typing import Final

from benchmate import verdict
from benchmate.account import Account
from benchmate.context import Context, ContextError, current
from benchmate.device import Accelerator, is_torch_imported, of_imported
from benchmate.inferences import Call, InParts, Pace, Stamp, Timer, Whole, rows
from benchmate.observations import NEVER, Enough, Stop
from benchmate.overhead import per_inference
from benchmate.recording import Recording, Task
from benchmate.result import Result, noise_of, speed_of
from benchmate.statistics import Estimate, estimate, throughput
from benchmate.stopping import group_size
from benchmate.tally import Tally
from benchmate.target import Target, watched
from benchmate.wire import MEASURED, WARMUP

__all__ = ["Load", "Result", "Session", "Single", "Stop", "Target"]

TASK: Final = "infer"
LONG_ENOUGH: Final = Stop(observations=100, seconds=1.0, need="all", maximum_s=10.0)  # where nobody says how long
_GROUP: Final = (
    "a Session measures the inferences of one process, and this is one of a group of ranks: each would end its loop"
    " when it has enough, and the others would wait for it; go over the inputs with an Observer there"
)
_ONE: Final = (
    "under milabench a process has one Session, or one Observer; measure another one in a process of its own: as a"
    " further entry of the suite, or by a `matrix` of the entry"
)


@dataclass(frozen=True, kw_only=True)
class Single:
    """One inference at a time, each begun when the one before it has ended."""


Load = Single  # the kinds of load there are


class Session:
    """Measure a target under a load until a stop is reached; ``run()`` does it, once, and returns the result.

    In a run of milabench the suite says when to stop and how many inferences are warm-up; ``stop`` counts where it says
    nothing, by default at least 100 inferences and 1 s of them, 10 s at most. ``clock`` returns ns. Raises ContextError
    in a group of ranks and where the process has a Session or an Observer already, DeviceError for a device not there,
    ValueError for a stop that nothing ends, TypeError for a target, a load or a stop that is none.
    """

    def __init__(  # noqa: PLR0913 - what it is made of, and three seams
        self,
        target: Target,
        load: Load = Single(),  # noqa: B008 - frozen
        stop: Stop | None = None,
        *,
        accelerator: Accelerator | None = None,
        context: Context | None = None,
        clock: Stamp = time.monotonic_ns,
    ) -> None:
        _check(target, load, stop)
        context = current() if context is None else context
        if group_size(context) != 1:
            raise ContextError(_GROUP)
        self._context = context
        self.target, self.load, self.stop = target, load, _stop(context, stop)
        self.warmup = context.limit.skip if context.voir else target.warmup
        self._accelerator, doubt = of_imported(context) if accelerator is None else (accelerator, "")
        # The target may import torch yet, which takes seconds: it is not imported here for one that does without.
        self._is_device_open = accelerator is None and context.arch is None and not is_torch_imported()
        self._clock = clock
        self._timer = _timer(_watched(target), self._accelerator, clock)  # until the first inference is made
        self._is_first = True
        what = Task(name=TASK, unit=target.unit, clock="monotonic", columns=self._timer.columns, one=_ONE)
        self._recording = Recording(context, self._accelerator, what)
        self._account = Account(TASK, self._accelerator, self._recording.write)
        self._pace, self._last_chunk = Pace(), (0, 0)  # how long it took, and when it ended
        self._measured = self._measured_ns = 0
        self._load_s: float | None = None
        self._is_used = False
        if doubt:
            self.note(doubt)
        atexit.register(self._recording.close)

    def note(self, message: str) -> None:
        """Write down what differs from what was asked for."""
        self._recording.note(message)

    def run(self) -> Result:
        """Load, warm up, measure; return what was found.

        What the target raises comes through, and what was measured before it is kept and told. Raises RuntimeError when
        called a second time.
        """
        if self._is_used:
            raise RuntimeError("a Session is run once: make another one")
        self._is_used = True
        try:
            self._load_s = self._load()
            self._warm_up()
            stopped = self._measure()
        except BaseException:
            self._say_broken_off()
            raise
        overhead_ns = self._overhead_ns()
        self._say_used(overhead_ns)
        self._recording.write("stop", stopped)
        result = self._result(stopped, overhead_ns)
        self._close()
        if self._recording.is_by_hand:
            sys.stderr.write(f"{TASK}: {result.describe()}\n")
        return result

    def _say_used(self, overhead_ns: float | None) -> None:
        self._account.say_memory()
        self._account.say_measured(self._measured, lambda: overhead_ns, self._load_s)

    def _say_broken_off(self) -> None:
        """Say what there is to say after an error, without asking anything of the device, which may have raised it."""
        self._say_used(None)
        if isinstance(self._recording.rows, Tally) and self._recording.is_by_hand:
            sys.stderr.write(f"{TASK}, broken off: {self._recording.rows.describe('inference')}\n")
            self._close()  # elsewhere an error that ends the script is still to be written down

    def _close(self) -> None:
        self._recording.close()
        atexit.unregister(self._recording.close)

    # In order ----------------------------------------------------------------------------------------------------

    def _load(self) -> float | None:
        """Return how long loading took, in s."""
        if self.target.load is None:
            return None
        begun = self._clock()
        self.target.load()
        self._look_for_device()
        self._accelerator.synchronize()
        return (self._clock() - begun) / 1e9

    def _look_for_device(self) -> None:
        """Measure on the device that torch sees, where the target has imported it meanwhile."""
        if not self._is_device_open or not is_torch_imported():
            return
        self._is_device_open = False
        self._accelerator, _ = of_imported(self._context)
        self._account.moved_to(self._accelerator)
        self._timer = _timer(_watched(self.target), self._accelerator, self._clock)
        if self._accelerator.arch != "cpu":
            self.note(f"measured on {self._accelerator.name}, since the target imported torch")

    def _warm_up(self) -> None:
        left = self.warmup
        while left > 0:
            left -= self._chunk(WARMUP, left, NEVER)

    def _measure(self) -> dict[str, object]:
        """Make inferences until there are enough; return why."""
        enough, reached = Enough(self.stop), None
        self._account.begin()
        try:
            while reached is None:
                most = enough.next_count(self._measured) - self._measured
                self._chunk(MEASURED, most, enough.left_ns(self._measured_ns))
                reached = enough.reached(self._measured, self._measured_ns, self._found)
        finally:
            self._account.end()
        return reached

    def _chunk(self, phase: int, most: int, left_ns: int) -> int:
        """Make some inferences, and keep what was finished of them; return how many."""
        took_ns, ended = self._last_chunk
        if ended:
            self._pace.took(took_ns, self._clock() - ended)
        calls = self._pace.calls(most, left_ns)
        begun = self._clock()
        try:
            self._timer.make(calls)
        finally:
            self._last_chunk = (self._clock() - begun, self._clock())
            self._keep(calls, phase)
        if self._is_first:
            self._is_first = False
            self._look_for_device()
            self._timer = _timer(self.target, self._accelerator, self._clock)
        return calls

    def _keep(self, calls: int, phase: int) -> None:
        read = self._timer.read(calls)
        self._recording.rows.extend(rows(read, self._timer.columns, self.target.items, phase))
        if phase == MEASURED:
            self._measured += len(read["start"])
            self._measured_ns += self._last_chunk[0]

    def _found(self) -> Estimate:
        """Return what is to be precise."""
        counts, durations_ns = self._recording.rows.work()
        if self.stop.precision_of == "p50":
            return estimate(durations_ns, "p50")
        return throughput(counts, durations_ns)

    def _overhead_ns(self) -> float:
        """Return what timing costs: of a target like this one that does nothing."""
        pre, post = (None if part is None else _nothing for part in (self.target.pre, self.target.post))
        idle = Target(infer=_nothing, pre=pre, post=post, parts=self.target.parts)
        return per_inference(_timer(idle, self._accelerator, self._clock), _whole(idle))

    def _result(self, stopped: dict[str, object], overhead_ns: float) -> Result:
        samples = self._recording.rows.written()
        durations_ns = samples.good().durations_ns
        rate, latency, parts = speed_of(samples)
        return Result(
            samples=samples,
            throughput=rate,
            latency=latency,
            parts=parts,
            min_s=min(durations_ns, default=0) / 1e9,
            max_s=max(durations_ns, default=0) / 1e9,
            first_s=(samples.columns["end"][0] - samples.columns["start"][0]) / 1e9,
            load_s=self._load_s,
            stop=stopped,
            harness_overhead_ns=overhead_ns,
            steadiness=verdict.steadiness(durations_ns, "its latency"),
            noise=noise_of(self._account.used()),
        )


def _check(target: object, load: object, stop: object) -> None:
    if not isinstance(target, Target):
        raise TypeError(f"{target!r} is no target: make it one, Session(Target(infer=…))")
    if not isinstance(load, Load):
        raise TypeError(f"{load!r} is no load: a stop is given by its name (stop=…)")
    if stop is not None and not isinstance(stop, Stop):
        raise TypeError(f"{stop!r} is no stop: make it one, Stop(observations=…), Stop(seconds=…), Stop(precision=…)")


def _stop(context: Context, given: Stop | None) -> Stop:
    """Return the suite's stop, where it says when; else that of the script."""
    suite = context.limit.stop
    stop = suite if context.voir and not suite.is_endless else given or LONG_ENOUGH
    if stop.is_endless:
        raise ValueError("nothing would end this measurement: give a Stop observations, seconds or a precision")
    return stop


def _watched(target: Target) -> Target:
    """Return a target of which what is returned is looked at."""
    if target.post is None:
        return replace(target, infer=watched(target.infer, "infer"))
    return replace(target, post=watched(target.post, "post"))


def _timer(target: Target, accelerator: Accelerator, clock: Stamp) -> Timer:
    if not target.parts:
        return Whole(_whole(target), accelerator, clock)
    infer = target.infer
    return InParts(
        (target.pre or _nothing, infer if target.pre else lambda _: infer(), target.post or _nothing),
        accelerator,
        clock,
    )


def _whole(target: Target) -> Call:
    """Return an inference with all its parts as one call."""
    pre, infer, post = target.pre, target.infer, target.post
    if pre is not None and post is not None:
        return lambda: post(infer(pre()))
    if pre is not None:
        return lambda: infer(pre())
    if post is not None:
        return lambda: post(infer())
    return infer


def _nothing(*_: object) -> None:
    """Do nothing."""
