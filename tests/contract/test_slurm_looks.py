"""What ``milabench status`` says of a run's Slurm job, by a squeue that is a script: one that answers, and others."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from milabench.app import jobs
from milabench.app.status import Wanted, status
from milabench.errors import NotBegunError, UsageError
from milabench.plan import Command, Job, Plan, Trial
from milabench.record import Record
from milabench.slurm.records import Submissions, Submitted
from milabench.slurm.states import Seen

ANSWERS = "echo '17|PENDING|Priority|0||N/A|N/A|1:00:00|'"


def squeue(folder: Path, script: str) -> Mapping[str, str]:
    """Return an environment with such a command, which counts its calls; without a script there is none."""
    if not script:
        return {"PATH": str(folder)}
    path = folder / "squeue"
    path.write_text(f"#!/bin/sh\necho >> {folder}/calls\n{script}\n")
    path.chmod(0o755)
    return {"PATH": f"{folder}:/usr/bin:/bin"}


def submitted(path: Path, *, begun: bool = True, **known: Any) -> Path:
    """Return a run that was cut off, and whose second job, as far as it is known, was submitted."""
    path.mkdir()
    first = Submitted(job="16", profile=None, asked=(), submitted=1.0, state="TIMEOUT")
    last = Submitted(job="17", profile=None, asked=(), submitted=2.0, **known)
    Submissions(run=path, jobs=(first, last)).write()
    if begun:
        command = Command(tag="a", benchmark="a", node="n1", argv=("x",), cwd="/")
        trial = Trial(benchmark="a", jobs=(Job(tag="a", commands=(command,), deadline_s=60.0),))
        record = Record.create(path, plan=Plan(phase="run", trials=(trial,)), facts={}, suite={})
        record.finish("interrupted")
    return path


def told(run: Path, environ: Mapping[str, str], *, as_json: bool = False) -> str:
    out = StringIO()
    status(Wanted(run=str(run), base=run.parent, environ=environ, as_json=as_json), out)
    return out.getvalue()


@pytest.mark.parametrize(
    ("script", "line", "document"),
    [
        (
            ANSWERS,
            "Slurm job 17: waits: Priority: others come before it",
            {"job": "17", "state": "PENDING", "reason": "Priority", "nodes": None},
        ),
        (
            "echo '17|RUNNING|None|0|n[1,3]|2026-11-29T20:33:41|N/A|1:00:00|'",
            "Slurm job 17: running on n[1,3]",
            {"job": "17", "state": "RUNNING", "reason": "None", "nodes": "n[1,3]"},
        ),
        (
            "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1",
            "Slurm job 17: is not known to Slurm any more (GONE)",
            {"job": "17", "state": "GONE", "reason": None, "nodes": None},
        ),
        (
            "echo 'slurm_load_jobs error: Unable to contact slurm controller (connect failure)' >&2; exit 1",
            "Slurm job 17: not known: squeue failed",
            {"job": "17", "state": None, "reason": "squeue failed", "nodes": None},
        ),
        (
            "",
            "Slurm job 17: not known: there is no squeue here",
            {"job": "17", "state": None, "reason": "there is no squeue here", "nodes": None},
        ),
    ],
)
def test_the_job_of_a_run_is_told_as_squeue_has_it(
    tmp_path: Path, script: str, line: str, document: dict[str, Any]
) -> None:
    run, environ = submitted(tmp_path / "it"), squeue(tmp_path, script)
    assert told(run, environ).splitlines()[1] == line
    assert json.loads(told(run, environ, as_json=True))["job"] == document


def test_what_goes_on_with_a_run_that_was_submitted_is_its_job_or_another(tmp_path: Path) -> None:
    run = submitted(tmp_path / "it")
    assert told(run, squeue(tmp_path, ANSWERS)).splitlines()[0] == "it: interrupted: its job goes on with it"
    gone = told(run, squeue(tmp_path, "exit 1")).splitlines()[0]
    assert gone == f"it: interrupted: `milabench submit --resume {run}` goes on with it"


def test_a_squeue_that_does_not_answer_keeps_nobody_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "_WITHIN_S", 0.5)
    run, began = submitted(tmp_path / "it"), time.monotonic()
    assert "Slurm job 17: not known: squeue does not answer" in told(run, squeue(tmp_path, "exec sleep 1000"))
    assert time.monotonic() - began < 60


def test_a_job_that_is_known_to_have_ended_is_not_asked_for(tmp_path: Path) -> None:
    run = submitted(tmp_path / "it", state="NODE_FAIL", reason="NodeDown", nodes="n[1-2]")
    assert "Slurm job 17: lost a node (NODE_FAIL, NodeDown) on n[1-2]" in told(run, squeue(tmp_path, ANSWERS))
    assert not (tmp_path / "calls").exists()


def test_a_run_that_its_job_has_not_begun_says_why(tmp_path: Path) -> None:
    run = submitted(tmp_path / "it", begun=False)
    with pytest.raises(
        NotBegunError, match=r"has not begun the run \(waits: Priority: others come before it\): milabench"
    ):
        told(run, squeue(tmp_path, ANSWERS))


def test_squeue_is_asked_now_and_then_however_often_a_run_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, environ = submitted(tmp_path / "it"), squeue(tmp_path, ANSWERS)
    job = jobs.SlurmJob(run, environ)
    for _ in range(3):
        assert job.look() == Seen(job="17", state="PENDING", reason="Priority", time_limit_s=3600.0, exit_code=0)
    assert (tmp_path / "calls").read_text() == "\n"
    monkeypatch.setattr(jobs, "_AGAIN_S", 0.0)
    job.look()
    assert (tmp_path / "calls").read_text() == "\n\n"


def test_a_run_that_was_not_submitted_has_no_job(tmp_path: Path) -> None:
    run = submitted(tmp_path / "it")
    (run / "slurm.json").unlink()
    assert "Slurm" not in told(run, squeue(tmp_path, ANSWERS))
    assert json.loads(told(run, squeue(tmp_path, ANSWERS), as_json=True))["job"] is None
    assert not (tmp_path / "calls").exists()


def test_of_a_run_that_was_split_each_is_told_those_too_that_have_not_begun(tmp_path: Path) -> None:
    environ = squeue(tmp_path, ANSWERS)
    (tmp_path / "runs/each").mkdir(parents=True)
    submitted(tmp_path / "runs/each/a")
    submitted(tmp_path / "runs/each/b", begun=False)
    out = StringIO()
    status(Wanted(run="each", base=tmp_path, environ=environ), out)
    assert "a: interrupted: its job goes on with it" in out.getvalue()
    assert "b: its Slurm job 17 has not begun the run (waits: Priority" in out.getvalue()
    out = StringIO()
    status(Wanted(run="each", base=tmp_path, environ=environ, as_json=True), out)
    first, second = map(json.loads, out.getvalue().splitlines())
    assert (first["state"], second["state"], second["run"]["name"]) == ("interrupted", "not begun", "b")
    assert second["job"]["reason"] == "Priority"
    with pytest.raises(UsageError, match="give one of a, b, or milabench submit --attach"):
        status(Wanted(run="each", base=tmp_path, environ=environ, follow=True), StringIO())
