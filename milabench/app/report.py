"""``milabench report``: what run directories say, wherever they lie."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from milabench import oldruns
from milabench.app import submitted
from milabench.errors import RunDirError
from milabench.paths import expanded
from milabench.rundir import RunDir, is_run
from milabench.slurm import records, states
from milabench.summary import Summary, summarize


def report(names: Sequence[str], base: Path) -> Summary:
    """Return the summary of runs given by path or name (several are pooled as repeats); of the newest by default.

    A zip archive stands for all the runs in it, and a run that was split for those of its benchmarks.
    """
    with contextlib.ExitStack() as unpacked:
        found = [each for name in names or (None,) for each in _runs(name, base, unpacked)]
        several = {path.resolve(): run for path, run in found}
        if len(several) < len(found):
            raise RunDirError("the same run is given twice: pooled with itself it would seem surer than it is")
        begun = {path: run for path, run in found if run is not None}
        waiting = [path for path, run in found if run is None]
        if not begun:
            submitted.check_begun(waiting[0])
        summary = of_runs(list(begun.values()), [run for path, run in begun.items() if path == run.path], waiting)
    return replace(summary, runs=tuple(replace(run, path=str(p)) for run, p in zip(summary.runs, begun, strict=True)))


def of_runs(several: Sequence[RunDir], here: Sequence[RunDir], waiting: Sequence[Path] = ()) -> Summary:
    """Return the summary of runs, with how to go on with those that are not complete, of those that are ``here``.

    ``waiting`` are folders of runs that their jobs have not begun: their benchmarks are missing, where they are known.
    """
    there = [records.read(path) for path in waiting]
    summary = summarize(several, submitted.absent(there))
    going = [run.path.name for run in several if run.is_being_written()]
    told = [f"{name} is still being run: what is not there yet counts as lost or missing" for name in going]
    told += filter(None, map(_left, here))
    told += [f"{each.run.name}: {submitted.not_begun(each, each.latest.seen)}" for each in there if each.part is None]
    return replace(summary, warnings=(*told, *summary.warnings))


def _left(run: RunDir) -> str:
    """Say how to go on with a run that was cut off, nothing of one that went to its end or is being run."""
    try:
        state = run.facts().get("state")
    except (RunDirError, RecursionError):
        return ""
    if state not in (None, "interrupted", "incomplete") or not run.plan_path.is_file() or run.is_being_written():
        return ""
    way, ended = f"{records.going_on(run.path)} goes on with it", ""
    if records.is_submitted(run.path):
        ended, others = _job_of(run)
        way += others
    return f"{run.path.name} is not complete{ended}: {way}"


def _job_of(run: RunDir) -> tuple[str, str]:
    """Say how the job of a run ended, where that was no end of its own, and what else that lets the user do."""
    try:
        jobs = records.read(run.path).jobs
    except RunDirError:
        return "", ""
    said = records.told(jobs)
    return f", {said}" if said else "", states.on_others(jobs[-1].seen)


def _runs(name: str | None, base: Path, unpacked: contextlib.ExitStack) -> Iterable[tuple[Path, RunDir | None]]:
    """Return the runs that a name means with their paths, None for one that its job has not begun.

    Those of an archive are there until the stack ends.
    """
    if name is not None and oldruns.is_archive(path := expanded(name)):
        return unpacked.enter_context(oldruns.unpacked(path)).items()
    return [(path, None if _waits(path) else oldruns.open_any(path)) for path in submitted.find(name, base)]


def _waits(path: Path) -> bool:
    return records.is_submitted(path) and not is_run(path)


def find_run(name: str | None, base: Path) -> RunDir:
    """Return a run by its folder or its name, the newest below a base without one. Raises RunDirError for none."""
    path = submitted.only(submitted.find(name, base))
    submitted.check_begun(path)
    return oldruns.open_any(path)
