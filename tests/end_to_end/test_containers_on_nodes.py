"""Benchmarks in containers on machines of their own over SSH: fetched, installed, run and ended there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from containers import Engine
from harness import OBSERVED, PRINTER, Project, folder, shell
from nodes import Node, started, why_not

INSIDE = """
    import os
    assert os.path.exists("/run/.containerenv")
"""


def with_cgroups(node: Node) -> None:
    """Give a node the control groups of this machine: `ip netns exec` leaves it none, and containers need them."""
    lines = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    found = [(kind, place, options) for _, place, kind, options, *_ in lines if kind.startswith("cgroup")]
    if any(kind == "cgroup" for kind, _, _ in found):
        node.run("mount", "-t", "tmpfs", "none", "/sys/fs/cgroup")
    for kind, place, options in found:
        kept = [
            word for word in options.split(",") if word not in ("rw", "ro", "nosuid", "nodev", "noexec", "relatime")
        ]
        node.run("mkdir", "-p", place)
        node.run("mount", "-t", kind, *(("-o", ",".join(kept)) if kept else ()), "none", place)


def test_benchmarks_run_in_containers_on_every_node(tmp_path: Path, podman: Engine) -> None:
    if (reason := why_not()) is not None:
        pytest.skip(reason)
    with started(tmp_path / "nodes", ("n1", "n2")) as made:
        for node in made.nodes:
            with_cgroups(node)
        project = Project(tmp_path / "project")
        project.environ |= made.environ()
        nodes = [
            {"name": each.name, "ip": each.address, "user": "root", "main": each.name == "n1"} for each in made.nodes
        ]
        system = {"arch": "cpu", "nodes": nodes, "docker_image": podman.image}
        project.write("system.yaml", json.dumps({"system": system}))
        project.write("plain/main.py", INSIDE + OBSERVED)
        everywhere = {"plan": {"method": "per_node"}}
        project.suite(plain={**folder("plain"), **everywhere}, printer={**shell(PRINTER), **everywhere})
        files = (f"--config={project.folder}/suite.yaml", f"--system={project.folder}/system.yaml")
        done = project.milabench("run", "--all", *files, under=made["op"].prefix())
        assert done.code == 0, done.err
        found = sorted((made["op"].seen / "runs").glob("*/run.json"))
        images = json.loads(found[-1].read_text())["container"]["images"]
        assert {name: image["root"] for name, image in images.items()} == {"n1": "/", "n2": "/"}
        tags = {path.name for path in found[-1].parent.glob("*.steps")}
        assert tags == {"plain.n1.steps", "plain.n2.steps", "printer.n1.steps", "printer.n2.steps"}
        for node in made.nodes:
            assert node.run("podman", "ps", "--all", "--quiet", "--filter=name=milabench-") == ""
