"""A node of a real Slurm cluster fails for good, and the run that it was part of goes on on another."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cluster import Cluster
from harness import PRINTER, Project, Result, printing_until, shell, wait_until
from milabench.rundir import RunDir

NODES = "--sbatch=--nodes=2 --gres=gpu:2"


def lasting(mark: Path) -> dict[str, Any]:
    """Return an entry that says on every node where it runs, prints some steps, and goes on until there is a file."""
    some = PRINTER.replace("while true", "for step in $(seq 30)")
    told = 'echo "$MILABENCH_NODE {nodes[1].ip}" >&2'
    return shell(f"{told}; {some}; {printing_until(mark)}", stop=100_000, plan={"method": "per_node"})


def submit(site: Project, *words: str, **options: Any) -> Result:
    return site.milabench("submit", *words, **options)


def cut_off(cluster: Cluster, site: Project, *words: str, breaks: Sequence[str]) -> RunDir:
    """Leave a run of n1 and n2 that has lost nodes amid the benchmark ``long``."""
    begin = (NODES, "--sbatch=--nodelist=n1,n2", "--no-follow", "--", "--config", "suite.yaml", "--run-name", "it")
    done = submit(site, *begin, *words)
    assert done.code == 0, done.err
    run = RunDir(Path(done.out.split()[-1]))
    wait_until(lambda: all(printed(run, f"long.{node}") for node in ("n1", "n2")))
    for node in breaks:
        cluster.break_node(node)
    ended = submit(site, "--attach", "it")
    assert ended.code == 4, ended.err
    return run


def printed(run: RunDir, tag: str) -> bool:
    return run.files(tag).stdout.exists() and run.files(tag).stdout.stat().st_size > 1000


def kinds(run: RunDir) -> dict[str, str]:
    return {trial: outcome.kind for trial, outcome in run.outcomes().items()}


def nodes_of_jobs(run: RunDir) -> list[str]:
    return [job["nodes"] for job in json.loads((run.path / "slurm.json").read_text())["jobs"]]


def test_a_run_goes_on_with_a_third_node_in_the_place_of_one_that_failed(
    cluster: Cluster, site: Project, tmp_path: Path
) -> None:
    first = shell(PRINTER, plan={"method": "per_node"})
    site.suite(first=first, long=lasting(tmp_path / "mark"))
    run = cut_off(cluster, site, breaks=["n2"])
    before = run.files("first.n2").events.read_bytes()
    told = site.milabench("report", str(run.path)).out.replace("\n  ", " ")
    assert "lost a node (NODE_FAIL): milabench submit --resume" in told
    assert "goes on with it; with --other-nodes it waits for no node" in told
    assert "lost a node (NODE_FAIL, NodeDown) on n[1-2]" in site.milabench("status", "it").out
    waiting = submit(site, "--resume", "it", "--no-follow")
    assert waiting.code == 0, waiting.err
    wait_until(lambda: "node that it needs is down" in site.milabench("status", "it").out)
    cluster.cancel_all()
    (tmp_path / "mark").touch()
    done = submit(site, "--resume", "it", "--other-nodes")
    assert done.code == 0, done.err
    assert kinds(run) == {"first": "early_stop", "long": "ok"}
    assert nodes_of_jobs(run) == ["n[1-2]", "", "n[1,3]"]
    assert run.tags() == ("first.n1", "first.n2", "long.n1", "long.n3")
    assert run.files("first.n2").events.read_bytes() == before
    said = {tag: run.files(tag).stderr.read_text().split() for tag in ("long.n1", "long.n3")}
    assert said == {"long.n1": ["n1", "n3"], "long.n3": ["n3", "n3"]}
    assert (run.attempt_path(1) / "long.n2.jsonl").exists()
    assert (run.path / "n3.monitor.jsonl").exists()
    facts = run.facts()
    assert ([*facts["nodes"]], facts["state"]) == (["n1", "n2", "n3"], "complete")
    assert [(each["node"], each["by"]) for each in facts["replaced"]] == [("n2", "n3")]
    assert "n3 took the place of n2 on 20" in done.out.replace("\n", " ")
    report = site.milabench("report", str(run.path), "--json").json
    slots = {each["name"]: [*each["throughput_by_device"]] for each in report["benchmarks"]}
    assert slots == {"first": ["n1", "n2"], "long": ["n1", "n3"]}


def test_the_main_node_is_replaced_and_the_next_that_fails_by_the_one_that_is_back(
    cluster: Cluster, site: Project, tmp_path: Path
) -> None:
    some = PRINTER.replace("while true", "for step in $(seq 30)")
    alone = shell(f"{some}; {printing_until(tmp_path / 'mark')}", stop=100_000)
    site.suite(long=lasting(tmp_path / "mark"), alone=alone)
    run = cut_off(cluster, site, breaks=["n1"])
    (tmp_path / "mark").touch()
    again = submit(site, "--resume", "it", "--other-nodes", "--no-follow")
    assert again.code == 0, again.err
    assert submit(site, "--attach", "it").code == 0
    assert kinds(run) == {"long": "ok", "alone": "ok"}
    where = {tag: run.files(tag).stderr.read_text().split() for tag in ("long.n3", "long.n2")}
    assert where == {"long.n3": ["n3", "n2"], "long.n2": ["n2", "n2"]}
    starts = [event.data["node"] for event in run.events("alone") if event.event == "start"]
    assert starts == ["n3"]
    nodes = run.facts()["nodes"]
    assert {name: told["main"] for name, told in nodes.items()} == {"n1": True, "n2": False, "n3": True}


def test_nodes_are_replaced_again_and_again_and_too_few_are_refused(
    cluster: Cluster, site: Project, tmp_path: Path
) -> None:
    site.suite(long=lasting(tmp_path / "mark"))
    run = cut_off(cluster, site, breaks=["n2"])
    few = submit(site, "--resume", "it", "--other-nodes", "--sbatch=--nodes=1")
    assert few.code == 4, few.err
    assert "the run is on 2 nodes, and n1 is 1 too few" in few.err.replace("\n", " ")
    assert "ask for --nodes=2" in few.err
    again = submit(site, "--resume", "it", "--other-nodes", NODES, "--no-follow")
    assert again.code == 0, again.err
    wait_until(lambda: printed(run, "long.n3"))
    cluster.break_node("n3")
    assert submit(site, "--attach", "it").code == 4
    cluster.mend_node("n2")
    (tmp_path / "mark").touch()
    last = submit(site, "--resume", "it", "--other-nodes")
    assert last.code == 0, last.err
    assert [(each["node"], each["by"]) for each in run.facts()["replaced"]] == [("n2", "n3"), ("n3", "n2")]
    assert run.tags() == ("long.n1", "long.n2")
    assert sorted(path.name for path in run.path.glob("attempts/*/*.jsonl")) == [
        "long.n1.jsonl",
        "long.n1.jsonl",
        "long.n2.jsonl",
        "long.n3.jsonl",
    ]
    assert kinds(run) == {"long": "ok"}


def with_gpus(site: Project) -> None:
    """Give the nodes an nvidia-smi that tells of two GPUs of the same kind, each node of its own."""
    row = "%s, GPU-$SLURMD_NODENAME-%s, Fake, 81559, 550.54.15, [N/A], 00000000:1%s:00.0, 96.00\\n"
    rows = "".join(row % (number, number, number) for number in range(2))
    script = f'#!/bin/sh\ncase "$*" in *-x*|*mig*) exit 2;; *) printf "{rows}";; esac\n'
    tool = site.write("bin/nvidia-smi", script)
    tool.chmod(0o755)
    site.environ["PATH"] = f"{tool.parent}:{site.environ['PATH']}"


def test_another_node_has_the_devices_that_the_one_before_had(cluster: Cluster, site: Project, tmp_path: Path) -> None:
    with_gpus(site)
    told = 'echo "$MILABENCH_NODE $CUDA_VISIBLE_DEVICES" >&2'
    some = PRINTER.replace("while true", "for step in $(seq 30)")
    entry = shell(f"{told}; {some}; {printing_until(tmp_path / 'mark')}", stop=100_000, plan={"method": "per_node"})
    site.suite(long=entry)
    run = cut_off(cluster, site, "--force", breaks=["n2"])
    (tmp_path / "mark").touch()
    few = submit(site, "--resume", "it", "--other-nodes", "--sbatch=--nodes=2 --gres=gpu:1", "--", "--force")
    assert few.code == 4, few.err
    lacking = "node n3 has 1 cuda device (0), and is to have 2 cuda devices (0, 1) for what is left of the run"
    assert lacking in few.err.replace("\n", " ")
    assert "replaced" not in run.facts()
    done = submit(site, "--resume", "it", "--other-nodes", NODES, "--", "--force")
    assert done.code == 0, done.err
    assert run.files("long.n3").stderr.read_text().split() == ["n3", "0,1"]
    facts = run.facts()
    assert [each["uuid"] for each in facts["nodes"]["n3"]["devices"]] == ["GPU-n3-0", "GPU-n3-1"]
    assert "changed" not in facts
