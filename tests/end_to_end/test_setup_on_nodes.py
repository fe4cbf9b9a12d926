"""Install and prepare on machines of their own over SSH: each on its own disk, with a Python and nothing else there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import OBSERVED, Project, Result, folder
from nodes import BASE, UID, Nodes, started, why_not

OWN = """
    import milabench
    from milabench.pack import Package

    class __pack__(Package):
        async def install(self):
            (self.dirs.code / "by").write_text(milabench.__file__)
"""
PREPARE = """
    import os, pathlib, socket

    folder = pathlib.Path(os.environ["MILABENCH_DIR_DATA"])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "made").write_text(socket.gethostname())
"""


class Cluster(Project):
    """A project whose commands are those of an operator whose machine is no node."""

    def __init__(self, folder: Path, nodes: Nodes, users: dict[str, str]) -> None:
        super().__init__(folder)
        self.nodes = nodes
        self.environ = {**self.environ, **nodes.environ()}
        written = [
            {"name": node.name, "ip": node.address, "main": node.name == "n1", "user": users.get(node.name, "root")}
            for node in nodes.nodes
        ]
        self.write("system.yaml", json.dumps({"system": {"arch": "cpu", "nodes": written}}))

    def on_all(self, verb: str, *arguments: str) -> Result:
        files = (f"--config={self.folder}/suite.yaml", f"--system={self.folder}/system.yaml")
        return self.milabench(verb, *files, *arguments, under=self.nodes["op"].prefix())


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Two nodes, one of which is entered as a user who is not root."""
    if (reason := why_not()) is not None:
        pytest.skip(reason)
    with started(tmp_path / "nodes", ("n1", "n2")) as made:
        project = Cluster(tmp_path / "project", made, {"n2": "bench"})
        project.write("own/main.py", OBSERVED)
        project.write("own/benchfile.py", OWN)
        project.write("own/prepare.py", PREPARE)
        project.suite(own={**folder("own"), "plan": {"method": "per_node"}})
        yield project


def test_each_node_installs_and_prepares_for_itself(cluster: Cluster) -> None:
    for verb in ("install", "prepare"):
        done = cluster.on_all(verb)
        assert done.code == 0, done.err
    for node in cluster.nodes.nodes:
        assert (node.seen / "data/made").read_text() == node.name
        assert (node.seen / "code/own/by").read_text().startswith(f"{BASE}/cache/tools/milabench-")
        python = f"{BASE}/venv/own/bin/python"
        found = node.run(python, "-c", "import benchmate; print(benchmate.__file__)")
        assert found.startswith(f"{BASE}/venv/own/lib/")
    assert {path.stat().st_uid for path in (cluster.nodes["n2"].seen / "venv/own").iterdir()} == {UID}
    assert not (cluster.nodes["op"].seen / "venv").exists()
    again = cluster.on_all("install")
    assert (again.code, "there already" in again.err) == (0, True), again.err


def test_a_node_that_cannot_install_fails_alone_and_says_so(cluster: Cluster) -> None:
    (cluster.nodes["n2"].seen / "venv").write_text("no folder")
    done = cluster.on_all("run", "--all")
    assert done.code == 1
    assert "FAIL own" in done.err
    assert "(own.n2)" in done.out, done.out
    assert (cluster.nodes["n1"].seen / "venv/own/.milabench.json").exists()
    (cluster.nodes["n2"].seen / "venv").unlink()
    done = cluster.on_all("install")
    assert done.code == 0, done.err


def test_nodes_that_share_a_base_install_once(tmp_path: Path) -> None:
    if (reason := why_not()) is not None:
        pytest.skip(reason)
    with started(tmp_path / "nodes", ("n1", "n2"), shared=("n1", "n2")) as made:
        project = Cluster(tmp_path / "project", made, {})
        project.write("own/main.py", OBSERVED)
        project.suite(own={**folder("own"), "plan": {"method": "per_node"}})
        done = project.on_all("install")
        assert done.code == 0, done.err
        logs = [path.name for path in (made["op"].seen / "extra/setup").iterdir()]
        assert "own.packages.stdout" in logs
        assert not [name for name in logs if name.startswith("own.n2")]


def test_a_bundle_reaches_nodes_that_have_no_network_but_their_own(cluster: Cluster, index: dict[str, str]) -> None:
    cluster.write("own/requirements.in", "iniconfig>=2\n")
    bundle = cluster.folder / "suite.tar"
    packed = cluster.verb("bundle-env", "-o", str(bundle), "--base", str(cluster.folder / "here"), **index)
    assert packed.code == 0, packed.err
    done = cluster.on_all("install", "--bundle", str(bundle))
    assert done.code == 0, done.err
    for node in cluster.nodes.nodes:
        found = node.run(f"{BASE}/venv/own/bin/python", "-c", "import iniconfig; print(iniconfig.__file__)")
        assert found.startswith(f"{BASE}/venv/own/lib/")
