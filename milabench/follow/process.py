"""The files of one process, or of a group of ranks, folded into its Progress as they grow."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from benchmate.wire import Lines, is_number, unit_of_rates
from milabench.follow.columns import Columns, group_factor
from milabench.follow.growing import Growing
from milabench.follow.lines import decode
from milabench.follow.progress import Progress, Stage
from milabench.outcome import KINDS, Outcome
from milabench.rundir import Files
from milabench.suite.types import Limit

_MOST_BYTES: Final = 1 << 17  # of event lines at once
_LATEST: Final = 16  # rates that are "now" where a script writes them itself
_RANKS_AT_ONCE: Final = 8
_NOTHING: Final = object()


class Followed:
    """One process. ``read`` takes a bounded piece of what is new in each of its files.

    ``ahead_s``: how far the clock that it writes by is ahead of this machine's.
    """

    def __init__(self, tag: str, files: Files, limit: Limit | None, ahead_s: float = 0.0) -> None:
        self.tag = tag
        self._files, self._limit, self._ahead_s = files, limit, ahead_s
        self._events = Growing(files.events)
        self._restarts = 0
        self._restart()

    def _restart(self) -> None:
        self._told = _Told()
        self._lines = Lines(too_long=self._told.pass_over)
        self._steps = Columns(self._files.steps)
        self._ranks: list[Columns] = []
        self._turn = 0

    def read(self) -> bool:
        """Fold what is new; return whether more is there already."""
        chunk = self._events.read(_MOST_BYTES)
        if self._events.restarts != self._restarts:  # another attempt writes under the same name
            self._restarts = self._events.restarts
            self._restart()
        if chunk:
            values, bad = decode(self._lines.feed(chunk))
            self._told.bad += bad
            self._told.fold(values)
        more = self._steps.read()
        if self._steps.rows:
            more |= self._read_ranks()
        return more or len(chunk) == _MOST_BYTES

    def _read_ranks(self) -> bool:
        """Read some of the other ranks of a group, in turn, and the next one where it has appeared."""
        path = self._files.steps.with_suffix(f".rank{len(self._ranks) + 1}.steps")
        if path.exists():
            self._ranks.append(Columns(path))
        chosen = [(self._turn + each) % len(self._ranks) for each in range(min(_RANKS_AT_ONCE, len(self._ranks)))]
        self._turn += len(chosen)
        more = [self._ranks[each].read() for each in chosen]
        return any(more)

    def progress(self) -> Progress:
        told, steps = self._told, self._steps
        known = Progress(
            tag=self.tag,
            limit=self._limit,
            stage=self._stage(told.warmups, told.measured),
            steps=told.warmups + told.measured,
            measured=told.measured,
            rate_now=told.rate_now,
            rate=told.rate,
            unit=told.unit,
            last_step=self._here(told.last_rate_at),
            loss=told.loss,
            memory_peak_bytes=told.memory_bytes,
            pid=told.pid,
            started=told.started,
            ended=told.ended,
            outcome=told.outcome,
            events=told.events,
            bad_lines=told.bad,
        )
        return self._with_steps(known) if steps.rows else known

    def _with_steps(self, known: Progress) -> Progress:
        """Return what is known with steps and rates as the rows have them: ``rate`` lines are made of those."""
        steps, factor = self._steps, group_factor(self._steps, self._ranks)
        return replace(
            known,
            stage=self._stage(steps.warmups, steps.measured),
            steps=steps.steps,
            measured=steps.measured,
            measured_s=steps.busy_ns / 1e9,
            rate_now=None if steps.rate_now is None else steps.rate_now * factor,
            rate=None if steps.rate is None else steps.rate * factor,
            unit=f"{steps.unit}/s",
            last_step=self._here(None if steps.last_end_ns is None else (steps.zero_ns + steps.last_end_ns) / 1e9),
        )

    def _here(self, there: float | None) -> float | None:
        """Return a time by this machine's clock."""
        return None if there is None else there - self._ahead_s

    def _stage(self, warmups: int, measured: int) -> Stage:
        if self._told.outcome is not None:
            return "ended"
        if self._told.stopped:
            return "stopping"
        if measured:
            return "measuring"
        if warmups:
            return "warm-up"
        return "waiting" if self._told.started is None else "starting"


class _Told:
    """What the event lines of a process say."""

    def __init__(self) -> None:
        self.started: float | None = None
        self.ended: float | None = None
        self.outcome: Outcome | None = None
        self.pid: int | None = None
        self.loss: float | None = None
        self.memory_bytes: int | None = None
        self.stopped = False
        self.warmups = self.measured = self.events = self.bad = 0
        self.unit = ""
        self.last_rate_at: float | None = None
        self._sum = 0.0
        self._latest: deque[float] = deque(maxlen=_LATEST)

    def pass_over(self, beginning: bytes, length: int) -> None:
        """Count a line that is too long to mean anything."""
        del beginning, length
        self.bad += 1

    @property
    def rate(self) -> float | None:
        return self._sum / self.measured if self.measured else None

    @property
    def rate_now(self) -> float | None:
        return sum(self._latest) / len(self._latest) if self._latest else None

    def fold(self, values: Sequence[dict[str, Any]]) -> None:
        """Fold lines, decoded; a bare object (a script that writes metrics itself) is a ``data`` event."""
        self.events += len(values)
        loss: object = _NOTHING
        for value in values:
            event = value.get("event", "data")
            data = value.get("data") if "event" in value else value
            if type(data) is not dict:
                continue
            if event != "data":
                self._other(event, data)
                continue
            if "loss" in data:
                loss = data["loss"]
            if "rate" in data:
                self._rate(data, value)
            if "memory_peak_bytes" in data and is_number(data["memory_peak_bytes"]):
                self.memory_bytes = max(self.memory_bytes or 0, int(data["memory_peak_bytes"]))
        if loss is not _NOTHING:
            self.loss = float(loss) if is_number(loss) else None

    def _rate(self, data: dict[str, Any], line: dict[str, Any]) -> None:
        rate, steps, task = data["rate"], data.get("steps", 1), data.get("task", "train")
        if not is_number(rate) or task not in ("train", "warmup"):
            return
        unit = unit_of_rates(self.unit, data.get("units"))
        if unit is None:
            return
        self.unit = unit
        steps = steps if type(steps) is int and steps > 0 else 1
        if task == "warmup":
            self.warmups += steps
        else:
            self.measured += steps
            self._sum += rate * steps
        self._latest.append(rate)
        if is_number(at := line.get("time_ns")):
            self.last_rate_at = at / 1e9

    def _other(self, event: object, data: dict[str, Any]) -> None:
        if event == "start" and is_number(data.get("time")):
            self.started = float(data["time"])
        elif event == "hello" and type(data.get("pid")) is int:
            self.pid = data["pid"]
        elif event == "stop":
            self.stopped = True
        elif event == "end" and (kind := data.get("outcome")) in KINDS:
            self.outcome = Outcome(kind=kind, reason=str(data.get("reason") or ""))
            self.ended = float(data["time"]) if is_number(data.get("time")) else None
            resident = data.get("max_rss_bytes")
            if self.memory_bytes is None and is_number(resident) and resident > 0:
                self.memory_bytes = int(resident)
