"""The live view of a phase, on standard error: a bar per process in a terminal, a line per trial elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from benchmate.wire import count_steps
from milabench.execute import CommandEnded, CommandStarted, Happening, TrialEnded, TrialStarted, Waiting
from milabench.execute.scheduler import Records
from milabench.outcome import GOOD
from milabench.plan.types import Command, Job, Phase, Plan

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_TAIL_LINES = 15
_REFRESH_S = 0.5
_DOING: dict[Phase, str] = {
    "fetch": "fetching",
    "install": "installing",
    "prepare": "preparing",
    "run": "running",
    "pin": "pinning",
}


class Console:
    """Show what happens. ``quiet`` says nothing but failures."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._view: _View | None = None

    def note(self, text: str) -> None:
        if not self._quiet:
            _say(text)

    @contextmanager
    def phase(self, plan: Plan, logs: Records) -> Iterator[None]:
        """Show one phase from its first trial to its last."""
        live = sys.stderr.isatty() and not self._quiet
        self._view = _View(plan, logs, live=live, quiet=self._quiet)
        try:
            with self._view:
                yield
        finally:
            self._view = None

    def show(self, happening: Happening) -> None:
        if self._view is not None:
            self._view.show(happening)


class _View:
    def __init__(self, plan: Plan, logs: Records, *, live: bool, quiet: bool) -> None:
        self._plan, self._logs, self._quiet = plan, logs, quiet
        self._bars = _Bars(logs) if live else None
        self._started = 0.0

    def __enter__(self) -> _View:
        if self._bars:
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars:
            self._bars.stop()

    def show(self, happening: Happening) -> None:
        match happening:
            case TrialStarted(trial=trial, index=index, total=total):
                self._started = time.monotonic()
                if not self._quiet and self._bars is None:
                    _say(f"[{index + 1}/{total}] {_DOING[self._plan.phase]} {trial.id}")
            case CommandStarted(command=command, job=job):
                if self._bars:
                    self._bars.add(command, job)
            case CommandEnded(command=command):
                if self._bars:
                    self._bars.remove(command)
            case Waiting(job=job):
                if not self._quiet:
                    _say(f"waiting for another milabench that works on {job.tag}")
            case TrialEnded():
                self._ended(happening)

    def _ended(self, ended: TrialEnded) -> None:
        outcome, seconds = ended.outcome, time.monotonic() - self._started
        bad = outcome.kind not in GOOD
        if bad or not self._quiet:
            how = "there already" if ended.done_before else outcome.kind.replace("_", " ")
            reason = f": {outcome.reason}" if bad and outcome.reason else ""
            _say(f"{'FAIL' if bad else '  ok'} {ended.trial.id} ({how}, {seconds:.1f} s){reason}")
        if bad and outcome.kind != "interrupted":
            for line in self._logs.log_tail(outcome.tag, _TAIL_LINES):
                _say(f"     | {line}")
            if self._logs.files(outcome.tag).stderr.exists():
                _say(f"     whole logs: {self._logs.files(outcome.tag).stderr.with_suffix('')}.{{stdout,stderr}}")


class _Bars:
    """Progress bars fed from the headers of ``.steps`` files, by a thread that sleeps between looks."""

    def __init__(self, logs: Records) -> None:
        self._logs = logs
        self._progress: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def start(self) -> None:
        from rich.console import Console as RichConsole
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        self._progress = Progress(*columns, console=RichConsole(stderr=True), transient=True, refresh_per_second=2)
        self._progress.start()
        self._thread.start()

    def stop(self) -> None:
        self._wake.set()
        self._thread.join()
        if self._progress:
            self._progress.stop()

    def add(self, command: Command, job: Job) -> None:
        assert self._progress is not None
        wanted = job.limit.observations
        total = job.limit.skip + wanted if wanted and command.metrics != "none" else None
        self._tasks[command.tag] = self._progress.add_task(command.tag, total=total)

    def remove(self, command: Command) -> None:
        if self._progress and command.tag in self._tasks:
            self._progress.remove_task(self._tasks.pop(command.tag))

    def _watch(self) -> None:
        assert self._progress is not None
        while not self._wake.wait(_REFRESH_S):
            for tag, task in list(self._tasks.items()):
                with suppress(KeyError):  # it ended meanwhile
                    self._progress.update(task, completed=count_steps(self._logs.files(tag).steps))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
