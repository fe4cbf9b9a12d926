"""What ``milabench status`` prints: a run in a few lines, in frames, or in lines as it goes on."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping

from milabench.console.board import Overview, table
from milabench.console.words import Usage, counts, printable, trial_line
from milabench.follow.run import Status, Watch
from milabench.outcome import GOOD, UNDECIDED, Outcome
from milabench.render.units import duration
from milabench.slurm.records import resuming
from milabench.slurm.states import Seen, in_words

_MOST_FAILURES = 20


def overview(status: Status, usage: Mapping[str, Usage], now: float) -> Overview:
    """Return a run as one frame shows it."""
    return Overview(
        title=f"{status.path.name}  {status.state}",
        total=len(status.trials),
        ended=status.done,
        failed=sum(each.kind not in GOOD | UNDECIDED for each in status.outcomes.values()),
        now=now,
        elapsed_s=max((status.ended if status.is_over and status.ended else now) - (status.since or now), 0.0),
        left_s=status.left_s,
        processes=[each for each in status.processes if each.outcome is None],
        deadlines=status.deadlines,
        usage=usage,
    )


def lines(status: Status, usage: Mapping[str, Usage], width: int, now: float, job: Seen | None = None) -> Iterator[str]:
    """Yield a run as text: its state, its Slurm job where it has one, its trials, what runs, and what failed."""
    yield f"{status.path.name}: {_state(status, now, job)}"
    if job is not None:
        yield printable(f"Slurm job {job.job}: {in_words(job)}")
    yield f"trials: {trials(status)}"
    if not status.is_over:
        yield from ("", *table(overview(status, usage, now), width)) if status.processes else ()
    failed = [(trial, each) for trial, each in status.outcomes.items() if each.kind not in GOOD]
    if failed:
        yield ""
        for trial, outcome in failed[:_MOST_FAILURES]:
            reason = f": {printable(outcome.reason)}" if outcome.reason else ""
            yield f"{trial} ({outcome.kind.replace('_', ' ')}){reason}"
        if len(failed) > _MOST_FAILURES:
            yield f"… and {len(failed) - _MOST_FAILURES} more: see `milabench report`"
        yield f"what a process printed: milabench logs {failed[0][0]} --run {shlex.quote(str(status.path))}"


def trials(status: Status) -> str:
    """Say what has become of the trials of a run so far."""
    ended = counts(Counter(each.kind for each in status.outcomes.values() if each.kind not in UNDECIDED))
    began = "cut off" if status.is_over else "running"
    parts = [f"{status.done} of {len(status.trials)} done" + (f" ({ended})" if ended else "")]
    parts += [cut] if (cut := counts(status.undecided)) else []
    parts += [f"{len(status.running)} {began}"] if status.running else []
    parts += [f"{status.waiting} {'not begun' if status.is_over else 'waiting'}"] if status.waiting else []
    return ", ".join(parts)


def _state(status: Status, now: float, job: Seen | None) -> str:
    """Return the state of a run with what is to be known of it, and what to do."""
    resume = f"milabench resume {shlex.quote(str(status.path))}" if job is None else resuming(status.path)
    resume = f"`{resume}` goes on with it"
    if job is not None and job.state and not job.is_over:
        resume = "its job goes on with it"
    runner = "" if status.pid is None else f" (process {status.pid} on {printable(str(status.host))})"
    match status.state:
        case "running":
            for_s = "" if status.since is None else f" for {duration(max(now - status.since, 0.0))}"
            left = "" if status.left_s is None else f", at most {duration(status.left_s)} left"
            return f"running{for_s}{left}{runner}"
        case "complete":
            return "complete"
        case "killed":
            return f"killed, its runner is gone{runner}: {resume}"
        case "unknown":
            return f"begun{runner}, not ended: nothing here can tell whether it still runs"
        case _:
            return f"{status.state}: {resume}"


class News:
    """What is new in a run since the last look at it, in lines; ``whole``: what had ended before the first one too."""

    def __init__(self, watch: Watch, every_s: float, *, whole: bool = False) -> None:
        self._watch, self._every_s, self._whole = watch, every_s, whole
        self._seen: Status | None = None
        self._told: dict[str, float] = {}

    def of(self, status: Status, now: float) -> Iterator[str]:
        """Yield which trials have ended and begun, and now and then how far those are that run."""
        before, self._seen = self._seen, status
        known = before.outcomes if before is not None else {} if self._whole else status.outcomes
        ended = [trial for trial in status.outcomes if trial not in known]
        for trial in ended:
            yield _ending(trial, status.outcomes[trial])
        for trial, began in status.running.items():
            place = self._watch.place(trial)
            if before is None or before.running.get(trial) != began:
                self._told[trial] = now
                yield f"{place} running {trial}"
            elif now - self._told[trial] >= self._every_s:
                self._told[trial] = now
                tags = self._watch.tags(trial)
                found = [each for each in status.processes if each.tag in tags]
                yield f"{place} {trial} {duration(now - began)}: {trial_line(found, now)}"


def _ending(trial: str, outcome: Outcome) -> str:
    good = outcome.kind in GOOD
    reason = f": {printable(outcome.reason)}" if outcome.reason and not good else ""
    return f"{'  ok' if good else 'FAIL'} {trial} ({outcome.kind.replace('_', ' ')}){reason}"
