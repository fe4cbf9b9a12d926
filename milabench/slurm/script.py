"""What is submitted: the job's script, and the arguments of sbatch."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

WARNING_S: Final = 60  # before the time limit a run is told to end; Slurm counts limits in minutes

_SCRIPT = """\
#!/bin/bash
# Written by milabench {version}, and submitted by
#   {submitted}
{body}"""
_RUN = """\
# A job that Slurm puts back into the queue (a node of it failed, another came before it) goes on with its run.
if [ -e {plan} ]; then
    exec {resume}
fi
exec {run}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a job does: argv to begin a run, None where it was begun, and argv to go on with it if it was begun."""

    run: Path
    begin: tuple[str, ...] | None
    resume: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Paper:
    """The files of one submission of a run: its script, and what the job prints."""

    script: Path
    output: Path

    @classmethod
    def of(cls, folder: Path, number: int) -> Paper:
        return cls(script=folder / f"{number}.sh", output=folder / f"{number}.out")


def arguments(paper: Paper, *, name: str, cwd: Path, asked: Sequence[str]) -> list[str]:
    """Return the arguments of sbatch; ``asked`` are those of the profile and the command line, which win over ours.

    What has to be ours (where the job works and what it prints goes) comes last: the last one counts.
    """
    # put back into the queue, a job would mostly get other nodes, and a run goes on where it was begun
    ours = [f"--job-name={name}", "--no-requeue", f"--signal=B:TERM@{WARNING_S}"]
    fixed = [f"--chdir={cwd}", f"--output={_literal(paper.output)}", "--open-mode=append", "--parsable"]
    return [*ours, *asked, *fixed, str(paper.script)]


def text(task: Task, submitted: Sequence[str], version: str) -> str:
    """Return the script; the process it becomes is the runner, so that Slurm's signals come to it."""
    if task.begin is None:
        body = f"exec {shlex.join(task.resume)}\n"
    else:
        plan, resume, run = shlex.quote(str(task.run / "plan.json")), shlex.join(task.resume), shlex.join(task.begin)
        body = _RUN.format(plan=plan, resume=resume, run=run)
    command = shlex.join(submitted).replace("\n", "?")  # it stands in a comment
    return _SCRIPT.format(version=version, submitted=command, body=body)


def _literal(path: Path) -> str:
    """Return a path as sbatch takes it, for which % and a number stands for something."""
    return str(path).replace("%", "%%")
