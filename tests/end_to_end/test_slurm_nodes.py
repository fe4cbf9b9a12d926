"""Jobs of a real Slurm cluster on two nodes: an agent on each, trainings over both, a node that fails."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from cluster import Cluster
from harness import PRINTER, Project, Result, printing_until, shell, wait_until
from milabench.rundir import RunDir
from trainings import training, write_training

TWO = "--sbatch=--nodes=2 --nodelist=n1,n2 --gres=gpu:2"


def submit(site: Project, *words: str, before: Sequence[str] = (), **options: Any) -> Result:
    return site.milabench("submit", TWO, *before, "--", "--config", "suite.yaml", "--run-name", "it", *words, **options)


def test_a_benchmark_runs_on_all_nodes_of_a_job_with_the_devices_that_it_has_there(site: Project) -> None:
    told = f'echo "$SLURMD_NODENAME|$CUDA_VISIBLE_DEVICES" >&2; {PRINTER}'
    site.suite(every=shell(told, plan={"method": "per_node"}), one=shell(told))
    done = submit(site)
    assert done.code == 0, done.err
    run = site.run()
    said = {tag: run.files(tag).stderr.read_text().splitlines()[0] for tag in run.tags()}
    assert said == {"every.n1": "n1|0,1", "every.n2": "n2|0,1", "one": "n1|0,1"}
    assert {tag: sum(map(len, run.steps(tag))) > 10 for tag in run.tags()} == dict.fromkeys(said, True)
    facts = run.facts()
    assert (set(facts["nodes"]), facts["nodes"]["n2"]["shares_base"]) == ({"n1", "n2"}, "n1")
    assert not list((run.path).glob("*.partial"))


def test_several_nodes_whose_temporary_folder_is_one_folder_run_a_benchmark_each(site: Project, tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    site.suite(every=shell(PRINTER, plan={"method": "per_node"}))
    three = ("submit", "--sbatch=--nodes=3", "--", "--config", "suite.yaml", "--run-name", "it")
    done = site.milabench(*three, TMPDIR=str(tmp_path / "tmp"))
    assert done.code == 0, done.err
    assert "waiting at most" not in (site.run().path / "slurm/1.out").read_text()
    assert {*site.run().tags()} == {"every.n1", "every.n2", "every.n3"}
    assert not list(tmp_path.glob("tmp/milabench-*/*.lock"))


@pytest.mark.parametrize(
    ("asked", "seen"), [("--gpus=3", {"n1": [0, 1], "n2": [0]}), ("--gres=gpu:1", {"n1": [0], "n2": [0]})]
)
def test_benchmarks_are_placed_on_the_devices_of_the_job_and_no_others(
    site: Project, asked: str, seen: dict[str, list[int]]
) -> None:
    rows = "".join(
        f"{number}, GPU-{number}, Fake, 81559, 550.54.15, [N/A], 00000000:1{number}:00.0, 96.00\n"
        for number in range(4)
    )
    tool = site.write("bin/nvidia-smi", f"#!/bin/sh\ncase \"$*\" in *-x*|*mig*) exit 2;; *) printf '{rows}';; esac\n")
    tool.chmod(0o755)
    site.environ["PATH"] = f"{tool.parent}:{site.environ['PATH']}"
    told = f'echo "$CUDA_VISIBLE_DEVICES" >&2; {PRINTER}'
    site.suite(each=shell(told, plan={"method": "per_gpu"}), every=shell(told, plan={"method": "per_node"}))
    two = f"--sbatch=--nodes=2 --nodelist=n1,n2 {asked}"
    done = site.milabench("submit", two, "--", "-c", "suite.yaml", "--run-name", "it", "--force")
    assert done.code == 0, done.err
    run = site.run()
    assert {node: [device["id"] for device in told["devices"]] for node, told in run.facts()["nodes"].items()} == seen
    said = {tag: run.files(tag).stderr.read_text().splitlines()[0] for tag in run.tags()}
    placed = {f"each.D{device}": f"{device}" for device in seen["n1"]}
    assert said == {**placed, **{f"every.{node}": ",".join(map(str, devices)) for node, devices in seen.items()}}


def test_torchrun_trains_over_both_nodes_of_a_job(index: dict[str, str], site: Project) -> None:
    del index
    write_training(site, training(2))
    limit = {"voir": {"options": {"stop": 20, "skip": 2}}}
    entry = {"definition": "training", "num_machines": 2, "plan": {"method": "njobs", "n": 1}, **limit}
    site.suite(training=entry)
    done = submit(site, "--all", timeout_s=280)
    assert done.code == 0, done.err
    run = site.run()
    assert {trial: outcome.kind for trial, outcome in run.outcomes().items()} == {"training": "early_stop"}
    tag = run.plan().trials[0].commands[0].tag
    (steps,) = run.steps(tag)
    assert set(steps.columns["count"]) == {8}  # four of each rank
    hello = next(event.data for event in run.events(tag) if event.event == "hello")
    assert (hello["world_size"], hello["node"]) == (2, "n1")


def test_a_node_that_fails_takes_what_ran_with_it_and_what_had_ended_stays(
    cluster: Cluster, site: Project, tmp_path: Path
) -> None:
    some = PRINTER.replace("while true", "for step in $(seq 30)")
    long = shell(f"{some}; {printing_until(tmp_path / 'mark')}", stop=100_000, plan={"method": "per_node"})
    site.suite(first=shell(PRINTER), long=long)
    done = submit(site, before=["--no-follow"])
    run = RunDir(Path(done.out.split()[-1]))
    wait_until(lambda: run.files("long.n2").stdout.exists() and run.files("long.n2").stdout.stat().st_size > 1000)
    cluster.break_node("n2")
    try:
        ended = site.milabench("submit", "--attach", "it")
        assert ended.code == 4, ended.err
        assert "on n[1-2] lost a node (NODE_FAIL, NodeDown)" in ended.err
        assert run.outcomes()["first"].kind == "early_stop"
        assert "long" not in run.outcomes() or run.outcomes()["long"].kind in ("lost", "interrupted")
    finally:
        cluster.mend_node("n2")
    (tmp_path / "mark").touch()
    again = site.milabench("submit", "--resume", "it")
    assert again.code == 0, again.err
    assert {trial: outcome.kind for trial, outcome in run.outcomes().items()} == {"first": "early_stop", "long": "ok"}
    jobs = json.loads((run.path / "slurm.json").read_text())["jobs"]
    assert [(job["state"], job["nodes"]) for job in jobs] == [("NODE_FAIL", "n[1-2]"), ("COMPLETED", "n[1-2]")]


def test_a_command_runs_on_all_nodes_of_an_allocation_word_for_word(cluster: Cluster, site: Project) -> None:
    words = ['it\'s "quoted"', '{"a": "$HOME"}', "two  words *", "é\nnext"]
    script = 'import os, sys; print(os.environ["SLURMD_NODENAME"], os.environ["CUDA_VISIBLE_DEVICES"], sys.argv[1:])'
    argv = [sys.executable, "-m", "milabench", "exec", "--slurm", "--", "python3", "-c", script, *words]
    out = f"--output={site.folder}/out"
    job = cluster.submit(shlex.join(argv), "--nodes=2", "--nodelist=n1,n2", "--gres=gpu:2", out)
    assert cluster.wait_for(job, "COMPLETED", "FAILED") == "COMPLETED", (site.folder / "out").read_text()
    found = sorted((site.folder / "out").read_text().splitlines())
    assert found == [f"n1: n1 0,1 {words}", f"n2: n2 0,1 {words}"]


def test_outside_of_an_allocation_slurm_has_no_nodes(site: Project) -> None:
    done = site.milabench("exec", "--slurm", "--", "true")
    assert (done.code, "this is no Slurm allocation" in done.err) == (2, True)
