"""How a process ended and what that means: the outcomes, and one pure function that decides them."""

from __future__ import annotations

import math
import signal
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeGuard

from benchmate import wire

Kind = Literal["ok", "early_stop", "timeout", "failed", "killed", "interrupted", "lost", "skipped"]
KINDS: tuple[Kind, ...] = ("ok", "early_stop", "timeout", "failed", "killed", "interrupted", "lost", "skipped")
GOOD: frozenset[Kind] = frozenset({"ok", "early_stop"})
_OOM_BELOW = "a process that it started was killed by the kernel: out of memory"
SIBLING = "ended because a process it belongs with failed"
Cause = Literal["limit", "deadline", "interrupt", "sibling", "lost"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """How one process ended: exit code or signal; ``cause`` is why the runner ended it, None when it ended by itself.

    ``oom``: the kernel killed the process, or one that it started, for want of memory. ``max_rss_bytes`` is the largest
    resident set of the process and of the children it waited for.
    """

    tag: str
    code: int | None = None
    signal: int | None = None
    oom: bool = False
    cause: Cause | None = None
    error: str | None = None  # it could not be started
    max_rss_bytes: int | None = None
    seconds: float = 0.0


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
    expects_rate: bool = True
    stopped: bool = False  # it reached the wanted amount
    nan_loss: bool = False
    error: str | None = None

    @classmethod
    def of(cls, events: Iterable[wire.Event], *, measured: int = 0, warmups: int = 0, expects_rate: bool) -> Seen:
        """Return what events say; ``measured`` and ``warmups`` count the steps that a process wrote beside them."""
        rates, told = 0, 0
        stopped = nan_loss = False
        error: str | None = None
        for event in events:
            match event.event:
                case "data" if isinstance(event.data, dict):
                    is_rate = is_number(event.data.get("rate"))
                    rates += is_rate and event.data.get("task") == "train"
                    told += is_rate and event.data.get("task") == "warmup"
                    nan_loss |= "loss" in event.data and event.data["loss"] is None
                case "stop":
                    stopped = True
                case "error" if error is None and isinstance(event.data, dict):
                    error = f"{event.data.get('type')}: {event.data.get('message')}"
                case _:
                    pass
        return cls(
            rates=max(rates, measured),
            warmups=max(told, warmups),
            expects_rate=expects_rate,
            stopped=stopped,
            nan_loss=nan_loss,
            error=error,
        )

    def with_last_words(self, lines: Sequence[str]) -> Seen:
        """Return the same with the last line a process printed as its error, where it told none itself."""
        said = [line.strip() for line in lines if line.strip()]
        return self if self.error or not said else replace(self, error=said[-1][:200])


def is_number(value: object) -> TypeGuard[int | float]:
    """Say whether a value that came as JSON is a finite number."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number of hundreds of digits
        return False


def outcome(ended: Exit, seen: Seen) -> Outcome:
    """Decide what came of one process. A crash before the wanted stop wins over it; no rate is a failure."""
    kind, reason = _decide(ended, seen)
    return Outcome(kind=kind, reason=reason, tag=ended.tag)


def _decide(ended: Exit, seen: Seen) -> tuple[Kind, str]:
    if ended.error is not None:
        return "failed", ended.error
    match ended.cause:
        case "interrupt":
            return "interrupted", "interrupted by the operator"
        case "lost":
            return "lost", "the agent or its node went away"
        case "deadline":
            reached = f"reached max_duration: ended after {ended.seconds:.0f} s, {seen.rates} steps measured"
            return "timeout", f"{reached}; {_OOM_BELOW}" if ended.oom else reached
        case "sibling":
            return "killed", SIBLING
        case "limit":
            return _measured(seen, stopped=True)
        case None:
            return _by_itself(ended, seen)


def _by_itself(ended: Exit, seen: Seen) -> tuple[Kind, str]:
    kind: Kind
    if ended.oom and ended.signal == signal.SIGKILL:
        return "killed", "killed by the kernel: out of memory"
    if ended.signal is not None:
        kind, reason = "killed", f"killed by {signal.Signals(ended.signal).name}"
    elif ended.code != 0:
        kind, reason = "failed", f"exit code {ended.code}" + (f": {seen.error}" if seen.error else "")
    else:
        return _measured(seen, stopped=seen.stopped)
    return ("killed", f"{_OOM_BELOW} ({reason})") if ended.oom else (kind, reason)


def _measured(seen: Seen, *, stopped: bool) -> tuple[Kind, str]:
    if seen.nan_loss:
        return "failed", "the loss is not a finite number"
    if seen.expects_rate and seen.rates == 0:
        return "failed", _no_rate(seen.warmups)
    return ("early_stop", "measured the wanted amount") if stopped else ("ok", "")


def _no_rate(warmups: int) -> str:
    if warmups:
        return f"no rate: only {warmups} warm-up steps (voir.options.skip says how many are)"
    return "no rate: no step was seen (an Observer around the loader, or JSON lines that a `command` prints)"


def worst(outcomes: Sequence[Outcome]) -> Outcome:
    """Return the outcome of a trial: the first bad one that is not a consequence of another, else the first."""
    bad = [each for each in outcomes if each.kind not in GOOD]
    own = [each for each in bad if each.reason != SIBLING]
    return (own or bad or list(outcomes))[0]
