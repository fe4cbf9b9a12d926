"""What milabench says while it works, on standard error: a live view in a terminal, plain lines elsewhere."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, TextIO

from milabench.console import failures
from milabench.console.board import Board, Overview
from milabench.console.failures import Failure
from milabench.console.trials import Trials
from milabench.console.usage import EVERY_S, Ask, Meter
from milabench.console.words import printable, trial_line
from milabench.execute import CommandEnded, CommandStarted, Happening, Travelling, TrialEnded, TrialStarted, Waiting
from milabench.execute.setting import Records
from milabench.follow import Follower
from milabench.outcome import GOOD, SIBLING, Outcome
from milabench.plan.types import Phase, Plan
from milabench.render.units import duration

if TYPE_CHECKING:
    from rich.live import Live

REFRESH_S = 0.5
PROGRESS_S = 60.0
SHARE = 0.01  # of a core, that the view takes at most: where a frame takes longer, there are fewer
SLOWEST_S = 10.0
FRAME_CPU_S = 0.025  # for reading before a frame
_CATCH_UP_S = 0.25
_RIGHT: Mapping[str, float] = MappingProxyType({})  # all clocks are
_DOING: dict[Phase, str] = {
    "fetch": "fetching",
    "install": "installing",
    "prepare": "preparing",
    "run": "running",
    "pin": "pinning",
    "pack": "packing",
}


class Console:
    """Show what happens. ``quiet`` says nothing but failures; ``progress_s``: between two lines on a long trial."""

    def __init__(self, *, quiet: bool = False, progress_s: float = PROGRESS_S) -> None:
        self._quiet, self._progress_s = quiet, progress_s
        self._view: _View | None = None

    def note(self, text: str) -> None:
        if not self._quiet:
            _say(text)

    @asynccontextmanager
    async def phase(
        self, plan: Plan, logs: Records, ask: Ask | None = None, ahead_s: Mapping[str, float] = _RIGHT
    ) -> AsyncIterator[None]:
        """Show one phase from its first trial to its last, then its failures; ``ask`` asks agents for usage.

        ``ahead_s``: how far the clocks of other nodes are ahead of this machine's.
        """
        live = not self._quiet and is_terminal(sys.stderr)
        view = self._view = _View(plan, logs, ahead_s, quiet=self._quiet, live=live)
        watch = None if self._quiet else asyncio.create_task(view.watch(self._progress_s, ask))
        try:
            yield
        finally:
            if watch is not None:
                await _ended(watch)
            self._view = None
            view.tell_failures()

    def show(self, happening: Happening) -> None:
        if self._view is not None:
            self._view.show(happening)


class _View:
    def __init__(self, plan: Plan, logs: Records, ahead_s: Mapping[str, float], *, quiet: bool, live: bool) -> None:
        self._doing, self._logs, self._quiet, self._live = _DOING[plan.phase], logs, quiet, live
        self._trials, self._ahead_s = Trials(plan), ahead_s
        self._follower = Follower(logs.files)
        self._failures: dict[str, Failure] = {}
        self._waited: set[str] = set()  # the tags of jobs of which it was told that another milabench works on them

    def show(self, happening: Happening) -> None:
        match happening:
            case TrialStarted(trial=trial, index=index, total=total):
                self._trials.begin(trial.id, f"[{index + 1}/{total}]")
                if not self._quiet and not self._live:
                    _say(f"[{index + 1}/{total}] {self._doing} {trial.id}")
            case CommandStarted(command=command, job=job):
                self._trials.add(command, job)
                limit = None if command.metrics == "none" else job.limit
                self._follower.follow(command.tag, limit, self._ahead_s.get(command.node, 0.0))
            case CommandEnded(command=command, outcome=outcome):
                self._trials.remove(command.tag)
                self._follower.leave([command.tag])
                if outcome.kind not in GOOD and outcome.reason != SIBLING:
                    self._fail(command.tag, outcome)
            case Waiting(job=job):
                if not self._quiet and job.tag not in self._waited:
                    self._waited.add(job.tag)
                    _say(f"waiting for another milabench that works on {job.tag}")
            case Travelling(told=told):
                if not self._quiet:
                    _say(told)
            case TrialEnded():
                self._end(happening)

    def _end(self, ended: TrialEnded) -> None:
        outcome, seconds = ended.outcome, self._trials.end(ended.trial.id, ended.outcome)
        bad = outcome.kind not in GOOD
        if bad:
            self._fail(outcome.tag or ended.trial.id, outcome)
        if bad or not self._quiet:
            how = "there already" if ended.done_before else outcome.kind.replace("_", " ")
            reason = f": {printable(outcome.reason)}" if bad and outcome.reason else ""
            _say(f"{'FAIL' if bad else '  ok'} {ended.trial.id} ({how}, {seconds:.1f} s){reason}")

    def _fail(self, tag: str, outcome: Outcome) -> None:
        if outcome.kind != "interrupted":
            self._failures.setdefault(tag, Failure(tag=tag, outcome=outcome))

    def tell_failures(self) -> None:
        if self._failures:
            for line in failures.told(list(self._failures.values()), self._logs.files):
                _say(line)

    async def watch(self, progress_s: float, ask: Ask | None) -> None:
        """Show how far the processes are until cancelled; what goes wrong with that harms nothing else."""
        try:
            await (self._draw(ask) if self._live else self._tell(progress_s))
        except OSError:  # nobody sees it any more; whoever says something next finds out
            return
        except Exception as error:
            _say(f"the view of what runs has ended ({type(error).__name__}: {error}); the run goes on")

    async def _draw(self, ask: Ask | None) -> None:
        """Draw a frame twice a second, less often where that would take more than its share of a core."""
        meter = Meter()
        measuring = asyncio.create_task(self._measure(meter, ask)) if ask is not None else None
        try:
            with live_view(sys.stderr) as frame:
                while True:
                    began = time.thread_time()
                    self._follower.catch_up(FRAME_CPU_S)
                    frame.draw(self._trials.overview(self._doing, self._follower.progress(), meter.known))
                    await asyncio.sleep(pause_s(time.thread_time() - began))
        finally:
            if measuring is not None:
                await _ended(measuring)

    async def _measure(self, meter: Meter, ask: Ask) -> None:
        """Ask the agent now and then, beside the frames: it may have something to do that takes longer."""
        while True:
            await meter.read(ask, self._trials.commands)
            await asyncio.sleep(EVERY_S)

    async def _tell(self, progress_s: float) -> None:
        """Say a line on each trial that has run for long since the last one on it."""
        while True:
            next_s, due = self._trials.untold(progress_s)
            if due:
                self._follower.catch_up(_CATCH_UP_S)
                known = {each.tag: each for each in self._trials.with_times(self._follower.progress())}
                for place, trial, seconds, tags in due:
                    found = [known[tag] for tag in tags if tag in known]
                    _say(f"{place} {trial} {duration(seconds)}: {trial_line(found, time.time())}")
            else:
                await asyncio.sleep(next_s)


class Frames:
    """Frames drawn over each other; what is printed meanwhile stands above them."""

    def __init__(self, live: Live, board: Board) -> None:
        self._live, self._board = live, board

    def draw(self, overview: Overview) -> None:
        self._board.overview = overview
        self._live.refresh()


@contextmanager
def live_view(stream: TextIO) -> Iterator[Frames]:
    """Draw in a terminal; nothing is left of it at the end."""
    from rich.console import Console as RichConsole
    from rich.live import Live

    board, is_log = Board(), stream is sys.stderr
    terminal = RichConsole(stderr=is_log)
    with Live(board, console=terminal, auto_refresh=False, transient=True, redirect_stdout=not is_log) as live:
        try:
            yield Frames(live, board)
        finally:
            board.overview = None  # the last frame would only be taken away again


def pause_s(spent_s: float) -> float:
    """Return how long to wait after a frame that took so much CPU time, in s."""
    return min(max(REFRESH_S, spent_s / SHARE), SLOWEST_S)


def is_terminal(stream: TextIO) -> bool:
    """Say whether frames can be drawn over each other there."""
    if not stream.isatty():
        return False
    from rich.console import Console as RichConsole

    return not RichConsole(file=stream).is_dumb_terminal


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
