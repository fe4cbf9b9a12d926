"""What starts an agent as a step of a job, and what its end is taken for."""

from __future__ import annotations

import pytest

from milabench.execute.hosts.slurm import Placed, gpus_on, step_argv, step_environ, why

CANCELLED = "slurmstepd-n1: error: *** STEP 1.0 ON n1 CANCELLED AT 2026-11-29T20:43:07 DUE TO TIME LIMIT ***"


def test_a_step_names_its_job_and_node_and_shares_what_the_job_has_there() -> None:
    argv = step_argv(Placed(job="12", node="gpu007"), ["python3", "-c", "x"])
    assert argv[:3] == ["srun", "--jobid=12", "--nodelist=gpu007"]
    assert {"--overlap", "--nodes=1", "--ntasks=1", "--unbuffered", "--cpu-bind=none"} <= set(argv)
    assert argv[-3:] == ["python3", "-c", "x"]


DETAILS = (
    "JobId=2 JobName=x Nodes=gpu[001-002,7] CPU_IDs=0-3 Mem=0 GRES=gpu:fake:2(IDX:0-1) "
    "Nodes=gpu003 CPU_IDs=0 Mem=100 GRES=gpu:a100:1(IDX:0),gpu:v100:3(IDX:1-3),nic:9(IDX:0) "
    "Nodes=cpu1 CPU_IDs=0 Mem=0 GRES= Nodes=gpu[ CPU_IDs=0 Mem=0 GRES=gpu:1 Nodes=plain CPU_IDs=0 Mem=0 GRES=gpu:4 "
)


@pytest.mark.parametrize(
    ("node", "count"), [("gpu002", 2), ("gpu7", 2), ("gpu003", 4), ("cpu1", 0), ("plain", 4), ("elsewhere", 0)]
)
def test_the_gpus_of_a_job_on_a_node_are_counted_of_all_types(node: str, count: int) -> None:
    assert gpus_on(node, DETAILS) == count


def test_a_step_asks_for_all_of_them() -> None:
    placed = Placed(job="12", node="n")
    assert "--gpus=2" in step_argv(placed, ["x"], 2)
    assert not any(word.startswith("--gpus") for word in step_argv(placed, ["x"], 0))


def test_what_a_job_asked_for_is_not_asked_of_its_steps_again() -> None:
    given = {
        "PATH": "/bin",
        "SLURM_CONF": "/etc/slurm.conf",
        "SLURM_NTASKS": "8",
        "SLURM_GPUS": "16",
        "SLURM_LABELIO": "1",
        "SRUN_CPUS_PER_TASK": "4",
        "CUDA_VISIBLE_DEVICES": "0,1",
    }
    kept = {"PATH": "/bin", "SLURM_CONF": "/etc/slurm.conf", "CUDA_VISIBLE_DEVICES": "0,1"}
    assert step_environ(given) == kept


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([], ""),
        (["a benchmark's own words"], ""),
        (["srun: error: Node failure on n2"], "srun: Node failure on n2"),
        (
            [
                "srun: error: _server_read: fd 12 error reading header: Connection reset by peer",
                "srun: error: Node failure on n2",
            ],
            "srun: Node failure on n2",
        ),
        (
            [
                "srun: cluster configuration lacks support for cpu binding",
                "srun: forcing job termination",
                "srun: Job step aborted: Waiting up to 7 seconds for job step to finish.",
                CANCELLED,
                "srun: error: n1: task 0: Killed",
            ],
            "srun: STEP 1.0 ON n1 CANCELLED AT 2026-11-29T20:43:07 DUE TO TIME LIMIT",
        ),
        (
            ["srun: error: Unable to create step for job 1: Requested node configuration is not available"],
            "srun: Unable to create step for job 1: Requested node configuration is not available",
        ),
        (["srun: error: n1: task 0: Killed"], "srun: n1: task 0: Killed"),
        (["srun: error: n1: task 0: Exited with exit code 127"], ""),
    ],
)
def test_a_step_ended_for_the_first_reason_that_slurm_gives(lines: list[str], reason: str) -> None:
    assert why(lines) == reason
