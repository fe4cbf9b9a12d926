"""``milabench report``: what run directories say, wherever they lie."""

from __future__ import annotations

import contextlib
import glob
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from milabench import oldruns
from milabench.errors import NotBegunError, RunDirError
from milabench.paths import expanded, is_folder
from milabench.rundir import RunDir, is_run, runs
from milabench.slurm import records, states
from milabench.summary import Summary, summarize

# Twice where the name has {time} at its end; older releases wrote other signs, and fractions of a second.
_TIMES = re.compile(r"(\.\d{4}-\d\d-\d\d_\d\d[-_:]\d\d[-_:]\d\d(\.\d+)?)+$")


def report(names: Sequence[str], base: Path) -> Summary:
    """Return the summary of runs given by path or name (several are pooled as repeats); of the newest by default.

    A zip archive stands for all the runs in it.
    """
    with contextlib.ExitStack() as unpacked:
        found = [each for name in names or (None,) for each in _runs(name, base, unpacked).items()]
        several = {path.resolve(): run for path, run in found}
        if len(several) < len(found):
            raise RunDirError("the same run is given twice: pooled with itself it would seem surer than it is")
        summary = of_runs(list(several.values()), [run for path, run in found if path == run.path])
    shown = (str(path) for path, _ in found)
    return replace(summary, runs=tuple(replace(run, path=path) for run, path in zip(summary.runs, shown, strict=True)))


def of_runs(several: Sequence[RunDir], here: Sequence[RunDir]) -> Summary:
    """Return the summary of runs, with how to go on with those that are not complete, of those that are ``here``."""
    summary = summarize(several)
    going = [run.path.name for run in several if run.is_being_written()]
    told = [f"{name} is still being run: what is not there yet counts as lost or missing" for name in going]
    told += filter(None, map(_left, here))
    return replace(summary, warnings=(*told, *summary.warnings))


def _left(run: RunDir) -> str:
    """Say how to go on with a run that was cut off, nothing of one that went to its end or is being run."""
    try:
        state = run.facts().get("state")
    except (RunDirError, RecursionError):
        return ""
    if state not in (None, "interrupted", "incomplete") or not run.plan_path.is_file() or run.is_being_written():
        return ""
    way, ended = f"milabench resume {shlex.quote(str(run.path))} goes on with it", ""
    if records.is_submitted(run.path):
        way = f"milabench submit --resume {shlex.quote(str(run.path))} goes on with it"
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


def _runs(name: str | None, base: Path, unpacked: contextlib.ExitStack) -> Mapping[Path, RunDir]:
    """Return the runs that a name means by their paths; those of an archive are there until the stack ends."""
    if name is not None and oldruns.is_archive(path := expanded(name)):
        return unpacked.enter_context(oldruns.unpacked(path))
    run = find_run(name, base)
    return {run.path: run}


def find_run(name: str | None, base: Path) -> RunDir:
    """Return a run by its folder or its name, the newest below a base without one. Raises RunDirError for none."""
    found = runs(base)
    if name is None:
        if not found:
            raise RunDirError(f"no run below {base}: give --base, or the folder of a run")
        return oldruns.open_any(found[-1])
    path = expanded(name).absolute()  # a run says where it is: for hints, and by its processes' variables
    if is_folder(path):
        _check_begun(path)
        return oldruns.open_any(path.resolve() if ".." in path.parts else path)
    named = [run for run in found if run.name == name or _TIMES.sub("", run.name) == name]
    if not named:
        for folder in (base / "runs").glob(f"{glob.escape(name)}*") if "/" not in name else ():
            _check_begun(folder)
        raise RunDirError(f"no run {name!r}: it is no folder, and no run below {base} has that name")
    if len(named) > 1:
        raise RunDirError(f"several runs are named {name}: give one of {', '.join(run.name for run in named)}")
    return oldruns.open_any(named[-1])


def _check_begun(path: Path) -> None:
    """Raise NotBegunError where a folder is that of a run whose job has not begun it."""
    if records.is_submitted(path) and not is_run(path):
        raise NotBegunError(path, records.read(path).latest.job)
