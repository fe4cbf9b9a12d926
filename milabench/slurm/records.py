"""``slurm.json``: the jobs that were submitted for a run, in the run's folder."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from milabench.durable import write_json
from milabench.errors import RunDirError
from milabench.slurm.script import Paper
from milabench.slurm.states import ENDED, Seen
from milabench.untrusted import mapping, mappings

VERSION: Final = 1
NAME: Final = "slurm.json"
FOLDER: Final = "slurm"


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """One job of a run; ``submitted`` in s since 1970. ``asked`` are the arguments of its profile and command line.

    ``state`` is empty while it has not ended, as far as anybody looked.
    """

    job: str
    profile: str | None
    asked: tuple[str, ...]
    submitted: float
    state: str = ""
    reason: str = ""
    nodes: str = ""
    exit_code: int | None = None

    @property
    def seen(self) -> Seen:
        """How it was when somebody looked last; without a state where nobody has seen it end."""
        return Seen(job=self.job, state=self.state, reason=self.reason, nodes=self.nodes, exit_code=self.exit_code)

    def with_end(self, seen: Seen) -> Submitted:
        nodes = seen.nodes or self.nodes  # a job that was cancelled before it began has none
        return replace(self, state=seen.state, reason=seen.reason, nodes=nodes, exit_code=seen.exit_code)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The benchmark that a run is of alone, where each was submitted as one."""

    name: str
    weight: float
    enabled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Submissions:
    """The jobs of a run, the newest last, in the folder of the run; ``begin`` is the argv that begins it."""

    run: Path
    begin: tuple[str, ...] | None = None
    part: Part | None = None
    jobs: tuple[Submitted, ...] = ()

    @property
    def latest(self) -> Submitted:
        return self.jobs[-1]

    @property
    def next_paper(self) -> Paper:
        """The files of a further submission."""
        return Paper.of(self.run / FOLDER, len(self.jobs) + 1)

    @property
    def paper(self) -> Paper:
        """The files of the newest one."""
        return Paper.of(self.run / FOLDER, len(self.jobs))

    def with_job(self, job: Submitted) -> Submissions:
        return replace(self, jobs=(*self.jobs, job))

    def with_end(self, seen: Seen) -> Submissions:
        """Return it with how one of its jobs ended."""
        return replace(self, jobs=tuple(job.with_end(seen) if job.job == seen.job else job for job in self.jobs))

    def ended(self, seen: Seen) -> Submissions:
        """Record how the job ended, and return it with that. Raises OSError, RunDirError.

        What others have recorded meanwhile, a job that goes on with the run say, is kept.
        """
        (read(self.run) if is_submitted(self.run) else self).with_end(seen).write()
        return self.with_end(seen)

    def write(self) -> None:
        """Put it where it is read."""
        jobs = [asdict(job) for job in self.jobs]
        part = {"benchmark": asdict(self.part)} if self.part else {}
        write_json(self.run / NAME, {"version": VERSION, "begin": self.begin, **part, "jobs": jobs})


def is_submitted(run: Path) -> bool:
    """Say whether a folder is that of a run, or of one to be, for which a job was submitted."""
    return (run / NAME).is_file()


def read(run: Path) -> Submissions:
    """Return the jobs of a run. Raises RunDirError where none can be read."""
    path = run / NAME
    try:
        said = mapping(json.loads(path.read_text()))
        jobs, begin = [_job(each) for each in mappings(said.get("jobs"))], said.get("begin")
        part = _part(mapping(said.get("benchmark")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunDirError(f"{path} cannot be read, so the job of the run is not known: {error}") from None
    if not jobs:
        raise RunDirError(f"{path} names no job of Slurm")
    return Submissions(run=run, begin=tuple(map(str, begin)) if begin else None, part=part, jobs=tuple(jobs))


def _part(said: Mapping[str, Any]) -> Part | None:
    return Part(name=str(said["name"]), weight=float(said["weight"]), enabled=bool(said["enabled"])) if said else None


def _job(said: Any) -> Submitted:
    return Submitted(
        job=str(said["job"]),
        profile=said.get("profile"),
        asked=tuple(map(str, said.get("asked", ()))),
        submitted=float(said["submitted"]),
        state=str(said.get("state", "")),
        reason=str(said.get("reason", "")),
        nodes=str(said.get("nodes", "")),
        exit_code=said.get("exit_code"),
    )


def going_on(run: Path) -> str:
    """Return the command that goes on with a run, whether it was submitted or not."""
    return resuming(run) if is_submitted(run) else shlex.join(["milabench", "resume", str(run)])


def resuming(run: Path) -> str:
    """Return the command that goes on with a run, or with the runs of one that was split."""
    return shlex.join(["milabench", "submit", "--resume", str(run)])


def attaching(run: Path) -> str:
    """Return the command that follows the job of a run, or the jobs of one that was split."""
    return shlex.join(["milabench", "submit", "--attach", str(run)])


def told(jobs: Sequence[Submitted]) -> str:
    """Say how the newest job of a run ended; nothing where that is not known, or where it ended by itself."""
    if not jobs or jobs[-1].state in ("", "COMPLETED", "FAILED"):
        return ""
    job = jobs[-1]
    where = f" on {job.nodes}" if job.nodes else ""
    return f"its Slurm job {job.job}{where} {ENDED[job.state].words} ({job.state})" if job.state in ENDED else ""
