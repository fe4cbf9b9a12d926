"""Runs by the names people give them, those too that a Slurm job has not begun; and what is to be told of these."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from milabench.errors import NotBegunError, RunDirError
from milabench.paths import expanded, is_folder
from milabench.rundir import began, is_run, runs
from milabench.slurm import records, states
from milabench.slurm.records import Submissions
from milabench.slurm.states import Seen
from milabench.summary import Missing

# Twice where the name has {time} at its end; older releases wrote other signs, and fractions of a second.
_TIMES = re.compile(r"(\.\d{4}-\d\d-\d\d_\d\d[-_:]\d\d[-_:]\d\d(\.\d+)?)+$")


def find(name: str | None, base: Path) -> list[Path]:
    """Return the folder that a run is named by, the newest without a name; or those of a run that was split.

    A name is that of a folder below the base, all of it or all but the time at its end. Raises RunDirError where no
    run is meant, or more than one.
    """
    folder = _newest(base) if name is None else _named(name, base)
    return parts(folder) or [folder]


def parts(folder: Path) -> list[Path]:
    """Return the folders of the runs of one that was split, nothing for another."""
    if is_run(folder) or records.is_submitted(folder):
        return []
    return sorted(each.parent for each in folder.glob(f"*/{records.NAME}"))


def only(several: Sequence[Path]) -> Path:
    """Return the one folder. Raises RunDirError where a run was split."""
    if len(several) > 1:
        names = ", ".join(each.name for each in several)
        raise RunDirError(f"{several[0].parent} holds no run itself: give one or several of {names}")
    return several[0]


def check_begun(path: Path) -> None:
    """Raise NotBegunError where a folder is that of a run whose job has not begun it."""
    if records.is_submitted(path) and not is_run(path):
        there = records.read(path)
        raise NotBegunError(path, f"{path}: {not_begun(there, there.latest.seen)}")


def not_begun(there: Submissions, seen: Seen) -> str:
    """Say how the newest job is of a run that has not begun, and what to do about that."""
    output, job = there.paper.output, f"its Slurm job {there.latest.job}"
    if seen.is_over:
        printed = f"see {output}; then " if output.exists() else ""
        return f"{job} {_end(seen)} before the run began: {printed}{records.resuming(there.run)}"
    follow = f"{records.attaching(there.run)} follows it"
    if seen.state == "RUNNING":
        return f"{job} is setting up the run on {seen.nodes}, as {output} tells: {follow}"
    how = f" ({states.in_words(seen)})" if seen.state or seen.reason else ""
    return f"{job} has not begun the run{how}: {follow}"


def absent(there: Iterable[Submissions]) -> list[Missing]:
    """Return the benchmarks of runs that have not begun, of those that were submitted one by one."""
    return [
        Missing(
            benchmark=each.part.name,
            outcome="lost",
            reason=f"lost: {not_begun(each, each.latest.seen)}",
            weight=each.part.weight,
            enabled=each.part.enabled,
        )
        for each in there
        if each.part is not None
    ]


def _end(seen: Seen) -> str:
    if seen.state in ("COMPLETED", "FAILED") and seen.exit_code is not None:
        return f"ended with exit code {seen.exit_code}"
    return states.how_it_ended(seen)[1]


def _named(name: str, base: Path) -> Path:
    path = expanded(name).absolute()  # a run says where it is: for hints, and by its processes' variables
    if is_folder(path):
        return path.resolve() if ".." in path.parts else path
    named = [run for run in (*runs(base), *_not_begun(base)) if run.name == name or _TIMES.sub("", run.name) == name]
    if not named:
        raise RunDirError(f"no run {name!r}: it is no folder, and no run below {base} has that name")
    if len(named) > 1:
        raise RunDirError(f"several runs are named {name}: give one of {', '.join(run.name for run in named)}")
    return named[0]


def _newest(base: Path) -> Path:
    """Return the newest run that has begun, or that was split."""
    found = [(began(run), run) for run in runs(base)[-1:]]
    found += [(_submitted(folder), folder) for folder in _not_begun(base) if parts(folder)]
    if not found:
        raise RunDirError(f"no run below {base}: give --base, or the folder of a run")
    return max(found)[1]


def _not_begun(base: Path) -> list[Path]:
    """Return the folders of what was submitted and is no run: one that has not begun, or that was split."""
    below = base / "runs"
    found = {below / path.relative_to(below).parts[0] for path in _records(base)}
    return sorted(path for path in found if not is_run(path))


def newest_submitted(base: Path) -> Path:
    """Return what was submitted last below a base. Raises RunDirError."""
    found = _records(base)
    if not found:
        raise RunDirError(f"nothing was submitted into {base / 'runs'}: give --base, or the folder of a run")
    latest = max(found, key=lambda path: path.stat().st_mtime)
    return base / "runs" / latest.relative_to(base / "runs").parts[0]


def _records(base: Path) -> list[Path]:
    return [*base.glob(f"runs/*/{records.NAME}"), *base.glob(f"runs/*/*/{records.NAME}")]


def _submitted(folder: Path) -> float:
    """Return when a run that was split was submitted, in s since 1970."""
    known = (records.read(path) for path in parts(folder)[:1])
    return max((each.jobs[0].submitted for each in known), default=0.0)
