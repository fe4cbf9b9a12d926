"""What a bundle has comes to nodes that have a base of their own and no network: as much of it as they need."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from harness import OBSERVED, PRINTER, Result, folder, shell
from machines import Machines
from nodes import BASE, Node, started, why_not

pytestmark = pytest.mark.timeout(900)
EVERYWHERE = {"plan": {"method": "per_node"}}
BLOB_BYTES = 2 << 20
# Takes the data from where it is had, which nodes do not reach, unless it is there.
PREPARE = """
    import os, pathlib, shutil

    made = pathlib.Path(os.environ["MILABENCH_DIR_DATA"], "own", "latest")
    if not made.exists():
        made.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy("ORIGIN", made.parent / "blob")
        made.symlink_to("blob")
"""


@pytest.fixture(scope="module")
def made(index: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    """Yield two nodes, and a bundle with data; where that was had from, and what it was packed of, is gone."""
    if (reason := why_not()) is not None:
        pytest.skip(reason)
    place = tmp_path_factory.mktemp("data")
    with started(place / "nodes", ("n1", "n2")) as nodes:
        found = Machines(place / "project", nodes)
        project, origin = found.project, place / "origin"
        origin.write_bytes(os.urandom(BLOB_BYTES))
        project.write("own/main.py", dedent(OBSERVED))
        project.write("own/prepare.py", dedent(PREPARE).replace("ORIGIN", str(origin)))
        project.write("other/main.py", dedent(OBSERVED))
        project.write("own/requirements.in", "iniconfig>=2\n")
        project.write("tool/print.sh", PRINTER)
        tool = {**shell("", **EVERYWHERE), "command": {"argv": ["sh", "print.sh"], "cwd": "tool"}}
        plain = shell(f"basename $PWD >&2; {PRINTER}", **EVERYWHERE)
        project.suite(own=folder("own", **EVERYWHERE), other=folder("other", **EVERYWHERE), tool=tool, plain=plain)
        for arguments in (("install",), ("prepare",), ("bundle-env", "--data", "-o", str(place / "suite.tar"))):
            done = project.verb(*arguments, **index)
            assert done.code == 0, done.err
        origin.unlink()
        shutil.rmtree(project.base)
        done = found.milabench("install", "--bundle", str(place / "suite.tar"))
        assert done.code == 0, done.err
        yield found


@pytest.fixture
def machines(made: Machines) -> Machines:
    for node in made.nodes.nodes:
        shutil.rmtree(node.seen / "data", ignore_errors=True)
    return made


def suite_of(machines: Machines) -> str:
    """Return the bundle's file."""
    return str(machines.project.folder.parent / "suite.tar")


def unpacked_on(node: Node) -> Path:
    """Return the folder that the bundle is unpacked in on a machine."""
    (found,) = (path for path in (node.seen / "bundles").iterdir() if path.is_dir())
    return found


def prepare(machines: Machines) -> Result:
    return machines.milabench("prepare", "--bundle", suite_of(machines))


def has_data(machines: Machines) -> list[str]:
    """Return the nodes that have the data as it is on the operator's base."""
    wanted = (machines.nodes["op"].seen / "data/own/blob").read_bytes()
    found = [(node.name, node.seen / "data/own/latest") for node in machines.nodes.nodes]
    return [name for name, path in found if path.is_symlink() and path.read_bytes() == wanted]


def test_each_node_prepares_with_the_data_of_the_bundle_and_is_sent_it_once(machines: Machines) -> None:
    done = prepare(machines)
    assert done.code == 0, done.err
    assert has_data(machines) == ["n1", "n2"]
    for name in ("n1", "n2"):
        assert f"data of the bundle is on node {name}: 2.0 MiB sent" in done.err
    done = prepare(machines)
    assert (done.code, "sent" in done.err) == (0, False)
    done = machines.milabench("run", "--select", "own", "--select", "other")
    assert done.code == 0, done.err
    assert len(machines.outcomes()) == 4


def test_commands_start_in_the_folder_of_the_bundle(machines: Machines) -> None:
    unpacked = unpacked_on(machines.nodes["op"])
    suite = f"--config={BASE}/bundles/{unpacked.name}/suite.yaml"
    done = machines.milabench("run", suite, "--select", "tool", "--select", "plain")
    assert done.code == 0, done.err
    assert machines.outcomes() == dict.fromkeys(("tool.n1", "tool.n2", "plain.n1", "plain.n2"), "early_stop")
    for node in machines.nodes.nodes:
        assert (node.seen / f"bundles/{unpacked.name}/code/tool.command/print.sh").exists()
        assert unpacked.name in machines.run().log_tail(f"plain.{node.name}", 10)


def test_a_node_gets_the_wheels_of_what_is_installed_on_it(machines: Machines) -> None:
    def installed(*arguments: str) -> dict[str, list[str]]:
        done = machines.milabench("install", "--bundle", suite_of(machines), *arguments)
        assert done.code == 0, done.err
        found = {node.name: (unpacked_on(node) / "wheels").glob("*.whl") for node in machines.nodes.nodes}
        return {name: sorted({path.name.partition("-")[0] for path in paths}) for name, paths in found.items()}

    for node in machines.nodes.nodes:
        shutil.rmtree(node.seen / "bundles")
        shutil.rmtree(node.seen / "venv")
    assert installed("--select", "other") == {"n1": ["benchmate"], "n2": ["benchmate"]}
    assert installed() == {"n1": ["benchmate", "iniconfig"], "n2": ["benchmate", "iniconfig"]}


def test_what_one_node_lacks_is_sent_to_it_alone(machines: Machines) -> None:
    assert prepare(machines).code == 0
    (machines.nodes["n2"].seen / "data/own/blob").write_bytes(b"x" * BLOB_BYTES)
    done = prepare(machines)
    assert done.code == 0, done.err
    assert "on node n2: 2.0 MiB sent" in done.err
    assert "on node n1" not in done.err
    assert has_data(machines) == ["n1", "n2"]


def test_a_full_disk_of_one_node_is_told_by_its_name_and_goes_on_once_there_is_room(machines: Machines) -> None:
    node = machines.nodes["n2"]
    node.run("mkdir", "-p", f"{BASE}/data")
    node.run("mount", "-t", "tmpfs", "-o", "size=1m,mode=1777", "none", f"{BASE}/data")
    try:
        done = prepare(machines)
        left = node.run("find", f"{BASE}/data", "-type", "f")
    finally:
        node.run("umount", "--lazy", f"{BASE}/data")
    assert done.code == 4
    assert "the data of the bundle did not come to node n2: " in done.err
    assert "No space left on device" in done.err
    assert "\nTraceback" not in done.err
    assert left == ""
    node.run("chmod", "1777", f"{BASE}/data")
    done = prepare(machines)
    assert done.code == 0, done.err
    assert has_data(machines) == ["n1", "n2"]
    assert "on node n1" not in done.err
