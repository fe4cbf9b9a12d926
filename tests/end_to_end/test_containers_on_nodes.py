"""Benchmarks in containers on machines of their own over SSH: fetched, installed, run and ended there."""

from __future__ import annotations

from pathlib import Path

from containers import Engine
from harness import OBSERVED, PRINTER, folder, shell
from machines import Machines
from nodes import Node, started

EVERYWHERE = {"plan": {"method": "per_node"}}
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
    with started(tmp_path / "nodes", ("n1", "n2")) as made:
        for node in made.nodes:
            with_cgroups(node)
        machines = Machines(tmp_path / "project", made)
        machines.write_system(nodes={"n2": {"user": "root"}}, docker_image=podman.image)
        machines.project.write("plain/main.py", INSIDE + OBSERVED)
        machines.project.suite(plain=folder("plain", **EVERYWHERE), printer=shell(PRINTER, **EVERYWHERE))
        done = machines.milabench("run", "--all")
        assert done.code == 0, done.err
        images = machines.run().facts()["container"]["images"]
        assert {name: image["root"] for name, image in images.items()} == {"n1": "/", "n2": "/"}
        wanted = {f"{name}.{node}": "early_stop" for name in ("plain", "printer") for node in ("n1", "n2")}
        assert machines.outcomes() == wanted
        assert all([*machines.run().steps(tag)] for tag in wanted)
        for node in made.nodes:
            assert node.run("podman", "ps", "--all", "--quiet", "--filter=name=milabench-") == ""
