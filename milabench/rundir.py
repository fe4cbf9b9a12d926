"""A run directory as it is read: every file name in it, and what its files say."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import glob
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from benchmate import wire
from milabench import journal
from milabench.agent.monitor import samples
from milabench.errors import AbsentFileError, RunDirError
from milabench.eventfile import events_in
from milabench.fold import Folded, fold
from milabench.group import Group, Planned, planned
from milabench.journal import Journal
from milabench.outcome import GOOD, KINDS, UNDECIDED, Outcome
from milabench.plan import Command, Plan, codec


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """The files of one process, in a folder; ``lines`` is what the one of its events ends in."""

    folder: Path
    tag: str
    lines: str = ".data"

    @property
    def events(self) -> Path:
        return self.folder / f"{self.tag}{self.lines}"

    @property
    def steps(self) -> Path:
        return self.folder / f"{self.tag}.steps"

    @property
    def stdout(self) -> Path:
        return self.folder / f"{self.tag}.stdout"

    @property
    def stderr(self) -> Path:
        return self.folder / f"{self.tag}.stderr"

    @property
    def printed(self) -> tuple[Path, Path]:
        """What the process printed."""
        return self.stdout, self.stderr

    def of_rank(self, rank: int) -> tuple[Path, Path]:
        """Return the event file and the steps of a rank of the group that the process leads."""
        if rank == 0:
            return self.events, self.steps
        beside = f"{self.tag}{self.lines}".removesuffix(".data") + f".rank{rank}"
        return self.folder / f"{beside}.jsonl", self.folder / f"{beside}.steps"

    @classmethod
    def of(cls, folder: Path, tag: str) -> Files:
        return cls(folder=folder, tag=tag)


class RunDir:
    """One run, to read; ``record.Record`` is one that is being written."""

    def __init__(self, path: Path) -> None:
        self.path = path

    # Names -------------------------------------------------------------------------------------------------------

    @property
    def facts_path(self) -> Path:
        return self.path / "run.json"

    @property
    def plan_path(self) -> Path:
        return self.path / "plan.json"

    @property
    def has_begun(self) -> bool:
        """Whether a runner has begun it, so that it can be gone on with: its plan is put there last."""
        return self.plan_path.exists()

    @property
    def suite_path(self) -> Path:
        return self.path / "suite.json"

    @property
    def journal_path(self) -> Path:
        return self.path / "journal.jsonl"

    @property
    def lock_path(self) -> Path:
        return self.path / "run.lock"

    @property
    def hold_path(self) -> Path:
        """Locked by the agent of this machine while anything that it started for the run may still live."""
        return self.path / "agent.lock"

    @property
    def reserve_path(self) -> Path:
        """Room on the disk for what has to be written when that is full."""
        return self.path / "run.reserve"

    def monitor_path(self, node: str) -> Path:
        """Where the samples of a node are written."""
        return self.path / f"{node}{samples.SUFFIX}"

    def monitor_paths(self) -> Mapping[str, Path]:
        """Return where the samples of each node are that has some."""
        found = sorted(self.path.glob(f"*{samples.SUFFIX}"))
        return {path.name.removesuffix(samples.SUFFIX): path for path in found}

    def attempt_path(self, attempt: int) -> Path:
        """Where the files of an attempt that came to nothing are kept."""
        return self.path / "attempts" / str(attempt)

    def files(self, tag: str) -> Files:
        return Files.of(self.path, tag)

    # Read --------------------------------------------------------------------------------------------------------

    def plan(self) -> Plan:
        return codec.from_json(_read_json(self.plan_path))

    def facts(self) -> Mapping[str, Any]:
        return _read_map(self.facts_path)

    def suite(self) -> Mapping[str, Any]:
        return _read_map(self.suite_path)

    def is_being_written(self) -> bool:
        """Say whether a runner works on it at this moment, of this machine or where locks reach it."""
        try:
            lock = os.open(self.lock_path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False

    def journal(self) -> Journal:
        """Return what the journal says; lines cut short by a crash are passed over."""
        return journal.read(self.journal_path)

    def outcomes(self) -> Mapping[str, Outcome]:
        """Return the outcome of every trial whose last attempt has ended."""
        return self.journal().outcomes

    def decided(self, plan: Plan, *, failed: bool = True) -> frozenset[str]:
        """Return the ids of the trials that need not be run again; ``failed`` False: those that went well only.

        One that went well and of which a process has no events any more must be.
        """
        outcomes = self.journal().outcomes
        kept = frozenset(KINDS if failed else GOOD) - UNDECIDED
        whole = {trial.id for trial in plan.trials if all(map(self._is_there, trial.commands))}
        return frozenset(
            trial
            for trial, outcome in outcomes.items()
            if outcome.kind in kept and (trial in whole or outcome.kind not in GOOD)
        )

    def _is_there(self, command: Command) -> bool:
        return self.files(command.tag).events.exists()

    def neighbours(self) -> Mapping[str, tuple[str, ...]]:
        """Return the trials that ran at the same time as each, where any did."""
        return {trial: others for trial, others in self.journal().neighbours.items() if others}

    def failed_before(self) -> Mapping[str, int]:
        """Return how many attempts of a trial had failed before the one that counts, where any did."""
        return self.journal().failed

    def tags(self) -> tuple[str, ...]:
        """Return the tags of the processes that have events."""
        return tuple(sorted(path.name.removesuffix(".data") for path in self.path.glob("*.data")))

    def events(self, tag: str) -> Iterator[wire.Event]:
        """Yield the events of a process; lines that are none come as events ``line`` with their text."""
        yield from events_in(self.files(tag).events)

    def steps(self, tag: str) -> Iterator[wire.Steps]:
        """Yield the steps of a process in parts, of all its ranks where it leads a group; none where there are none."""
        return self.group(tag).steps()

    def damage(self, tag: str) -> str:
        """Say what is wrong with the steps of a process and of the ranks that it leads."""
        paths = (self.files(tag).steps, *self.group(tag).steps_paths())
        return "; ".join(filter(None, map(_damage, paths)))

    def group(self, tag: str) -> Group:
        """Return the files of the ranks that a process leads, if it leads any."""
        return Group(of_rank=self.files(tag).of_rank, planned=self._planned.get(tag, Planned()))

    @functools.cached_property
    def _planned(self) -> Mapping[str, Planned]:
        """The groups of the plan, which is written before any process starts; none where there is no plan."""
        try:
            return planned(self.plan())
        except RunDirError:
            return {}

    def first_error(self, tag: str) -> str | None:
        """Return the error that was told first by any rank of a group: those of the others follow from it."""
        found: tuple[int, str] | None = None
        ranks = sorted(self.path.glob(f"{glob.escape(tag)}.rank[0-9]*.jsonl"))
        for path in (self.files(tag).events, *ranks):
            rank = f"rank {path.suffixes[-2].removeprefix('.rank')}: " if path in ranks else ""
            with contextlib.suppress(OSError):
                for event in events_in(path):
                    if event.event != "error" or not isinstance(event.data, dict):
                        continue
                    if found is None or (event.time_ns or 0) < found[0]:
                        found = event.time_ns or 0, f"{rank}{event.data.get('type')}: {event.data.get('message')}"
        return found and found[1]

    def folded(self, tag: str) -> Folded:
        """Return the steps of a process, of all its ranks where it leads a group, as ``rate`` lines."""
        try:
            rows = wire.count_steps(self.files(tag).steps)
        except OSError:  # something else of that name
            rows = 0
        return fold(self.steps(tag), rows) if rows else Folded()

    def end(self, tag: str) -> Outcome | None:
        """Return what the end of a process says came of it, None where it has none."""
        if not self.files(tag).events.exists():
            return None
        seals = Seals()
        for event in self.events(tag):
            if seals.has(event):
                return Outcome(kind=event.data["outcome"], reason=str(event.data.get("reason", "")), tag=tag)
        return None

    def log_tail(self, tag: str, lines: int) -> list[str]:
        """Return the last lines a process wrote to standard error, else to standard output."""
        return tail_of(self.files(tag), lines)


def open_run(path: Path) -> RunDir:
    """Open a run to read, one of milabench before this too (``.data`` files alone). Raises RunDirError for none."""
    run = RunDir(path)
    if not is_run(path):
        what = "holds no run" if path.is_dir() else "is no folder"
        raise RunDirError(f"{path} {what}: give the folder of a run, as `milabench run` prints it")
    return run


def runs(base: Path) -> list[Path]:
    """Return the run directories below a base, the oldest first."""
    folder = base / "runs"
    found = [path for path in folder.iterdir() if is_run(path) and not is_setup(path)] if folder.is_dir() else []
    return sorted(found, key=lambda path: (began(path), path.name))


def is_run(path: Path) -> bool:
    return RunDir(path).has_begun or any(path.glob("*.data"))


def is_setup(path: Path) -> bool:
    """Say whether a folder has what milabench logged of its install or prepare phase, as if that were a run."""
    return path.name.startswith(("install.", "prepare.")) and not RunDir(path).has_begun


def began(path: Path) -> float:
    """Return when a run began, by its facts, else by its folder's time of change."""
    with contextlib.suppress(RunDirError, KeyError, TypeError, ValueError, OverflowError):
        return float(RunDir(path).facts()["started"])
    return path.stat().st_mtime


def process_tags(folder: Path) -> list[str]:
    """Return the tags of the processes that print into a folder; one elsewhere that has printed nothing has no logs."""
    suffixes = ("stdout", "stderr", "data") if RunDir(folder).has_begun else ("stdout", "stderr")
    return sorted({path.stem for suffix in suffixes for path in folder.glob(f"*.{suffix}")})


def tail_of(files: Files, lines: int) -> list[str]:
    return tail(files.stderr, lines) or tail(files.stdout, lines)


def tail(path: Path, lines: int) -> list[str]:
    """Return the last lines of a text file; none where it is not there. Reads its last 64 KiB at most, 0 lines: all."""
    try:
        with path.open("rb") as file:
            file.seek(max(path.stat().st_size - (1 << 16), 0) if lines else 0)
            return file.read().decode(errors="replace").splitlines()[-lines:]
    except OSError:
        return []


class Seals:
    """Tells the ``end`` that the runner writes from one that the process wrote, by the events of a file in order.

    It repeats the mark of the file's first ``start`` (runs of older versions have none): only these ``EVENTS`` matter.
    """

    EVENTS: ClassVar[frozenset[str]] = frozenset({"start", "end"})

    def __init__(self) -> None:
        self._mark: object = None
        self._began = False

    def has(self, event: wire.Event) -> bool:
        """Take the next event, and say whether it is the runner's ``end``."""
        if not isinstance(event.data, dict):
            return False
        if event.event == "start" and not self._began:
            self._began, self._mark = True, event.data.get("seal")
        return event.event == "end" and "outcome" in event.data and event.data.get("seal") == self._mark

    def end(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Return the runner's ``end`` of these fields."""
        return {**fields, "seal": self._mark}


def _read_map(path: Path) -> dict[str, Any]:
    found = _read_json(path)
    if not isinstance(found, dict):
        raise RunDirError(f"{path} is no map: it was damaged, or written by something else")
    return found


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise AbsentFileError(f"{path} is missing") from None
    except OSError as error:
        raise RunDirError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from None
    except ValueError as error:
        raise RunDirError(f"{path} cannot be read: it was damaged, it is no JSON ({error})") from None


def _damage(path: Path) -> str:
    """Say what is wrong with a ``.steps`` file."""
    try:
        with path.open("rb") as file:
            header = wire.StepsHeader.decode(file.read(wire.StepsHeader.SIZE), path)
            rows = max(os.fstat(file.fileno()).st_size - wire.StepsHeader.SIZE, 0) // header.row_size
    except FileNotFoundError:
        return ""
    except (OSError, wire.WireError):
        return f"{path.name} is damaged and was left out: what it measured is taken from its .data file, if it is there"
    return f"{path.name} was cut: {rows} of {header.rows} steps are left, the others are missing" * (rows < header.rows)
