"""Runs that their Slurm jobs have not begun: found by name, told of, and counted in reports of those that have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from milabench.app import submitted
from milabench.app.report import report
from milabench.errors import NotBegunError, RunDirError
from milabench.plan import Plan
from milabench.record import Record
from milabench.rundir import RunDir
from milabench.slurm.records import Part, Submissions, Submitted
from milabench.slurm.states import Seen

TIME, LATER = "2025-03-01_10-00-00", "2025-03-02_10-00-00"


def job(run: Path, part: str = "", **known: Any) -> Submissions:
    """Return a run whose job, as far as it is known, was submitted."""
    made = Submitted(job="7", profile=None, asked=(), submitted=known.pop("submitted", 5.0), **known)
    there = Submissions(run=run, part=Part(name=part, weight=2.0, enabled=True) if part else None, jobs=(made,))
    (run / "slurm").mkdir(parents=True)
    there.write()
    return there


def begun(run: Path, started: float = 1.0) -> RunDir:
    record = Record.create(run, plan=Plan(phase="run", trials=()), facts={"started": started}, suite={})
    record.finish("complete")
    return record


def test_a_name_means_a_run_or_all_runs_of_one_that_was_split(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    begun(runs / f"my.{TIME}")
    for name in ("a", "b"):
        job(runs / f"each.{TIME}" / name, name)
    job(runs / f"my night.{TIME}")
    assert submitted.find("my", tmp_path) == [runs / f"my.{TIME}"]
    assert submitted.find("my night", tmp_path) == [runs / f"my night.{TIME}"]
    assert submitted.find("each", tmp_path) == [runs / f"each.{TIME}" / name for name in ("a", "b")]
    assert submitted.find(str(runs / f"each.{TIME}/b"), tmp_path) == [runs / f"each.{TIME}/b"]
    with pytest.raises(RunDirError, match="no run 'my nig'"):
        submitted.find("my nig", tmp_path)
    with pytest.raises(RunDirError, match="holds no run itself: give one or several of a, b"):
        submitted.only(submitted.find("each", tmp_path))
    job(runs / f"my.{LATER}")
    with pytest.raises(RunDirError, match=rf"several runs are named my: give one of my.{TIME}, my.{LATER}"):
        submitted.find("my", tmp_path)


def test_the_newest_run_may_be_one_that_was_split(tmp_path: Path) -> None:
    begun(tmp_path / f"runs/one.{TIME}", 4.0)
    job(tmp_path / f"runs/each.{TIME}/a", "a", submitted=3.0)
    assert [path.name for path in submitted.find(None, tmp_path)] == [f"one.{TIME}"]
    job(tmp_path / f"runs/later.{TIME}/a", "a", submitted=5.0)
    assert submitted.find(None, tmp_path) == [tmp_path / f"runs/later.{TIME}/a"]


@pytest.mark.parametrize(
    ("seen", "printed", "said"),
    [
        ({}, False, "has not begun the run: milabench submit --attach {run} follows it"),
        (
            {"state": "FAILED", "exit_code": 4},
            True,
            "ended with exit code 4 before the run began: see {out}; then milabench submit --resume {run}",
        ),
        ({"state": "CANCELLED"}, False, "was cancelled (CANCELLED) before the run began: milabench submit --resume"),
        ({"state": "GONE"}, False, "is not known to Slurm any more (GONE) before the run began: "),
        ({"state": "RUNNING", "nodes": "n[1-2]"}, True, "is setting up the run on n[1-2], as {out} tells: "),
        ({"state": "PENDING", "reason": "Priority"}, False, "has not begun the run (waits: Priority: others come"),
    ],
)
def test_what_became_of_a_job_that_has_not_begun_its_run_is_told(
    tmp_path: Path, seen: dict[str, Any], printed: bool, said: str
) -> None:
    there = job(tmp_path / "my night")
    if printed:
        there.paper.output.touch()
    words = said.format(run=f"'{there.run}'", out=there.paper.output)
    assert f"its Slurm job 7 {words}" in submitted.not_begun(there, Seen(job="7", **{"state": "", **seen}))


def test_a_report_of_a_run_that_was_split_counts_what_has_not_begun_as_missing(tmp_path: Path) -> None:
    folder = tmp_path / f"runs/each.{TIME}"
    job(folder / "a", "a", state="COMPLETED", exit_code=0)
    begun(folder / "a")
    job(folder / "b", "b", state="FAILED", exit_code=4)
    for names in (["each"], [str(folder / "a"), str(folder / "b")]):
        summary = report(names, tmp_path)
        (missing,) = summary.missing
        assert (missing.benchmark, missing.weight) == ("b", 2.0)
        assert "its Slurm job 7 ended with exit code 4 before the run began" in missing.reason
        assert summary.score == {"milabench": 1.0}


def test_a_report_of_what_has_not_begun_says_so(tmp_path: Path) -> None:
    job(tmp_path / "runs/it")
    with pytest.raises(NotBegunError, match="runs/it: its Slurm job 7 has not begun the run: milabench submit"):
        report(["it"], tmp_path)
    begun(tmp_path / "runs/other")
    assert any("it: its Slurm job 7 has not begun" in told for told in report(["it", "other"], tmp_path).warnings)
