"""Runs as jobs of a real Slurm cluster: submitted, followed, ended, cut off and gone on with."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from cluster import Cluster
from harness import PRINTER, Project, printing_until, shell, wait_until
from milabench.rundir import RunDir

ENDED = ("COMPLETED", "FAILED", "TIMEOUT", "NODE_FAIL", "CANCELLED", "PREEMPTED")


def lasting(mark: Path) -> dict[str, Any]:
    """Return an entry that prints some steps, and then goes on until there is such a file."""
    some = PRINTER.replace("while true", "for step in $(seq 30)")
    return shell(f"{some}; {printing_until(mark)}", stop=100_000)


def submitted(site: Project, *words: str, run: str = "it") -> RunDir:
    """Submit the suite, follow nothing, and return the run."""
    done = site.milabench("submit", "--no-follow", *words, "--", "--config", "suite.yaml", "--run-name", run)
    assert done.code == 0, done.err
    return RunDir(Path(done.out.split()[-1]))


def jobs(run: RunDir) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((run.path / "slurm.json").read_text())["jobs"]
    return found


def job_of(run: RunDir) -> int:
    return int(jobs(run)[-1]["job"])


def begun(run: RunDir, trial: str) -> bool:
    """Say whether a trial runs and has printed enough to have a rate."""
    printed = run.files(trial).stdout
    return printed.exists() and len(printed.read_bytes().splitlines()) > 20


def outcomes(run: RunDir) -> dict[str, str]:
    return {trial: outcome.kind for trial, outcome in run.outcomes().items()}


def test_a_run_is_submitted_followed_and_reported(site: Project) -> None:
    site.suite(good=shell(PRINTER), bad=shell("exit 3"))
    done = site.milabench("submit", "--sbatch=--nodes=1 --comment='a b'", "--", "-c", "suite.yaml", "--run-name", "it")
    assert done.code == 1, done.err
    assert "good" in done.out
    run = site.run()
    assert outcomes(run) == {"good": "early_stop", "bad": "failed"}
    (job,) = jobs(run)
    assert (job["state"], job["exit_code"], job["nodes"]) == ("FAILED", 1, "n1")
    for said in (f"job {job['job']} is submitted: {run.path}", "is running on n1", "  ok good", "FAIL bad"):
        assert said in done.err
    script = (run.path / "slurm/1.sh").read_text()
    assert "--nodes=1 '--comment=a b'" in script
    assert f"run directory: {run.path}" in (run.path / "slurm/1.out").read_text()


def test_a_job_that_is_not_followed_can_be_later(site: Project, tmp_path: Path) -> None:
    site.suite(long=lasting(tmp_path / "mark"))
    run = submitted(site)
    wait_until(lambda: begun(run, "long"))
    (tmp_path / "mark").touch()
    done = site.milabench("submit", "--attach", "it")
    assert done.code == 0, done.err
    assert "long" in done.out
    assert jobs(run)[0]["state"] == "COMPLETED"


def test_ctrl_c_ends_the_job_as_it_ends_a_run_which_can_be_gone_on_with(site: Project, tmp_path: Path) -> None:
    site.suite(first=shell(PRINTER), long=lasting(tmp_path / "mark"))
    with site.started("submit", "--", "-c", "suite.yaml", "--run-name", "it") as following:
        wait_until(lambda: list(site.base.glob("runs/*/plan.json")))
        wait_until(lambda: begun(site.run(), "long"))
        following.send_signal(signal.SIGINT)
        _, said = following.communicate(timeout=100)
    run = site.run()
    assert following.returncode == 130, said
    assert outcomes(run) == {"first": "early_stop", "long": "interrupted"}
    assert f"milabench submit --resume {run.path} goes on with it" in said
    printed = (run.path / "slurm/1.out").read_text()
    assert f"{run.path.name} is not complete: milabench submit --resume {run.path}\n" in printed
    assert f"job {job_of(run)}: 2 to run, at most" in said
    (tmp_path / "mark").touch()
    done = site.milabench("submit", "--resume", "it")
    assert done.code == 0, done.err
    assert outcomes(run)["long"] == "ok"
    assert [job["state"] for job in jobs(run)] == ["FAILED", "COMPLETED"]
    assert run.journal().attempts["first"] == 1  # what has ended is kept


def test_ctrl_c_cancels_a_job_that_waits(cluster: Cluster, site: Project) -> None:
    site.suite(one=shell(PRINTER))
    with site.started("submit", "--sbatch=--partition=closed", "--", "-c", "suite.yaml", "--run-name", "it") as waiting:
        assert waiting.stderr is not None
        said = [waiting.stderr.readline() for _ in range(2)]
        assert "waits: PartitionDown: the partition is closed" in said[1]
        waiting.send_signal(signal.SIGINT)
        _, rest = waiting.communicate(timeout=100)
    assert waiting.returncode == 130
    assert "was cancelled" in rest
    assert "warning" not in rest
    assert not cluster.jobs()


def test_a_run_whose_job_waits_is_told_of_as_that(site: Project) -> None:
    site.suite(one=shell(PRINTER))
    run = submitted(site, "--sbatch=--partition=closed")
    for name in ("it", str(run.path)):
        done = site.milabench("status", name)
        assert (done.code, f"its Slurm job {job_of(run)} has not begun the run" in done.err) == (2, True)
    again = site.milabench("submit", "--resume", "it")
    assert (again.code, "has not ended: milabench submit --attach" in again.err) == (4, True)


def test_a_closed_terminal_leaves_the_job_alone(cluster: Cluster, site: Project, tmp_path: Path) -> None:
    site.suite(long=lasting(tmp_path / "mark"))
    with site.started("submit", "--", "-c", "suite.yaml", "--run-name", "it") as following:
        wait_until(lambda: list(site.base.glob("runs/*/plan.json")))
        wait_until(lambda: begun(site.run(), "long"))
        following.send_signal(signal.SIGHUP)
        _, said = following.communicate(timeout=60)
        assert following.returncode == 130
        assert f"SIGHUP: job {job_of(site.run())} goes on: milabench submit --attach {site.run().path}" in said
        (tmp_path / "mark").touch()
        run = site.run()
        assert cluster.wait_for(job_of(run), *ENDED) == "COMPLETED"
    assert outcomes(run) == {"long": "ok"}


def test_a_controller_that_is_started_again_changes_nothing(cluster: Cluster, site: Project, tmp_path: Path) -> None:
    site.suite(long=lasting(tmp_path / "mark"))
    with site.started("submit", "--", "-c", "suite.yaml", "--run-name", "it") as following:
        assert following.stderr is not None
        wait_until(lambda: list(site.base.glob("runs/*/plan.json")))
        wait_until(lambda: begun(site.run(), "long"))
        cluster.stop_controller()
        try:
            assert any("the jobs go on, and Slurm is asked again" in line for line in following.stderr)
        finally:
            cluster.start_controller()
        (tmp_path / "mark").touch()
        _, said = following.communicate(timeout=200)
    assert following.returncode == 0, said
    assert outcomes(site.run()) == {"long": "ok"}


def test_a_run_that_comes_near_its_time_limit_ends_as_interrupted(
    cluster: Cluster, site: Project, tmp_path: Path
) -> None:
    site.suite(long=lasting(tmp_path / "mark"))
    run = submitted(site)
    wait_until(lambda: begun(run, "long"))
    cluster.reach_time_limit(job_of(run), seconds=50)  # SIGTERM comes a minute before, so at once
    done = site.milabench("submit", "--attach", "it")
    assert done.code == 130, done.err
    assert "was told to end, its time limit being near" in done.err
    assert outcomes(run) == {"long": "interrupted"}
    assert run.journal().state == "interrupted"
    (tmp_path / "mark").touch()
    assert site.milabench("submit", "--resume", str(run.path)).code == 0
    assert outcomes(run) == {"long": "ok"}


def test_a_node_that_fails_is_told_and_the_run_goes_on_when_it_is_back(
    cluster: Cluster, site: Project, tmp_path: Path
) -> None:
    site.suite(first=shell(PRINTER), long=lasting(tmp_path / "mark"))
    run = submitted(site, "--sbatch=--nodelist=n1")
    wait_until(lambda: begun(run, "long"))
    cluster.break_node("n1")
    try:
        done = site.milabench("submit", "--attach", "it")
        assert done.code == 4, done.err
        assert "lost a node (NODE_FAIL, NodeDown)" in done.err
        report = site.milabench("report", str(run.path)).out.replace("\n  ", " ")
        assert f"its Slurm job {job_of(run)} on n1 lost a node (NODE_FAIL): milabench submit --resume" in report
        (tmp_path / "mark").touch()
    finally:
        cluster.mend_node("n1")
    again = site.milabench("submit", "--resume", "it")
    assert again.code == 0, again.err
    assert outcomes(run) == {"first": "early_stop", "long": "ok"}
    assert [job["nodes"] for job in jobs(run)] == ["n1", "n1"]


def test_a_job_that_is_put_back_into_the_queue_goes_on_with_its_run(
    cluster: Cluster, site: Project, tmp_path: Path
) -> None:
    site.suite(first=shell(PRINTER), long=lasting(tmp_path / "mark"))
    run = submitted(site, "--sbatch=--requeue --nodelist=n2")
    wait_until(lambda: begun(run, "long"))
    cluster.put_back(job_of(run))
    wait_until(lambda: run.journal().attempts.get("long") == 2, 120)
    (tmp_path / "mark").touch()
    done = site.milabench("submit", "--attach", "it")
    assert done.code == 0, done.err
    assert outcomes(run) == {"first": "early_stop", "long": "ok"}
    assert run.journal().attempts["first"] == 1


def test_a_job_that_is_preempted_is_told_and_gone_on_with(cluster: Cluster, site: Project, tmp_path: Path) -> None:
    site.suite(long=lasting(tmp_path / "mark"))
    run = submitted(site, "--sbatch=--nodelist=n1 --exclusive")
    wait_until(lambda: begun(run, "long"))
    other = cluster.submit("true", "--partition=urgent", "--nodelist=n1", "--exclusive")
    done = site.milabench("submit", "--attach", "it")
    assert done.code == 130, done.err
    assert "was preempted by another job (PREEMPTED" in done.err
    assert outcomes(run).get("long", "interrupted") in ("interrupted", "lost")
    cluster.wait_for(other, "COMPLETED")
    (tmp_path / "mark").touch()
    assert site.milabench("submit", "--resume", "it").code == 0
    assert outcomes(run) == {"long": "ok"}


def test_each_benchmark_can_be_a_job_of_its_own(site: Project) -> None:
    site.suite(one=shell(PRINTER), two=shell(PRINTER), bad=shell("exit 3", group="one"))
    done = site.milabench("submit", "--split", "--", "-c", "suite.yaml", "--run-name", "it")
    assert done.code == 1, done.err
    for name in ("one", "two", "bad"):
        assert name in done.out
    runs = {path.parent.name: RunDir(path.parent) for path in site.base.glob("runs/it.*/*/plan.json")}
    assert {name: outcomes(run) for name, run in runs.items()} == {
        "one": {"one": "early_stop"},
        "two": {"two": "early_stop"},
        "bad": {"bad": "failed"},
    }
    assert len({job_of(run) for run in runs.values()}) == 3
    assert site.milabench("submit", "--attach", "it").code == 1
    again = site.milabench("submit", "--resume", "it")
    assert (again.code, again.err.count("nothing is left to run")) == (0, 3)
    failed = site.milabench("submit", "--resume", str(runs["bad"].path), "--", "--failed")
    assert (failed.code, runs["bad"].journal().attempts["bad"]) == (1, 2)


def test_a_benchmark_whose_job_could_not_begin_is_missing_in_the_report_of_all(site: Project) -> None:
    site.suite(one=shell(PRINTER), never=shell("true", requires_capabilities=["gpu.count > 100"], weight=3))
    done = site.milabench("submit", "--split", "--", "-c", "suite.yaml", "--run-name", "it")
    assert done.code == 4, done.err
    assert "nothing can run on this system: never" in done.err
    for said in (done.out, site.milabench("report", "it").out):
        assert "missing (each scores 0)\n  never  lost: its Slurm job" in said
    (missing,) = site.milabench("report", "--json", *map(str, site.base.glob("runs/it.*/*"))).json["missing"]
    assert (missing["benchmark"], missing["weight"]) == ("never", 3.0)
    told = site.milabench("status", "it").out
    assert "one: complete" in told
    assert "ended with exit code 4 before the run began: see" in told


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--sbatch=--partition=nope"], "sbatch failed: invalid partition specified: nope"),
        (["--sbatch=--gres=tpu:1"], "sbatch failed: .*Invalid generic resource"),
    ],
)
def test_what_slurm_refuses_is_told_in_its_words_and_leaves_nothing(site: Project, words: list[str], said: str) -> None:
    site.suite(one=shell(PRINTER))
    done = site.milabench("submit", *words, "--", "-c", "suite.yaml")
    assert done.code == 4
    assert re.search(said, done.err), done.err
    assert not list(site.base.glob("runs/*"))


def test_why_a_job_cannot_begin_is_told(site: Project) -> None:
    site.suite(one=shell(PRINTER))
    words = ("--sbatch=--partition=short", "--sbatch=--time=30")
    with site.started("submit", *words, "--", "-c", "suite.yaml") as waiting:
        assert waiting.stderr is not None
        said = [waiting.stderr.readline() for _ in range(2)]
        waiting.send_signal(signal.SIGINT)
        waiting.communicate(timeout=100)
    assert re.search(r"waits: Partition\w+: it does not begin by itself: it asks for more", said[1])


def test_where_there_is_no_slurm_that_is_told(project: Project) -> None:
    project.suite(one=shell(PRINTER))
    done = project.milabench("submit", "--", "-c", "suite.yaml", PATH=str(project.folder))
    assert done.code == 4
    assert "there is no sbatch here: submit from a machine that has Slurm's commands" in done.err


def test_a_run_that_its_job_could_not_begin_is_told_with_what_the_job_printed(site: Project) -> None:
    site.suite(one=shell(PRINTER, requires_capabilities=["gpu.count > 100"]))
    done = site.milabench("submit", "--", "-c", "suite.yaml", "--run-name", "it")
    assert done.code == 4, done.err
    assert "nothing can run on this system: one: requires gpu.count > 100" in done.err
