"""What is submitted for a run, and what is kept of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from milabench.errors import RunDirError
from milabench.slurm import records, script
from milabench.slurm.records import Submissions, Submitted
from milabench.slurm.script import Paper, Task
from milabench.slurm.states import Seen

RUN = Path("/runs/a b")
RESUME = ("python", "-m", "milabench", "resume", "/runs/a b")


def test_what_must_be_ours_comes_last_and_the_rest_can_be_said_otherwise() -> None:
    paper = Paper.of(RUN / "slurm", 2)
    found = script.arguments(paper, name="milabench.x", cwd=Path("/here"), asked=["--job-name=mine", "--output=x"])
    assert found[-5:] == [
        "--chdir=/here",
        "--output=/runs/a b/slurm/2.out",
        "--open-mode=append",
        "--parsable",
        "/runs/a b/slurm/2.sh",
    ]
    assert found.index("--job-name=milabench.x") < found.index("--job-name=mine")
    assert "--signal=B:TERM@60" in found


def test_a_sign_that_stands_for_something_in_names_of_slurm_is_doubled() -> None:
    found = script.arguments(Paper.of(Path("/a%j"), 1), name="x", cwd=Path("/"), asked=[])
    assert "--output=/a%%j/1.out" in found


def test_a_script_begins_its_run_once_and_goes_on_with_it_afterwards() -> None:
    begin = ("python", "-m", "milabench", "run", "--config", "it's.yaml")
    text = script.text(Task(run=RUN, begin=begin, resume=RESUME), ["sbatch", "--comment=a b"], "1.2")
    assert text.startswith("#!/bin/bash\n# Written by milabench 1.2")
    assert "#   sbatch '--comment=a b'\n" in text
    assert "if [ -e '/runs/a b/plan.json' ]; then\n    exec python -m milabench resume '/runs/a b'\nfi\n" in text
    assert text.endswith("""exec python -m milabench run --config 'it'"'"'s.yaml'\n""")


def test_a_script_for_a_run_that_was_begun_elsewhere_only_goes_on() -> None:
    text = script.text(Task(run=RUN, begin=None, resume=RESUME), ["sbatch"], "1")
    assert text.splitlines()[-1] == "exec python -m milabench resume '/runs/a b'"


def test_no_word_ends_the_comment_that_it_stands_in() -> None:
    text = script.text(Task(run=RUN, begin=None, resume=RESUME), ["sbatch", "--comment=a\nrm x"], "1")
    assert not any(line.startswith("rm") for line in text.splitlines())


JOB = Submitted(job="12", profile="p", asked=("--nodes=2",), submitted=1.5)


def test_jobs_of_a_run_are_read_as_they_were_written(tmp_path: Path) -> None:
    ended = Seen(job="12", state="TIMEOUT", reason="TimeLimit", nodes="n[1-2]", signal=15)
    there = Submissions(run=tmp_path, begin=("python", "x")).with_job(JOB).with_end(ended)
    there = there.with_job(Submitted(job="13", profile=None, asked=(), submitted=2.0))
    there.write()
    assert records.is_submitted(tmp_path)
    assert records.read(tmp_path) == there
    assert there.next_paper.script == tmp_path / "slurm/3.sh"


def test_a_job_that_never_ran_keeps_the_nodes_it_had() -> None:
    there = Submissions(run=RUN).with_job(JOB).with_end(Seen(job="12", state="NODE_FAIL", nodes="n1"))
    assert there.with_end(Seen(job="12", state="CANCELLED")).latest.nodes == "n1"


@pytest.mark.parametrize("content", ["", "[]", "{", '{"jobs": []}', '{"jobs": [{"job": 1}]}'])
def test_a_record_that_cannot_be_read_is_told(tmp_path: Path, content: str) -> None:
    (tmp_path / "slurm.json").write_text(content)
    with pytest.raises(RunDirError, match="slurm.json"):
        records.read(tmp_path)


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ("", ""),
        ("COMPLETED", ""),
        ("FAILED", ""),
        ("NEW_STATE", ""),
        ("NODE_FAIL", "its Slurm job 12 on n1 lost a node (NODE_FAIL)"),
    ],
)
def test_an_end_that_was_not_the_runs_own_is_told(state: str, told: str) -> None:
    job = records._job({"job": 12, "submitted": 1, "state": state, "nodes": "n1"})
    assert records.told([job]) == told


def test_of_no_job_nothing_is_told() -> None:
    assert records.told([]) == ""
