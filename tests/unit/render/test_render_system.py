"""A system as a file that says what was found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from milabench.options import Options
from milabench.render import system as page
from milabench.system import resolve
from milabench.system.types import Allocation, Device, Node, System

GIB = 2**30
FACTS: dict[str, Any] = {
    "hostname": "node1",
    "platform": "Linux-6.1",
    "arch": "cuda",
    "cpus": 64,
    "cpu_name": "CPU #1",
    "memory_bytes": 512 * GIB,
    "devices": [{"id": n, "name": "NVIDIA H100", "memory_bytes": 80 * GIB} for n in range(8)],
    "driver": "550.54",
    "environ": {"SECRET": "x"},
    "indexes": [],
}
DEVICES = tuple(Device(id=number, name="NVIDIA H100", memory_bytes=80 * GIB) for number in range(8))
ONE = Node(name="node1", address="10.0.0.1", main=True, devices=DEVICES, local=True, cpus=64)
TWO = Node(
    name="node2",
    address="10.0.0.2",
    user="bench: x",
    port=2222,
    local=False,
    python="/usr/bin/python3",
    python_version="3.11.2",
    shares_base="node1",
)
SYSTEM = System(
    arch="cuda",
    nodes=(ONE, TWO),
    options=Options({"sshkey": "~/.ssh/id", "ssh.connect": 30.0}),
    probed={"node1": FACTS, "node2": {**FACTS, "hostname": "node2", "devices": [], "driver": None}},
)


def test_a_system_file_says_how_nodes_are_reached_and_what_they_said() -> None:
    assert page.text(SYSTEM).partition("system:\n")[2] == (
        "  arch: cuda\n"
        "  sshkey: ~/.ssh/id\n"
        "  options:\n"
        "    ssh.connect: 30.0\n"
        "  nodes:\n"
        "    - name: node1\n"
        "      ip: 10.0.0.1\n"
        "      main: true\n"
        "      # 8 × NVIDIA H100 (80.0 GiB), driver 550.54\n"
        "      # 64 cores (CPU #1), 512.0 GiB of memory\n"
        "      # node1: Linux-6.1, this machine\n"
        "    - name: node2\n"
        "      ip: 10.0.0.2\n"
        "      user: 'bench: x'\n"
        "      port: 2222\n"
        "      # 64 cores (CPU #1), 512.0 GiB of memory\n"
        "      # node2: Linux-6.1, Python 3.11.2 (/usr/bin/python3)\n"
        "      # has the base of node1\n"
    )


def test_it_is_taken_again_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "system.yaml"
    file.write_text(page.text(SYSTEM))
    again = resolve(file, FACTS, remote={"node2": FACTS})
    assert (again.arch, again.warnings, again.options.given) == ("cuda", (), SYSTEM.options.given)
    said = [(node.name, node.address, node.user, node.port, node.main) for node in SYSTEM.nodes]
    assert [(node.name, node.address, node.user, node.port, node.main) for node in again.nodes] == said
    assert len(again.main.devices) == 8


def test_the_json_form_has_what_nodes_said_and_nothing_of_their_environment() -> None:
    found = json.loads(page.document(SYSTEM))
    assert (found["version"], found["system"]["nodes"][1]["port"]) == (1, 2222)
    assert found["nodes"]["node1"]["driver"] == "550.54"
    assert "SECRET" not in page.document(SYSTEM)


def test_of_an_allocation_it_says_that_no_file_is_needed() -> None:
    within = System(arch="cpu", nodes=(ONE,), allocation=Allocation(job="17", nodes=("node1",)))
    assert "those of the Slurm job 17" in page.text(within)
    assert "Slurm" not in page.text(SYSTEM)
