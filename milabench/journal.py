"""The journal of a run: a line for all that a resumed run must know, written as it happens. The only state of a run.

One writer, which holds the run's lock; ``docs/reference/formats.md`` has the lines. What a crash cut short counts as
never written.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from milabench.outcome import GOOD, KINDS, UNDECIDED, Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Sitting:
    """One runner's work on a run: when it began (ns since 1970), its process and machine."""

    time_ns: int
    pid: int
    host: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Journal:
    """What a journal says. Trials are named by their ids, attempts are numbered from 1.

    ``outcomes`` and ``neighbours`` are of the last attempt and only there where it has ended; ``attempts`` has the
    number of each trial's last attempt; one that is ``retired`` counts no more, and its files are being moved away or
    have been. ``failed`` counts the attempts before it that had failed by themselves. ``state`` is how the last
    sitting ended, None where its runner did not say so.
    """

    sittings: tuple[Sitting, ...] = ()
    attempts: Mapping[str, int] = field(default_factory=dict)
    outcomes: Mapping[str, Outcome] = field(default_factory=dict)
    neighbours: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    started_ns: Mapping[str, int] = field(default_factory=dict)
    retired: frozenset[str] = frozenset()
    failed: Mapping[str, int] = field(default_factory=dict)
    state: str | None = None

    @property
    def running(self) -> tuple[str, ...]:
        """The trials of which an attempt has begun and not ended."""
        return tuple(trial for trial in self.attempts if trial not in self.outcomes and trial not in self.retired)


def read(path: Path) -> Journal:
    """Return what a journal says; nothing where there is none."""
    folded = Folded()
    folded.feed(path.read_bytes().splitlines() if path.exists() else [])
    return folded.journal()


class Folded:
    """The lines of a journal, folded as they come. One that is cut short, or none of ours, is passed over."""

    def __init__(self) -> None:
        self._sittings: list[Sitting] = []
        self._attempts: dict[str, int] = {}
        self._outcomes: dict[str, Outcome] = {}
        self._neighbours: dict[str, tuple[str, ...]] = {}
        self._started_ns: dict[str, int] = {}
        self._retired: set[str] = set()
        self._failed: dict[str, int] = {}
        self._state: str | None = None

    def feed(self, lines: Iterable[bytes]) -> None:
        """Fold the next lines, each without its newline."""
        for line in lines:
            with contextlib.suppress(ValueError, KeyError, RecursionError):
                self._add(json.loads(line))

    def _add(self, line: object) -> None:
        """Fold one line. Raises KeyError or ValueError, and folds nothing, where it does not say what it has to."""
        if not isinstance(line, dict):
            raise ValueError("no object")
        match line.get("event", "ended"):
            case "sitting":
                time_ns, pid, host = _number(line["time_ns"]), _number(line["pid"]), _text(line["host"])
                self._sittings.append(Sitting(time_ns=time_ns, pid=pid, host=host))
                self._state = None
            case "started":
                trial, attempt, time_ns = _text(line["trial"]), _number(line["attempt"]), _number(line["time_ns"])
                self._attempts[trial], self._started_ns[trial] = attempt, time_ns
                self._forget(trial)
                self._retired.discard(trial)
            case "retired":
                trial, attempt = _text(line["trial"]), _number(line["attempt"])
                self._attempts[trial] = attempt
                self._forget(trial)
                self._retired.add(trial)
            case "ended":
                trial, attempt = _text(line["trial"]), _number(line.get("attempt", 1))
                outcome, neighbours = _outcome(line["outcome"]), _texts(line.get("neighbours", []))
                self._attempts[trial], self._outcomes[trial], self._neighbours[trial] = attempt, outcome, neighbours
            case "finished":
                self._state = _text(line["state"])
            case _:
                pass

    def _forget(self, trial: str) -> None:
        before = self._outcomes.pop(trial, None)
        if before is not None and before.kind not in GOOD | UNDECIDED:
            self._failed[trial] = self._failed.get(trial, 0) + 1
        self._neighbours.pop(trial, None)

    def journal(self) -> Journal:
        """Return what the lines so far say; it stays as it is when more come."""
        return Journal(
            sittings=tuple(self._sittings),
            attempts=dict(self._attempts),
            outcomes=dict(self._outcomes),
            neighbours=dict(self._neighbours),
            started_ns=dict(self._started_ns),
            retired=frozenset(self._retired),
            failed=dict(self._failed),
            state=self._state,
        )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no text")
    return value


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError(f"{value!r} is no list")
    return tuple(map(_text, value))


def _number(value: object) -> int:
    """Return a whole number of 64 bits: a time in ns, a process, an attempt."""
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise ValueError(f"{value!r} is no such number")
    return value


def _outcome(value: object) -> Outcome:
    if not isinstance(value, dict) or (kind := value.get("kind")) not in KINDS:
        raise ValueError(f"{value!r} is no outcome")
    return Outcome(kind=kind, reason=_text(value.get("reason", "")), tag=_text(value.get("tag", "")))


class Writer:
    """Append to a journal. Raises OSError where a line cannot be written; that line then counts as never written."""

    def __init__(self, path: Path, now_ns: Callable[[], int]) -> None:
        self._now_ns = now_ns
        self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._torn = _is_torn(self._file)

    def sitting(self, host: str, version: str) -> None:
        self._append("sitting", pid=os.getpid(), host=host, milabench=version)

    def started(self, trial: str, attempt: int) -> None:
        self._append("started", trial=trial, attempt=attempt)

    def retired(self, trial: str, attempt: int) -> None:
        self._append("retired", trial=trial, attempt=attempt)

    def ended(self, trial: str, attempt: int, outcome: Outcome, neighbours: Sequence[str]) -> None:
        fields = {"trial": trial, "attempt": attempt, "outcome": asdict(outcome), "neighbours": list(neighbours)}
        self._append("ended", **fields)

    def finished(self, state: str) -> None:
        self._append("finished", state=state)

    def close(self) -> None:
        os.close(self._file)

    def _append(self, event: str, **fields: Any) -> None:
        """Write one line and see it to the disk; what stands before it of a torn line becomes a line of its own."""
        line = json.dumps({"time_ns": self._now_ns(), "event": event, **fields}).encode() + b"\n"
        left = b"\n" + line if self._torn else line
        self._torn = True
        while left:
            left = left[os.write(self._file, left) :]
        os.fsync(self._file)
        self._torn = False


def _is_torn(file: int) -> bool:
    size = os.fstat(file).st_size
    return size > 0 and os.pread(file, 1, size - 1) != b"\n"
