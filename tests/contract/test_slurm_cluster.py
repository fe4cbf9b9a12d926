"""The cluster that tests of Slurm run on does what they rely on."""

from __future__ import annotations

from pathlib import Path

from cluster import GPUS, NODES, Cluster

ENDED = ("COMPLETED", "FAILED", "TIMEOUT", "NODE_FAIL", "CANCELLED")


def test_a_job_has_the_nodes_and_gpus_it_asks_for(cluster: Cluster, tmp_path: Path) -> None:
    told = 'srun sh -c "echo \\$SLURMD_NODENAME \\$CUDA_VISIBLE_DEVICES"'
    job = cluster.submit(told, "--nodes=2", "--gres=gpu:1", f"--output={tmp_path}/out")
    assert cluster.wait_for(job, *ENDED) == "COMPLETED"
    found = sorted((tmp_path / "out").read_text().splitlines())
    assert len(found) == 2
    assert {line.split()[0] for line in found} <= set(NODES)
    assert {line.split()[1] for line in found} <= {str(number) for number in range(GPUS)}


def test_a_node_that_breaks_takes_its_job_with_it_and_can_be_mended(cluster: Cluster) -> None:
    job = cluster.submit("sleep 600", "--nodelist=n3")
    cluster.wait_for(job, "RUNNING")
    cluster.break_node("n3")
    assert cluster.wait_for(job, *ENDED) == "NODE_FAIL"
    cluster.mend_node("n3")
    again = cluster.submit("true", "--nodelist=n3")
    assert cluster.wait_for(again, *ENDED) == "COMPLETED"


def test_a_job_in_a_closed_partition_waits(cluster: Cluster) -> None:
    job = cluster.submit("true", "--partition=closed")
    assert cluster.state(job) == "PENDING"
    cluster.cancel_all()
    assert cluster.state(job) == "CANCELLED"
