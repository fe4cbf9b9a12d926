"""``milabench submit``: runs as jobs of a Slurm cluster, from outside of it."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import milabench
from milabench import suite
from milabench.app import places, submitted
from milabench.app.following import completed
from milabench.app.multirun import asked
from milabench.app.options import Options
from milabench.app.run import path_of
from milabench.app.unbundle import suite_of
from milabench.app.workspace import find_config, resolve_suite
from milabench.console import Console
from milabench.errors import PreflightError, RunDirError, UsageError, told
from milabench.rundir import RunDir, is_run
from milabench.slurm import profiles, records, script
from milabench.slurm.commands import Slurm, SlurmError
from milabench.slurm.records import Part, Submissions, Submitted
from milabench.suite.types import Benchmark

_MILABENCH = (sys.executable, "-m", "milabench")
OTHER_NODES = "--other-nodes"  # of `milabench resume`


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be asked of Slurm: a profile, from the user's file ``profiles`` or milabench's own, and ``sbatch``
    arguments that win over its; ``split``: whether each benchmark is a job of its own.
    """

    profile: str | None = None
    profiles: Path | None = None
    sbatch: tuple[str, ...] = ()
    split: bool = False

    def arguments(self) -> tuple[str, ...]:
        """Return the arguments of sbatch. Raises ConfigurationError, UsageError for those that cannot be."""
        profile = () if self.profile is None else profiles.find(self.profile, self.profiles).arguments
        try:
            more = [word for text in self.sbatch for word in profiles.words(text)]
        except ValueError as error:
            raise UsageError(f"--sbatch: {error}") from None
        return (*profile, *more)


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """Options of ``milabench run`` as they were typed; ``choice`` are those that select benchmarks."""

    choice: tuple[str, ...]
    others: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """A run to submit, with what its job asks sbatch for; ``resume`` are words to go on with it by."""

    submissions: Submissions
    profile: str | None = None
    asked: tuple[str, ...] = ()
    resume: tuple[str, ...] = ()


async def submit(wanted: Wanted, words: Words, options: Options, console: Console) -> list[Submissions]:
    """Submit a run, or with ``split`` one for each benchmark.

    The suite is read here, so that its mistakes are told before anything waits in a queue. Raises SlurmError with what
    sbatch says where it refuses a job; none that belongs to it is left in the queue then.
    """
    if asked(options)[0].variation is not None:
        raise UsageError("a multirun makes several runs, and a job is one: submit each with --override")
    options = suite_of(options)
    given, path = wanted.arguments(), path_of(options)
    chosen = resolve_suite(options)
    made = _parts(chosen.benchmarks, words, path, options) if wanted.split else [_whole(words, path, options)]
    parts = [replace(part, profile=wanted.profile, asked=(*given, *part.asked)) for part in made]
    for part in parts:
        _check_free(part.submissions.run)
    slurm = Slurm(options.environ, console.note)
    return await _all_submitted(slurm, parts, console)


async def resume(
    wanted: Wanted, name: str | None, words: Sequence[str], options: Options, console: Console
) -> list[Submissions]:
    """Submit what goes on with a run, or with the runs of one that was split, where these are not at their end.

    ``words`` are options of ``milabench resume``. Without a profile and arguments it asks for what the job before
    asked for. Raises SlurmError as ``submit`` does.
    """
    given, slurm = wanted.arguments(), Slurm(options.environ, console.note)
    again = "--failed" in words
    left = [run for run in _found(name, options) if again or not _is_complete(run, console)]
    known = [records.read(run) if records.is_submitted(run) else Submissions(run=run) for run in left]
    seen = await slurm.look([each.latest.job for each in known if each.jobs])
    for each in known:
        if each.jobs and (job := seen.get(each.latest.job)) and not job.is_over:
            raise PreflightError(f"{each.run}: its job {job.job} has not ended: {records.attaching(each.run)}")
    parts = []
    for each in known:
        profile, asked = wanted.profile, given
        if each.jobs and not given:
            profile, asked = each.latest.profile, each.latest.asked
        asked = _on_nodes(each, asked, others=OTHER_NODES in words, said=bool(given))
        parts.append(_Part(submissions=each, profile=profile, asked=asked, resume=tuple(words)))
    return await _all_submitted(slurm, parts, console)


def attach(name: str | None, options: Options) -> list[Submissions]:
    """Return a run that was submitted, or the runs of one that was split. Raises RunDirError where none was."""
    there = [records.read(run) for run in _found(name, options) if records.is_submitted(run)]
    if not there:
        raise RunDirError("no job was submitted for that run: milabench status shows how far it is")
    return there


# Runs ----------------------------------------------------------------------------------------------------------------


def _whole(words: Words, path: Path, options: Options) -> _Part:
    begin = _begin((*words.choice, *words.others), path, options)
    return _Part(submissions=Submissions(run=path, begin=begin))


def _parts(benchmarks: Sequence[Benchmark], words: Words, path: Path, options: Options) -> Iterator[_Part]:
    """Yield a run for each benchmark, in folders below one: a run has one writer, and jobs run side by side."""
    whole = suite.resolve(find_config(options.config), options.override, options.environ, lenient=options.lenient)
    for benchmark in benchmarks:
        name = benchmark.name
        alone = len(suite.select(whole, [name]).benchmarks) == 1
        chosen = name if alone else f"[{name[0]}]{name[1:]}"  # a glob means names only, no tag or group
        run = path / name
        begin = _begin(("--select", chosen, *words.others), run, options)
        nodes = () if benchmark.placement.method == "per_node" else (f"--nodes={benchmark.nodes}",)
        part = Part(name=name, weight=benchmark.weight, enabled=benchmark.enabled)
        yield _Part(submissions=Submissions(run=run, begin=begin, part=part), asked=nodes)


def _begin(words: Sequence[str], run: Path, options: Options) -> tuple[str, ...]:
    return (*_MILABENCH, "run", *words, "--base", str(options.base), "--run-name", str(run))


def _check_free(run: Path) -> None:
    if "\\" in str(run):
        raise UsageError(f"{run}: Slurm takes no path with a backslash: choose another --run-name, or --base")
    if is_run(run) or records.is_submitted(run):
        raise PreflightError(f"{run} holds a run already: choose another --run-name, or {records.resuming(run)}")


def _found(name: str | None, options: Options) -> list[Path]:
    """Return the folders of runs that a name means: one, or those of a run that was split. Raises RunDirError."""
    if name is not None:
        found = submitted.find(name, options.base)
    else:
        newest = submitted.newest_submitted(options.base)
        found = submitted.parts(newest) or [newest]
    if not (is_run(found[0]) or records.is_submitted(found[0])):
        raise RunDirError(f"{found[0]} is no run, and none was submitted into it: give the folder of one, or its name")
    return found


def _is_complete(path: Path, console: Console) -> bool:
    if completed(path) is None:
        return False
    console.note(f"{path.name}: nothing is left to run")
    return True


def _on_nodes(there: Submissions, asked: Sequence[str], *, others: bool, said: bool) -> tuple[str, ...]:
    """Return arguments of sbatch for the nodes that a run goes on on: its own, for its numbers are theirs, or any.

    ``asked`` are those that the user has ``said`` now, or those of the job before, whose list of nodes says nothing.
    """
    run = RunDir(there.run)
    left = tuple(_without_list(asked) if others or (run.has_begun and not said) else asked)
    if not run.has_begun:
        return left
    facts = run.facts()
    if not others:
        return (*_same_nodes(there, facts), *left)
    counted = any(re.match(r"--nodes(=|$)|-N", word) for word in left)
    return left if counted else (f"--nodes={len(places.of_run(facts))}", *left)


def _same_nodes(there: Submissions, facts: Mapping[str, Any]) -> list[str]:
    """Return what asks for the nodes that a run is on."""
    nodes = next((job.nodes for job in there.jobs if job.nodes), "")
    if facts.get("replaced") or (not nodes and "allocation" in facts):
        nodes = ",".join(place.node for place in places.of_run(facts))
    return [f"--nodelist={nodes}"] if nodes else []


def _without_list(asked: Sequence[str]) -> Iterator[str]:
    """Yield arguments of sbatch but for those that name nodes to be among those of the job."""
    named = False  # by the word before
    for word in asked:
        is_list = word in ("-w", "--nodelist", "-F", "--nodefile")
        if not (named or is_list or re.match(r"--node(list|file)=|-[wF]", word)):
            yield word
        named = is_list


# Jobs ----------------------------------------------------------------------------------------------------------------


async def _all_submitted(slurm: Slurm, parts: Sequence[_Part], console: Console) -> list[Submissions]:
    """Submit runs and tell their jobs: all, or none is left in the queue, whatever keeps one from it."""
    there: list[Submissions] = []
    try:
        for part in parts:
            there.append(await _submitted(slurm, part))
            console.note(f"job {there[-1].latest.job} is submitted: {there[-1].run}")
    except BaseException:  # Ctrl-C too
        await _cancelled(slurm, [each.latest.job for each in there], console)
        raise
    return there


async def _cancelled(slurm: Slurm, jobs: Sequence[str], console: Console) -> None:
    if not jobs:
        return
    try:
        await slurm.cancel(jobs)
    except SlurmError as error:
        console.note(f"warning: {error}; what is submitted goes on: scancel {' '.join(jobs)}")
    else:
        console.note(f"cancelled again: {', '.join(f'job {job}' for job in jobs)}")


async def _submitted(slurm: Slurm, part: _Part) -> Submissions:
    """Write the script of a run, submit it, and return the run with its job, which is recorded."""
    before, extra = part.submissions, part.asked
    run, paper = before.run, before.next_paper
    arguments = script.arguments(paper, name=f"milabench.{run.name}", cwd=Path.cwd(), asked=extra)
    resume = (*_MILABENCH, "resume", str(run), *part.resume)
    task = script.Task(run=run, begin=before.begin, resume=resume)
    try:
        paper.script.parent.mkdir(parents=True, exist_ok=True)
        paper.script.write_text(script.text(task, ["sbatch", *arguments], milabench.__version__))
    except OSError as error:
        raise PreflightError(f"cannot write {paper.script}: {told(error)}: choose another --base") from None
    try:
        number = await slurm.submit(arguments)
    except SlurmError as error:
        _unmake(before)
        by = f" (with profile {part.profile})" if part.profile else ""
        raise SlurmError(f"{error}{by}") from None
    job = Submitted(job=number, profile=part.profile, asked=extra, submitted=time.time())
    submissions = before.with_job(job)
    try:
        submissions.write()
    except OSError as error:
        await slurm.cancel([number])
        raise PreflightError(f"cannot write {run / records.NAME}: {told(error)}: job {number} is cancelled") from None
    return submissions


def _unmake(before: Submissions) -> None:
    """Remove what was written for a job that was not taken, and the folders that were made for it."""
    paper = before.next_paper
    paper.script.unlink(missing_ok=True)
    for folder in (paper.script.parent, before.run, before.run.parent):
        try:
            folder.rmdir()
        except OSError:  # something else is in it
            return
