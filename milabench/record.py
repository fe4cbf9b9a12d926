"""A run directory as its runner writes it.

One writer at a time: the runner writes ``config`` and ``start``; the process appends its events; when its tree is
gone, ``seal`` folds its steps into ``rate`` lines and writes ``end``. A sealed file has exactly one of each.

A run goes on where it was cut off: ``reopen`` keeps what has ended; what was under way moves to ``attempts/<k>/`` as
it is and begins anew.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import os
import platform
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmate import wire
from milabench import __version__, journal
from milabench.durable import partial_of, sync, write, write_json
from milabench.errors import DiskFull, PreflightError
from milabench.fold import Folded
from milabench.outcome import UNDECIDED, Exit, Outcome, Seen, outcome, worst
from milabench.plan import Command, Plan, Trial, codec
from milabench.room import Room, is_full
from milabench.rundir import RunDir, is_run, tail
from milabench.sealing import Copied, can_be_added_to, end_of
from milabench.slurm import records

_GLANCE_S = 0.2  # whoever looks whether a run is being written has its lock for a moment: that is no runner
_MADE_ELSE = frozenset({errno.EISDIR, errno.ENOTDIR, errno.EACCES, errno.ELOOP, errno.ENXIO})  # of its files
_LAST_LINES = 200  # of what a failed process printed are looked at for its reason


class Record(RunDir):
    """A run that is being written: ``create`` makes a new one, ``reopen`` goes on with one; both lock it.

    ``now_ns`` is the wall clock: ns since 1970.
    """

    def __init__(self, path: Path, now_ns: Callable[[], int] = time.time_ns) -> None:
        super().__init__(path)
        self._now_ns = now_ns
        self._lock: int | None = None
        self._journal: journal.Writer | None = None
        self._attempts: dict[str, int] = {}
        self._is_new = False  # nothing stood in its folder before, of a process
        self._room = Room(path, kept=self.reserve_path, going_on=self._going_on)

    def _going_on(self) -> str:
        """Say what goes on with the run, nothing where it has not begun."""
        if not self.has_begun:
            return ""
        failed = "-- --failed" if records.is_submitted(self.path) else "--failed"
        return f"`{records.going_on(self.path)}` goes on ({failed}: also with what failed)"

    @classmethod
    def create(
        cls,
        path: Path,
        *,
        plan: Plan,
        facts: Mapping[str, Any],
        suite: Mapping[str, Any],
        now_ns: Callable[[], int] = time.time_ns,
    ) -> Record:
        """Make the folder and its facts.

        Raises PreflightError when a run is there, or no folder can be made, DiskFull where there is no room for it.
        """
        run = cls(path, now_ns)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise PreflightError(f"cannot make {path}: {error.strerror}: choose another --base or --run-name") from None
        run._take_lock("choose another --run-name")
        run._is_new = {each.name for each in path.iterdir()} <= {run.lock_path.name, records.NAME, records.FOLDER}
        if is_run(path):
            run.release()
            raise PreflightError(f"{path} holds a run already: choose another --run-name, or go on with it by resume")
        try:
            with run._room.needed():
                write_json(run.facts_path, {"version": 1, **facts})
                write_json(run.suite_path, suite)
                run._room.keep(run.facts_path.stat().st_size)
                write(run.plan_path, codec.lines(plan))  # last: what has a plan is a run that can be gone on with
        except DiskFull:
            run._unmake()
            raise
        run._open_journal()
        run.sit_down()
        return run

    @classmethod
    def reopen(cls, path: Path, now_ns: Callable[[], int] = time.time_ns) -> Record:
        """Open a run to go on with it. Raises PreflightError while another does, RunDirError where there is no plan.

        It is gone on with from ``sit_down``: released before, it stays as it was. A trial whose processes have all
        been sealed had ended: only the journal's word on it is wanting, or was lost.
        """
        run = cls(path, now_ns)
        plan = run.plan()
        run._take_lock("`milabench status` shows how far it is")
        known = run.journal()
        run._attempts = dict(known.attempts)
        run._open_journal()
        for trial in plan.trials:
            open_ended = trial.id not in known.outcomes and trial.id not in known.retired
            if open_ended and (ended := run._sealed(trial)) is not None:
                run.note(trial, ended)
        return run

    def _unmake(self) -> None:
        """Remove what was made of a run that could not be begun."""
        self.release()
        for path in (self.facts_path, self.suite_path, self.reserve_path, self.lock_path):
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # a folder of the user's, with something else in it
            self.path.rmdir()

    def _open_journal(self) -> None:
        with self._room.needed():
            self._journal = journal.Writer(self.journal_path, self._now_ns)

    def sit_down(self) -> None:
        """Begin a runner's work on the run: what it says of its end counts from here. Raises DiskFull."""
        with self._room.needed():
            self._room.keep(self.facts_path.stat().st_size)
            self._writer.sitting(platform.node(), __version__)
        sync(self.path)

    def started(self, trial: Trial) -> None:
        """Begin an attempt of a trial; what an earlier one left is put away first, and counts no more.

        Raises DiskFull.
        """
        self._room.require()
        with self._room.needed():
            self._start(trial)

    def replan(self, plan: Plan) -> None:
        """Put a plan in the place of the run's, in which some trials are on other nodes: under other tags, it may be.

        What earlier attempts of these left is put away first, and counts no more. Raises DiskFull.
        """
        after = {trial.id: trial for trial in plan.trials}
        with self._room.needed():
            for trial in self.plan().trials:
                if after[trial.id] != trial:
                    self._attempts[trial.id] = self._retire(trial)
            write(self.plan_path, codec.lines(plan))
        vars(self).pop("_planned", None)  # its groups are those of the plan

    def _start(self, trial: Trial) -> None:
        attempt = self._retire(trial) + 1
        self._attempts[trial.id] = attempt
        self._writer.started(trial.id, attempt)

    def _retire(self, trial: Trial) -> int:
        """Put away what the last attempt of a trial left, and return its number: 0 where there was none."""
        if self._is_new and trial.id not in self._attempts:
            return 0
        before = max(self._attempts.get(trial.id, 0), self._kept_of(trial))
        if any(self._written(command.tag) for command in trial.commands):
            before = max(before, 1)
            self._writer.retired(trial.id, before)
            self._put_away(trial.commands, before)
        return before

    def _kept_of(self, trial: Trial) -> int:
        """Return the number of the last attempt that is kept of a trial, which the journal may have lost."""
        tag = glob.escape(trial.commands[0].tag) if trial.commands else ""
        found = self.path.glob(f"attempts/*/{tag}.jsonl")
        return max((int(path.parent.name) for path in found if path.parent.name.isdecimal()), default=0)

    def _put_away(self, commands: Iterable[Command], attempt: int) -> None:
        """Seal what processes left and move it to the attempt's folder; a part of that may have been done before.

        Events are ``.jsonl`` there: milabench's reader takes every ``.data`` below a run for a process of it.
        """
        folder = self.attempt_path(attempt)
        folder.mkdir(parents=True, exist_ok=True)
        for command in commands:
            if self.files(command.tag).events.exists():
                self.seal(command, Exit(tag=command.tag, cause="lost"))
            for path in self._written(command.tag):
                path.replace(folder / (f"{path.stem}.jsonl" if path.suffix == ".data" else path.name))
        sync(folder)
        sync(self.path)

    def _written(self, tag: str) -> list[Path]:
        """Return the files of a process and of the further ranks it leads, these first: without its own there are none.

        Folders of many thousand processes are not listed for each that begins.
        """
        files = self.files(tag)
        ours = (files.events, partial_of(files.events), files.steps, files.stdout, files.stderr)
        found = [path for path in ours if path.exists()]
        return [*sorted(self.path.glob(f"{glob.escape(tag)}.rank[0-9]*.*")), *found] if found else []

    def _sealed(self, trial: Trial) -> Outcome | None:
        """Return what came of a trial by the ends of its processes; None where one has none, or was cut off."""
        found: list[Outcome] = []
        for command in trial.commands:
            end = self.end(command.tag)
            if end is None or end.kind in UNDECIDED:
                return None
            found.append(end)
        return worst(found)

    @property
    def _writer(self) -> journal.Writer:
        assert self._journal is not None, "a run that is open to read is not written"
        return self._journal

    def begin(self, command: Command, config: Mapping[str, Any]) -> int:
        """Write the ``config`` and ``start`` of a process; return the number of lines its file now holds.

        Raises DiskFull.
        """
        with self._room.needed():
            return self._begin(command, config)

    def _begin(self, command: Command, config: Mapping[str, Any]) -> int:
        writer, now_ns = wire.EventWriter(self.files(command.tag).events), self._now_ns()
        start = {
            "command": list(command.argv),
            "node": command.node,
            "rank": command.rank,
            "time": now_ns / 1e9,
            "seal": secrets.token_hex(8),
        }
        writer.write("config", config, time_ns=now_ns)
        writer.write("start", start, time_ns=now_ns)
        writer.close()
        return writer.seq

    def seal(self, command: Command, ended: Exit) -> Outcome:
        """Fold the steps of a dead process into ``rate`` lines and write its ``end``; a sealed file stays as it is.

        All of it is put in place at once and is on the disk then, so that a crash in the middle leaves an unsealed
        file and nothing twice. Memory does not grow with what the process wrote. Where there are no steps, only the
        ``end`` is added: one line is as good as a whole file. Where there is no room for more it is, too, in the room
        that was kept: the steps say the same. Raises DiskFull without any.
        """
        try:
            folded = self.folded(command.tag)
            if not folded.lines and can_be_added_to(self.files(command.tag).events):
                return self._sealed_in_place(command, ended, folded)
            return self._sealed_anew(command, ended, folded)
        except OSError as error:
            if not is_full(error) and error.errno not in _MADE_ELSE:
                raise
            if not is_full(error):
                partial_of(self.files(command.tag).events).unlink(missing_ok=True)
                reason = f"what it left cannot be read: {error.strerror}: {error.filename}"
                return Outcome(kind="failed", reason=reason, tag=command.tag)
        partial_of(self.files(command.tag).events).unlink(missing_ok=True)
        return self._room.surely(lambda: self._sealed_in_place(command, ended, self.folded(command.tag)))

    def _sealed_anew(self, command: Command, ended: Exit, folded: Folded) -> Outcome:
        files = self.files(command.tag)
        partial = partial_of(files.events)
        with partial.open("wb") as copy:
            copied = Copied(copy)
            verdict, end = self._judged(command, ended, copied, folded)
            if not copied.sealed:
                copied.append(copy, [*(("data", line) for line in folded.lines), ("end", end)], self._now_ns())
            copy.flush()
            os.fsync(copy.fileno())
        if copied.sealed:
            partial.unlink()
            return verdict
        if files.steps.exists():
            sync(files.steps)
        partial.replace(files.events)
        sync(self.path)
        return verdict

    def _sealed_in_place(self, command: Command, ended: Exit, folded: Folded) -> Outcome:
        copied = Copied()
        verdict, end = self._judged(command, ended, copied, folded)
        if not copied.sealed:
            with self.files(command.tag).events.open("ab") as file:
                copied.append(file, [("end", end)], self._now_ns())
                file.flush()
                os.fsync(file.fileno())
        return verdict

    def _judged(self, command: Command, ended: Exit, copied: Copied, folded: Folded) -> tuple[Outcome, dict[str, Any]]:
        """Return what came of a process by all that it left, and the ``end`` that says so."""
        files = self.files(command.tag)
        seen = Seen.of(
            copied.events(files.events),
            measured=folded.measured,
            warmups=folded.warmups,
            counts=folded.counts,
            expects_rate=command.metrics != "none",
        )
        if ended.code:
            seen = replace(seen, error=self.first_error(command.ranks.leader if command.ranks else command.tag))
            seen = seen.with_last_words(tail(files.stderr, _LAST_LINES))
        group = self.group(command.tag)
        account, now_ns = group.account(seen.world_size), self._now_ns()
        last_s = max([min(copied.last_ns, now_ns) / 1e9, *(line["time"] for line in folded.lines)])
        if copied.untimed:  # what a script writes by itself has no time: the last of it came when the file was written
            last_s = max(last_s, min(files.events.stat().st_mtime, now_ns / 1e9))
        seen = replace(
            seen,
            nan_loss=seen.nan_loss or group.has_nan_loss(),
            partial=account.why,
            idle_s=min(max(now_ns / 1e9 - last_s, 0), ended.seconds),
            full_disk="run" if self._room.is_short() else "",
        )
        verdict = outcome(ended, seen)
        ranks = {"ranks": len(account.measured)} if len(account.measured) > 1 else {}
        return verdict, copied.seals.end({**end_of(ended, verdict, now_ns), **ranks})

    def note(self, trial: Trial, outcome: Outcome, neighbours: Sequence[str] = ()) -> None:
        """Write what came of a trial into the journal, and which others ran at the same time.

        That its files are there is on the disk before.
        """
        sync(self.path)
        self._room.surely(lambda: self._writer.ended(trial.id, self._attempts.get(trial.id, 1), outcome, neighbours))

    def add_facts(self, **facts: Any) -> None:
        write_json(self.facts_path, {**self.facts(), **facts})

    def finish(self, state: str) -> None:
        """Record how the run as a whole ended, and let its lock go."""
        try:
            self._room.surely(lambda: self.add_facts(ended=self._now_ns() / 1e9, state=state))
            self._room.surely(lambda: self._writer.finished(state))
        finally:
            self._room.drop()
            self.release()

    def release(self) -> None:
        """Let the lock of the run go."""
        if self._journal is not None:
            self._journal.close()
            self._journal = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _take_lock(self, otherwise: str) -> None:
        lock = os.open(self.lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        end = time.monotonic() + _GLANCE_S
        while self._lock is None:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._lock = lock
            except BlockingIOError:
                if time.monotonic() > end:
                    os.close(lock)
                    raise PreflightError(f"{self.path} is being written by another milabench: {otherwise}") from None
                time.sleep(0.01)
