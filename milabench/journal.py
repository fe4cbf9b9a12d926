"""The journal of a run: a line for all that a resumed run must know, written as it happens. The only state of a run.

One writer, which holds the run's lock; ``docs/reference/formats.md`` has the lines. What a crash cut short counts as
never written.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from milabench.outcome import Outcome


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
    have been. ``state`` is how the last sitting ended, None where its runner did not say so.
    """

    sittings: tuple[Sitting, ...] = ()
    attempts: Mapping[str, int] = field(default_factory=dict)
    outcomes: Mapping[str, Outcome] = field(default_factory=dict)
    neighbours: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    started_ns: Mapping[str, int] = field(default_factory=dict)
    retired: frozenset[str] = frozenset()
    state: str | None = None

    @property
    def running(self) -> tuple[str, ...]:
        """The trials of which an attempt has begun and not ended."""
        return tuple(trial for trial in self.attempts if trial not in self.outcomes and trial not in self.retired)


def read(path: Path) -> Journal:
    """Return what a journal says; nothing where there is none."""
    lines = path.read_bytes().splitlines() if path.exists() else []
    folded = _Folded()
    for line in lines:
        try:
            folded.add(json.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue  # cut short by a crash, or none of ours
    return folded.journal()


class _Folded:
    def __init__(self) -> None:
        self._sittings: list[Sitting] = []
        self._attempts: dict[str, int] = {}
        self._outcomes: dict[str, Outcome] = {}
        self._neighbours: dict[str, tuple[str, ...]] = {}
        self._started_ns: dict[str, int] = {}
        self._retired: set[str] = set()
        self._state: str | None = None

    def add(self, line: dict[str, Any]) -> None:
        match line.get("event", "ended"):
            case "sitting":
                self._sittings.append(Sitting(time_ns=line["time_ns"], pid=line["pid"], host=line["host"]))
                self._state = None
            case "started":
                trial = str(line["trial"])
                self._attempts[trial], self._started_ns[trial] = int(line["attempt"]), int(line["time_ns"])
                self._forget(trial)
                self._retired.discard(trial)
            case "retired":
                trial = str(line["trial"])
                self._attempts[trial] = int(line["attempt"])
                self._forget(trial)
                self._retired.add(trial)
            case "ended":
                outcome, trial = Outcome(**line["outcome"]), str(line["trial"])
                self._attempts[trial] = int(line.get("attempt", 1))
                self._outcomes[trial] = outcome
                self._neighbours[trial] = tuple(map(str, line.get("neighbours", ())))
            case "finished":
                self._state = str(line["state"])
            case _:
                pass

    def _forget(self, trial: str) -> None:
        self._outcomes.pop(trial, None)
        self._neighbours.pop(trial, None)

    def journal(self) -> Journal:
        return Journal(
            sittings=tuple(self._sittings),
            attempts=self._attempts,
            outcomes=self._outcomes,
            neighbours=self._neighbours,
            started_ns=self._started_ns,
            retired=frozenset(self._retired),
            state=self._state,
        )


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
