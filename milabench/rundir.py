"""A run directory: every file name in it, who writes what when, and how it is read back.

One writer at a time: the runner writes ``config`` and ``start``; the process appends its events; when its tree is
gone, ``seal`` folds its steps into ``rate`` lines and writes ``end``. A sealed file has exactly one of each.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import itertools
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmate import wire
from milabench.errors import PreflightError, RunDirError
from milabench.outcome import Exit, Outcome, Seen, outcome
from milabench.plan import Command, Plan, Trial, codec

MAX_RATE_LINES = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """The files of one process."""

    events: Path
    steps: Path
    stdout: Path
    stderr: Path

    @property
    def printed(self) -> tuple[Path, Path]:
        """What the process printed."""
        return self.stdout, self.stderr

    @classmethod
    def of(cls, folder: Path, tag: str) -> Files:
        return cls(**{name: folder / f"{tag}.{suffix}" for name, suffix in _SUFFIXES.items()})


_SUFFIXES = {"events": "data", "steps": "steps", "stdout": "stdout", "stderr": "stderr"}


class RunDir:
    """One run. ``create`` makes a new one and locks it; the constructor opens one to read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: int | None = None

    # Names -------------------------------------------------------------------------------------------------------

    @property
    def facts_path(self) -> Path:
        return self.path / "run.json"

    @property
    def plan_path(self) -> Path:
        return self.path / "plan.json"

    @property
    def suite_path(self) -> Path:
        return self.path / "suite.json"

    @property
    def journal_path(self) -> Path:
        return self.path / "journal.jsonl"

    @property
    def lock_path(self) -> Path:
        return self.path / "run.lock"

    def files(self, tag: str) -> Files:
        return Files.of(self.path, tag)

    # Write -------------------------------------------------------------------------------------------------------

    @classmethod
    def create(cls, path: Path, *, plan: Plan, facts: Mapping[str, Any], suite: Mapping[str, Any]) -> RunDir:
        """Make the folder and its facts. Raises PreflightError when a run is there, or no folder can be made."""
        run = cls(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise PreflightError(f"cannot make {path}: {error.strerror}: choose another --base or --run-name") from None
        run._take_lock()
        if _is_run(path):
            run.release()
            raise PreflightError(f"{path} holds a run already: choose another --run-name")
        _write(run.plan_path, codec.lines(plan))
        _write_json(run.suite_path, suite)
        _write_json(run.facts_path, {"version": 1, **facts})
        return run

    def begin(self, command: Command, config: Mapping[str, Any]) -> int:
        """Write the ``config`` and ``start`` of a process; return the number of lines its file now holds."""
        writer = wire.EventWriter(self.files(command.tag).events)
        writer.write("config", config)
        writer.write(
            "start", {"command": list(command.argv), "node": command.node, "rank": command.rank, "time": time.time()}
        )
        writer.close()
        return writer.seq

    def seal(self, command: Command, ended: Exit) -> Outcome:
        """Fold the steps of a dead process into ``rate`` lines and write its ``end``; a sealed file stays as it is.

        All of it is put in place at once, so that a crash in the middle leaves an unsealed file and nothing twice.
        """
        files = self.files(command.tag)
        content = files.events.read_bytes() if files.events.exists() else b""
        events = [event for line in content.splitlines() if (event := wire.decode_event(line))]
        steps = self.steps(command.tag)
        seen = Seen.of(events, steps, expects_rate=command.metrics != "none")
        if ended.code:
            seen = replace(seen, error=self._first_error(command.tag, events))
        verdict = outcome(ended, seen.with_last_words(tail(files.stderr, 5)))
        if any(_is_seal(event) for event in events):
            return verdict
        if content and not content.endswith(b"\n"):
            content += b"\n"
        last = max((event.seq for event in events if event.seq is not None), default=-1)
        lines: list[tuple[str, object]] = [("data", line) for line in _rate_lines(steps)] if steps is not None else []
        lines.append(("end", _end(ended, verdict)))
        first_seq, now_ns = max(last + 1, content.count(b"\n")), time.time_ns()
        for seq, (name, data) in enumerate(lines, first_seq):
            content += wire.encode_event(name, data, time_ns=now_ns, seq=seq)
        partial = files.events.with_name(f"{files.events.name}.partial")
        partial.write_bytes(content)
        partial.replace(files.events)
        return verdict

    def note(self, trial: Trial, outcome: Outcome) -> None:
        """Append what came of a trial to the journal."""
        entry = {"time_ns": time.time_ns(), "trial": trial.id, "outcome": asdict(outcome)}
        with self.journal_path.open("a") as file:
            file.write(json.dumps(entry) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def finish(self, state: str) -> None:
        """Record how the run as a whole ended, and let its lock go."""
        _write_json(self.facts_path, {**self.facts(), "ended": time.time(), "state": state})
        self.release()

    def release(self) -> None:
        """Let the lock of the run go."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _take_lock(self) -> None:
        lock = os.open(self.lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            message = f"{self.path} is being written by another milabench: choose another --run-name"
            raise PreflightError(message) from None
        self._lock = lock

    # Read --------------------------------------------------------------------------------------------------------

    def plan(self) -> Plan:
        return codec.from_json(_read_json(self.plan_path))

    def facts(self) -> Mapping[str, Any]:
        found: dict[str, Any] = _read_json(self.facts_path)
        return found

    def outcomes(self) -> dict[str, Outcome]:
        """Return the last outcome of every trial that has one; a line cut short by a crash is passed over."""
        found: dict[str, Outcome] = {}
        lines = self.journal_path.read_bytes().splitlines() if self.journal_path.exists() else []
        for line in lines:
            try:
                entry = json.loads(line)
                found[entry["trial"]] = Outcome(**entry["outcome"])
            except (ValueError, KeyError, TypeError):
                continue
        return found

    def tags(self) -> tuple[str, ...]:
        """Return the tags of the processes that have events."""
        return tuple(sorted(path.name.removesuffix(".data") for path in self.path.glob("*.data")))

    def events(self, tag: str) -> Iterator[wire.Event]:
        """Yield the events of a process; lines that are none come as events ``line`` with their text."""
        with self.files(tag).events.open("rb") as file:
            for line in file:
                event = wire.decode_event(line)
                yield event or wire.Event(event="line", data={"line": line.decode(errors="replace").rstrip("\n")})

    def steps(self, tag: str) -> wire.Steps | None:
        """Return the steps of a process, of all its ranks where it leads a group; None where there are none to read."""
        leader = _steps(self.files(tag).steps)
        if leader is None:
            return None
        files = (self.path / f"{tag}.rank{rank}.steps" for rank in itertools.count(1))
        ranks = map(_steps, itertools.takewhile(Path.exists, files))
        return leader.with_ranks([rank for rank in ranks if rank is not None])

    def _first_error(self, tag: str, events: Iterable[wire.Event]) -> str | None:
        """Return the error that was told first by any rank of a group: those of the others follow from it."""
        told = [("", event) for event in events]
        for path in sorted(self.path.glob(f"{glob.escape(tag)}.rank[0-9]*.jsonl")):
            rank = f"rank {path.suffixes[-2].removeprefix('.rank')}: "
            told += [(rank, event) for line in path.read_bytes().splitlines() if (event := wire.decode_event(line))]
        errors = [(rank, event) for rank, event in told if event.event == "error" and isinstance(event.data, dict)]
        if not errors:
            return None
        rank, first = min(errors, key=lambda each: each[1].time_ns or 0)
        return f"{rank}{first.data.get('type')}: {first.data.get('message')}"

    def log_tail(self, tag: str, lines: int) -> list[str]:
        """Return the last lines a process wrote to standard error, else to standard output."""
        return _tail_of(self.files(tag), lines)


class SetupLogs:
    """What the processes of the install and prepare phases print: two files each, of the latest attempt only."""

    def __init__(self, base: Path) -> None:
        self.path = base / "extra" / "setup"

    def files(self, tag: str) -> Files:
        return Files.of(self.path, tag)

    def begin(self, command: Command, config: Mapping[str, Any]) -> int:
        del config
        self.path.mkdir(parents=True, exist_ok=True)
        for path in (self.files(command.tag).stdout, self.files(command.tag).stderr):
            path.write_bytes(b"")
        return 0

    def seal(self, command: Command, ended: Exit) -> Outcome:
        seen = Seen(expects_rate=False)
        return outcome(ended, seen.with_last_words(self.log_tail(command.tag, 5)))

    def note(self, trial: Trial, outcome: Outcome) -> None:
        """Nothing is kept: the records of what has been done say it."""

    def log_tail(self, tag: str, lines: int) -> list[str]:
        return _tail_of(self.files(tag), lines)


def open_run(path: Path) -> RunDir:
    """Open a run to read, one of milabench before this too (``.data`` files alone). Raises RunDirError for none."""
    run = RunDir(path)
    if not _is_run(path):
        what = "holds no run" if path.is_dir() else "is no folder"
        raise RunDirError(f"{path} {what}: give the folder of a run, as `milabench run` prints it")
    return run


def runs(base: Path) -> list[Path]:
    """Return the run directories below a base, the oldest first."""
    folder = base / "runs"
    found = [path for path in folder.iterdir() if _is_run(path)] if folder.is_dir() else []
    return sorted(found, key=lambda path: (_began(path), path.name))


def _is_run(path: Path) -> bool:
    return (path / "plan.json").exists() or any(path.glob("*.data"))


def _began(path: Path) -> float:
    """Return when a run began, by its facts, else by its folder's time of change."""
    with contextlib.suppress(RunDirError, KeyError, TypeError):
        return float(RunDir(path).facts()["started"])
    return path.stat().st_mtime


def _steps(path: Path) -> wire.Steps | None:
    try:
        return wire.read_steps(path)
    except (OSError, wire.WireError):
        return None


def log_tags(folder: Path) -> list[str]:
    """Return the tags of the processes that printed into a folder."""
    return sorted({path.stem for suffix in ("stdout", "stderr") for path in folder.glob(f"*.{suffix}")})


def _tail_of(files: Files, lines: int) -> list[str]:
    return tail(files.stderr, lines) or tail(files.stdout, lines)


def tail(path: Path, lines: int) -> list[str]:
    """Return the last lines of a text file; none where it is not there. Reads its last 64 KiB at most, 0 lines: all."""
    try:
        with path.open("rb") as file:
            file.seek(max(path.stat().st_size - (1 << 16), 0) if lines else 0)
            return file.read().decode(errors="replace").splitlines()[-lines:]
    except OSError:
        return []


def _end(ended: Exit, verdict: Outcome) -> dict[str, Any]:
    return {
        "code": ended.code,
        "signal": ended.signal,
        "outcome": verdict.kind,
        "reason": verdict.reason,
        "max_rss_bytes": ended.max_rss_bytes,
        "seconds": round(ended.seconds, 6),
        "time": time.time(),
    }


def _is_seal(event: wire.Event) -> bool:
    """Say whether an event is the ``end`` that ``seal`` writes; a process may write what it likes."""
    return event.event == "end" and isinstance(event.data, dict) and "outcome" in event.data


def _rate_lines(steps: wire.Steps) -> Iterator[dict[str, Any]]:
    """Yield one line per step, or per run of steps of one phase where there are more than MAX_RATE_LINES steps."""
    columns, units = steps.columns, f"{steps.unit}/s"
    size = max(-(-len(steps) // (MAX_RATE_LINES - 2)), 1)  # each phase may end in a line that stands for fewer
    for phase, task in ((wire.WARMUP, "warmup"), (wire.MEASURED, "train")):
        good = [
            index
            for index in range(len(steps))
            if columns["phase"][index] == phase
            and columns["status"][index] == 0
            and columns["end"][index] > columns["start"][index]
        ]
        for first in range(0, len(good), size):
            chunk = good[first : first + size]
            count = sum(columns["count"][index] for index in chunk)
            seconds = sum(columns["end"][index] - columns["start"][index] for index in chunk) / 1e9
            line = {"task": task, "rate": count / seconds, "units": units, "time": _wall_s(steps, chunk[-1])}
            yield line if size == 1 else {**line, "steps": len(chunk)}


def _wall_s(steps: wire.Steps, index: int) -> float:
    return (steps.zero_ns + steps.columns["end"][index]) / 1e9


def _write_json(path: Path, value: object) -> None:
    _write(path, [json.dumps(value, indent=1)])


def _write(path: Path, texts: Iterable[str]) -> None:
    partial = path.with_name(path.name + ".partial")
    with partial.open("w") as file:
        file.writelines(texts)
    partial.replace(path)


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise RunDirError(f"{path} cannot be read: {error}") from None
