"""Runs that are jobs of a cluster, followed from outside until all have ended: their states, and what runs."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from milabench.app.printed import Printed
from milabench.app.wishes import Left, Wish, wishes_taken
from milabench.console import PROGRESS_S, Console
from milabench.console.status import News, trials
from milabench.console.words import printable
from milabench.errors import ExitCode, RunDirError
from milabench.follow.run import Status, Watch
from milabench.outcome import all_good
from milabench.rundir import RunDir, is_run
from milabench.slurm import records, states
from milabench.slurm.commands import Slurm, SlurmError
from milabench.slurm.records import Submissions
from milabench.slurm.states import ENDED, Seen

_SHORTEST_S, _LONGEST_S, _GROWTH = 0.5, 10.0, 1.3  # between two looks: the less happens, the fewer there are
_READING_S = 2.0  # of CPU, for one look at a run
_LINES = 12  # of what a job printed are shown where it ended by a mistake

T = TypeVar("T")


async def follow(
    slurm: Slurm, there: Sequence[Submissions], console: Console, ended: Callable[[Sequence[Path]], None]
) -> ExitCode:
    """Tell what becomes of jobs and their runs until all have ended; hand them to ``ended`` where any has begun.

    Ctrl-C ends the jobs: first as it ends a run, a second time at once; a third time leaves them to that, as other
    signals do from the first on. Return the exit code of the worst run.
    """
    followed, wish = [_Followed(each, console) for each in there], Wish()
    try:
        with wishes_taken(wish, console):
            await _look_until_over(slurm, followed, wish, console)
    except Left:
        for each in followed:
            if not each.is_over:
                console.note(wish.left(each.job, records.attaching(each.submissions.run)))
        return ExitCode.INTERRUPTED
    runs = [each.submissions.run for each in followed]
    if any(map(is_run, runs)):
        ended(runs)
    return max(each.code for each in followed)


async def _look_until_over(slurm: Slurm, followed: Sequence[_Followed], wish: Wish, console: Console) -> None:
    answers, pause_s = _Answers(console), _SHORTEST_S
    while left := [each for each in followed if not each.is_over]:
        seen = await answers.of(slurm.look([each.job for each in left]))
        happened = [each.take(seen) for each in left]
        wish.check_wanted()
        jobs = [each.job for each in left if not each.is_over]
        if wish.times > wish.heeded and jobs:  # a controller that does not answer is asked again
            wish.heeded = await answers.of(_ended(slurm, jobs, wish.times)) or wish.heeded
        pause_s = _SHORTEST_S if any(happened) else min(pause_s * _GROWTH, _LONGEST_S)
        if jobs:
            await wish.wait(pause_s)


async def _ended(slurm: Slurm, jobs: Sequence[str], times: int) -> int:
    """End jobs as often as the operator has asked, the first time gently; return how often that was."""
    await (slurm.end(jobs) if times == 1 else slurm.cancel(jobs))
    return times


class _Answers:
    """What Slurm says, where it does: a controller may be started again just now, and the jobs go on."""

    def __init__(self, console: Console) -> None:
        self._console, self._silent = console, False

    async def of(self, asked: Awaitable[T]) -> T | None:
        """Return an answer, None where there is none, which is told the first time."""
        try:
            found = await asked
        except SlurmError as error:
            if not self._silent:
                self._console.note(f"warning: {error}; the jobs go on, and Slurm is asked again")
            self._silent = True
            return None
        self._silent = False
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """What was said of a job last."""

    state: str = ""
    reason: str = ""


class _Followed:
    """A run and its newest job, as they are told."""

    def __init__(self, submissions: Submissions, console: Console) -> None:
        """``code`` is the exit code of the run, once it is over."""
        self.submissions, self._console = submissions, console
        self.code = ExitCode.OK
        self.is_over = False
        self._told = _Told()
        self._watch: Watch | None = None
        self._news: News | None = None
        self._printed = Printed(submissions.paper.output)
        self._tells_output = not {"-q", "--quiet"} & {*(submissions.begin or ())}
        self._tell_so_far()

    @property
    def job(self) -> str:
        return self.submissions.latest.job

    def take(self, jobs: Mapping[str, Seen] | None) -> bool:
        """Take how jobs are now, None where nothing is known; tell what is new of this one and its run, if anything is.

        A job that Slurm does not know any more is over.
        """
        seen = None if jobs is None else jobs.get(self.job) or self._forgotten()
        happened = seen is not None and self._tell_state(seen)
        happened = self._tell_run(ends=seen is not None and seen.is_over) or happened
        if seen is not None and seen.is_over:
            self._conclude(seen)
        return happened

    def _forgotten(self) -> Seen:
        """Return how a job ended that Slurm has forgotten, as far as it was seen before."""
        known = self.submissions.latest
        state = known.state if known.state in ENDED else "GONE"
        return Seen(job=self.job, state=state, reason=known.reason, nodes=known.nodes, exit_code=known.exit_code)

    def _tell_state(self, seen: Seen) -> bool:
        waits = seen.state == "PENDING"
        told = _Told(state=seen.state, reason=seen.reason if waits else "")
        if told == self._told:
            return False
        self._told = told
        if waits and seen.reason not in ("", "None"):
            self._console.note(f"job {self.job} waits: {states.waiting(seen.reason)}{self._other_nodes(seen)}")
        elif seen.state in ("RUNNING", "REQUEUED", "SUSPENDED"):
            self._console.note(f"job {self.job} is {seen.state.lower()}{_on(seen.nodes)}")
        return True

    def _tell_so_far(self) -> None:
        """Tell, of a run that is there already, how far it is: what had ended is not told again one by one."""
        status = self._look(whole=False)
        if status is None or self._news is None:
            return
        running = list(self._news.of(status, time.time()))
        self._console.note(f"{status.path.name} so far: {trials(status)}")
        since = status.since or 0.0
        if not status.is_over and since >= self.submissions.latest.submitted:  # else it is a job before that began it
            self._tells_output = False
            for line in running:
                self._console.note(line)

    def _tell_run(self, *, ends: bool) -> bool:
        """Tell what is new of the run and, until it begins, what its job prints; return whether anything is.

        What a job has printed that ``ends`` without a run is told with how it ended.
        """
        status = self._look()
        lines = [] if status is None or self._news is None else list(self._news.of(status, time.time()))
        printed = self._output(ends=ends and not lines)
        for line in (*printed, *lines):
            self._console.note(line)
        self._tells_output = self._tells_output and not lines
        return bool(printed or lines)

    def _look(self, *, whole: bool = True) -> Status | None:
        """Look at the run; None where there is none yet, or where it is being put in place.

        ``whole``: what had ended before the first look is news.
        """
        run = RunDir(self.submissions.run)
        try:
            if self._watch is None and run.has_begun:
                self._watch = Watch(run)
                self._news = News(self._watch, PROGRESS_S, whole=whole)
            return None if self._watch is None else self._watch.look(_READING_S)
        except RunDirError:  # a file system may be slow to say that all is there
            return None

    def _output(self, *, ends: bool) -> list[str]:
        if not self._tells_output or ends:
            return []
        return [f"job {self.job}: {printable(line)}" for line in self._printed.before_run()]

    def _conclude(self, seen: Seen) -> None:
        """Record how the job ended, and tell it."""
        self.is_over = True
        try:
            self.submissions = self.submissions.ended(seen)
        except (OSError, RunDirError) as error:
            self._console.note(f"warning: how job {self.job} ended cannot be recorded: {error}")
        run = self.submissions.run
        ended = completed(run)
        self.code, words = states.how_it_ended(seen)
        if seen.state == "GONE" and ended is not None:
            self.code, words = ended, "has ended: its run is complete"
        if seen.could_not_print:
            words += f", most likely as it cannot write {self._printed.path} there: is the base there, and writable?"
        self._console.note(f"job {self.job}{_on(self.submissions.latest.nodes)} {words}")
        if self.code not in (ExitCode.OK, ExitCode.FAILED, ExitCode.INTERRUPTED):
            self._show_output()
        if ended is None:
            way = f"{records.resuming(run)} goes on with it"
            self._console.note(f"{run.name} is not complete: {way}{self._other_nodes(seen)}")

    def _other_nodes(self, seen: Seen) -> str:
        """Say how a run goes on that has begun, and of which a node is not there."""
        return states.on_others(seen) if RunDir(self.submissions.run).has_begun else ""

    def _show_output(self) -> None:
        """Show the last lines of what the job printed and was not told: there stands what was wrong."""
        lines = self._printed.last(_LINES)
        if lines:
            self._console.note(f"the last that job {self.job} printed ({self._printed.path}):")
        for line in lines:
            self._console.note(f"  {printable(line)}")


def _on(nodes: str) -> str:
    return f" on {nodes}" if nodes else ""


def completed(run: Path) -> ExitCode | None:
    """Return the exit code of a run that has come to its end, None where something is left, or cannot be read."""
    try:
        record = RunDir(run)
        if not record.has_begun or record.journal().state != "complete":
            return None
        return ExitCode.OK if all_good(record.outcomes().values()) else ExitCode.FAILED
    except RunDirError:
        return None
