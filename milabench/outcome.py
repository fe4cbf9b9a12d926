"""How a process ended and what that means: the outcomes, and one pure function that decides them."""

from __future__ import annotations

import math
import signal
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from benchmate import wire

Kind = Literal["ok", "early_stop", "timeout", "failed", "killed", "interrupted", "lost", "skipped"]
KINDS: tuple[Kind, ...] = ("ok", "early_stop", "timeout", "failed", "killed", "interrupted", "lost", "skipped")
GOOD: frozenset[Kind] = frozenset({"ok", "early_stop"})
# What a trial that ended so is not done with: the run was cut off, which says nothing of the benchmark.
UNDECIDED: frozenset[Kind] = frozenset({"interrupted", "lost"})
_OOM_BELOW = "a process that it started was killed by the kernel: out of memory"
SIBLING = "ended because a process it belongs with failed"
_TRACEBACK = "Traceback (most recent call last):"
_FULL_DISK = "no room is left on the disk of its {}"
_NODE_FULL = "no room is left on the disk of its node: {}"
_UNINSTRUMENTED = (
    "measured no step: the script went over no loader that an Observer wraps, and gave no rates (notes in its .data"
    " file may say why; an instrument is a generator, which yields the phases that it waits for)"
)
_ENOUGH = "measured the wanted amount"
INFERENCE = "infer"  # the task of a Session, whose steps are inferences
Cause = Literal["limit", "deadline", "interrupt", "sibling", "lost", "silent"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """How one process ended: exit code or signal; ``cause`` is why the runner ended it, None when it ended by itself.

    ``reason`` says more of that in words, where what was to be heard of it was not (``silent``).

    ``oom``: the kernel killed the process, or one that it started, for want of memory. ``max_rss_bytes`` is the largest
    resident set of the process and of the children it waited for. ``seconds`` is how long it took until all that it
    started was gone, ``ended_s`` when it ended itself (monotonic clock of its node).
    """

    tag: str
    code: int | None = None
    signal: int | None = None
    oom: bool = False
    cause: Cause | None = None
    reason: str = ""
    error: str | None = None  # it could not be started
    max_rss_bytes: int | None = None
    seconds: float = 0.0
    ended_s: float | None = None
    full_disk: str | None = None  # a folder of its node where it wrote, and where no room was left


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a process (``tag`` names it) or of a whole trial (``tag`` is empty or its worst process)."""

    kind: Kind
    reason: str = ""
    tag: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a process's events and steps say, as far as its outcome depends on it."""

    rates: int = 0
    warmups: int = 0
    skip: int | None = None  # how many are to be made, where that is known
    task: str = ""  # what it says it measures
    counts: tuple[int, int] | None = None  # the least and the most that a measured step did
    expects_rate: bool = True
    stopped: bool = False  # it reached the wanted amount
    nan_loss: bool = False
    error: str | None = None
    refused: str | None = None  # why the first line that was to be a metric was none
    under_voir: bool = False  # its voirfile's instruments ran
    idle_s: float | None = None  # how long before its end its last step or event came
    full_disk: str = ""  # no room was left on the disk of its run, or base
    world_size: int | None = None  # how many ranks its group has, as it says
    partial: str = ""  # why what was measured is not the rate of its whole group

    @property
    def enough(self) -> bool:
        """Whether the wanted amount was measured, as the process says, and there is something to show for it."""
        return self.stopped and (self.rates > 0 or not self.expects_rate)

    @property
    def step(self) -> str:
        return step_of(self.task)

    @classmethod
    def of(
        cls,
        events: Iterable[wire.Event],
        *,
        measured: int = 0,
        warmups: int = 0,
        counts: tuple[int, int] | None = None,
        expects_rate: bool,
    ) -> Seen:
        """Return what events say; beside them are ``measured`` steps, of ``counts`` (least, most), and ``warmups``."""
        rates, told, skip, task, world_size = 0, 0, None, "", None
        stopped = nan_loss = under_voir = False
        error = refused = None
        for event in events:
            match event.event:
                case "data" if isinstance(event.data, dict):
                    is_rate = _is_rate(event.data.get("rate"))
                    rates += is_rate and event.data.get("task") == "train"
                    told += is_rate and event.data.get("task") == "warmup"
                    nan_loss |= "loss" in event.data and _is_no_number(event.data["loss"])
                case "config" if skip is None:
                    skip = _skip(event.data)
                case "hello" if not task and isinstance(event.data, dict):
                    task, size = str(event.data.get("task", "")), event.data.get("world_size")
                    world_size = size if type(size) is int else world_size
                case "stop":
                    stopped = True
                case "phase":
                    under_voir = True
                case "line" if refused is None and isinstance(event.data, dict) and event.data.get("why"):
                    refused = str(event.data["why"])
                case "error" if error is None and isinstance(event.data, dict):
                    error = f"{event.data.get('type')}: {event.data.get('message')}"
                case _:
                    pass
        return cls(
            rates=max(rates, measured),
            warmups=max(told, warmups),
            skip=skip,
            task=task,
            counts=counts,
            expects_rate=expects_rate,
            stopped=stopped,
            nan_loss=nan_loss,
            error=error,
            refused=refused,
            under_voir=under_voir,
            world_size=world_size,
        )

    def with_last_words(self, lines: Sequence[str]) -> Seen:
        """Return the same with the last that a process printed as its error, where it told none itself."""
        said = _last_exception(lines) or next((line.strip() for line in reversed(lines) if line.strip()), None)
        return self if self.error or said is None else replace(self, error=said[:200])


def step_of(task: str) -> str:
    """Return what a step of a task is, in words: a Session's is an inference."""
    return "inference" if task == INFERENCE else "step"


def _skip(config: object) -> int | None:
    """Return how many steps a process was told to make before the measured ones; None where its script says that."""
    blocks = config.get("voir") if isinstance(config, dict) else None
    options = blocks.get("options", {}) if blocks and isinstance(blocks, dict) else None
    skip = options.get("skip") if isinstance(options, dict) else None
    return int(skip) if wire.is_number(skip) else None


def _last_exception(lines: Sequence[str]) -> str | None:
    """Return the exception of the last traceback of Python that was printed, whatever was printed after it."""
    begins = [index for index, line in enumerate(lines) if _TRACEBACK in line]
    if not begins:
        return None
    prefix = lines[begins[-1]].partition(_TRACEBACK)[0]  # launchers put the rank before each line
    after = (line.removeprefix(prefix) for line in lines[begins[-1] + 1 :])
    return next((line.strip() for line in after if line[:1].strip()), None)


def _is_rate(value: object) -> bool:
    return wire.is_number(value) and value > 0


def _is_no_number(loss: object) -> bool:
    """Say whether a loss is none: JSON has null for it; other tools write NaN as it stands."""
    return loss is None or (isinstance(loss, float) and not math.isfinite(loss))


def outcome(ended: Exit, seen: Seen) -> Outcome:
    """Decide what came of one process. A crash wins over a wanted stop, before it and after; no rate is a failure."""
    kind, reason = _by_itself(ended, seen) if ended.cause is None else _ended(ended, ended.cause, seen)
    here, there = seen.full_disk, ended.full_disk
    full_disk = _FULL_DISK.format(here) if here else _NODE_FULL.format(there) if there else ""
    if full_disk and ended.error is None and kind in ("failed", "timeout", "killed") and ended.cause != "sibling":
        reason += f"; {full_disk}"
    return Outcome(kind=kind, reason=reason, tag=ended.tag)


def _ended(ended: Exit, cause: Cause, seen: Seen) -> tuple[Kind, str]:
    """Return what comes of a process that the runner ended: how it took that counts for nothing."""
    kind, reason = _by_cause(ended, cause, seen)
    if ended.error is None:
        return kind, reason
    return ("failed" if kind in GOOD else kind), f"{reason}; {ended.error}"


def _by_cause(ended: Exit, cause: Cause, seen: Seen) -> tuple[Kind, str]:
    match cause:
        case "interrupt":
            return "interrupted", "interrupted by the operator"
        case "lost":
            return "lost", "the agent or its node went away"
        case "deadline":
            return "timeout", _too_long(ended, seen)
        case "sibling":
            return "killed", SIBLING
        case "silent":
            return "failed", ended.reason or "nothing was heard of it in time"
        case "limit":
            return _measured(seen, stopped=True)


def _by_itself(ended: Exit, seen: Seen) -> tuple[Kind, str]:
    if ended.error is not None:
        return "failed", ended.error
    if ended.code == 0:
        return _measured(seen, stopped=seen.stopped)
    kind, reason = _crash(ended, seen)
    return kind, f"{_ENOUGH}, then {reason}" if seen.enough else reason


def _crash(ended: Exit, seen: Seen) -> tuple[Kind, str]:
    if ended.oom and ended.signal == signal.SIGKILL:
        return "killed", "killed by the kernel: out of memory"
    kind: Kind = "failed" if ended.signal is None else "killed"
    if ended.signal is not None:
        reason = f"killed by {signal_name(ended.signal)}"
    elif ended.code is not None:
        reason = _exit_code(ended.code) + (f": {seen.error}" if seen.error else "")
    else:
        reason = "how it ended is not known"
    return ("killed", f"{_OOM_BELOW} ({reason})") if ended.oom else (kind, reason)


def _exit_code(code: int) -> str:
    """Name an exit code; a shell tells by one above 128 that a signal killed what it ran."""
    number = code - 128
    return f"exit code {code} (128 + {signal_name(number)})" if 0 < number < signal.NSIG else f"exit code {code}"


def signal_name(number: int) -> str:
    """Return the name of a signal, of those too that have none of their own (real-time signals)."""
    try:
        return signal.Signals(number).name
    except ValueError:
        above = number - signal.SIGRTMIN
        return f"SIGRTMIN+{above}" if 0 < above < signal.SIGRTMAX - signal.SIGRTMIN else f"signal {number}"


def _too_long(ended: Exit, seen: Seen) -> str:
    after = f"ended after {ended.seconds:.0f} s"
    if seen.enough:
        return f"{_ENOUGH}, but did not end: reached max_duration, {after}"
    if not seen.expects_rate:
        return f"reached its deadline: {after}"
    below = f"; {_OOM_BELOW}" if ended.oom else ""
    idle = "" if seen.idle_s is None else f", nothing measured or told in the last {seen.idle_s:.0f} s"
    return f"reached max_duration: {after}, {_progress(seen)}{idle}{_refused(seen)}{below}"


def _refused(seen: Seen) -> str:
    """Say why what was printed as a metric is none, the first time, after what came of a process."""
    return f"; refused of what it printed: {seen.refused}" if seen.refused else ""


def _progress(seen: Seen) -> str:
    """Return how far a process came that had too little time, and what to do where it measured nothing at all."""
    if seen.rates or not seen.warmups:
        return f"{seen.rates} {seen.step}s measured"
    if seen.skip is not None and seen.warmups >= seen.skip:
        return f"in its first measured {seen.step}, after {seen.warmups} of warm-up (raise max_duration)"
    of = f" of {seen.skip}" if seen.skip is not None else ""
    fewer = "lower voir.options.skip" if seen.skip is not None else "make fewer of them"
    return f"still in warm-up: {seen.warmups}{of} {seen.step}s (raise max_duration, or {fewer})"


def _measured(seen: Seen, *, stopped: bool) -> tuple[Kind, str]:
    if seen.nan_loss:
        return "failed", "the loss is not a finite number"
    if seen.expects_rate and seen.rates == 0:
        return "failed", _no_rate(seen)
    if seen.expects_rate and (reason := without_work(seen.counts)):
        return "failed", reason
    if seen.expects_rate and seen.partial:
        return "failed", seen.partial
    return ("early_stop", _ENOUGH) if stopped else ("ok", "")


def _no_rate(seen: Seen) -> str:
    if seen.warmups:
        only = f"only {seen.warmups} warm-up {seen.step}s (voir.options.skip says how many are; 0: none)"
        return f"no rate: {only}{_refused(seen)}"
    if seen.refused:
        return f"no rate: what it printed was refused: {seen.refused}"
    if seen.task == INFERENCE:
        return "no rate: no inference was made: a Session makes them in its run()"
    if seen.under_voir:
        return f"no rate: the voirfile's instruments ran and {_UNINSTRUMENTED}"
    return (
        "no rate: no step was seen (an Observer around the loader, a Session's run(), or JSON lines that a `command`"
        " prints)"
    )


def without_work(counts: tuple[int, int] | None) -> str | None:
    """Return why steps of which the one that did least and the one that did most are known measure nothing, or None.

    A step that did nothing may be among others that did; one that did less than nothing was counted wrongly.
    """
    if counts is None or (counts[0] >= 0 and counts[1] > 0):
        return None
    what = f"a measured step has {counts[0]}" if counts[0] < 0 else "all measured steps have 0"
    return f"count is not above 0: {what} (what the Observer's `count` or end_step() is given)"


def all_good(outcomes: Iterable[Outcome]) -> bool:
    """Say whether nothing failed, was cut off or left out."""
    return all(each.kind in GOOD for each in outcomes)


def worst(outcomes: Sequence[Outcome]) -> Outcome:
    """Return the outcome of a trial: the first bad one that is not a consequence of another, else the first."""
    bad = [each for each in outcomes if each.kind not in GOOD]
    own = [each for each in bad if not each.reason.startswith(SIBLING)]
    return (own or bad or list(outcomes))[0]
