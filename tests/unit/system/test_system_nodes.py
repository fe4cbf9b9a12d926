"""Nodes of a system: which of them this machine is, and what each has by the file, by itself, by the rest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from system_files import CPU_FACTS, FACTS, GIB, OVERVIEW, from_file

from milabench.system import Device, resolve, values


@pytest.mark.parametrize(
    ("nodes", "local"),
    [
        (["ip: 192.168.11.11, port: 5000"], [True]),  # where its own sshd listens
        (["ip: 127.0.0.1"], [True]),
        (["ip: 127.0.0.1%lo"], [True]),
        (["ip: 10.0.0.1%eth0"], [False]),
        (["ip: 127.0.0.1, port: 2222"], [False]),  # the end of a tunnel
        (["ip: localhost, sshport: 2222"], [False]),
        (["ip: 192.168.11.11", "ip: 192.168.11.11, port: 2222"], [True, False]),  # a container's, handed on
        (["ip: 'FD00:0::11'", "ip: fd00::11, port: 2222"], [True, False]),
    ],
)
def test_a_port_of_this_machine_may_lead_to_another(tmp_path: Path, nodes: list[str], local: list[bool]) -> None:
    lines = [f"    - {{name: n{number}, main: {str(not number).lower()}, {each}}}" for number, each in enumerate(nodes)]
    facts = {**FACTS, "ips": [*FACTS["ips"], "fd00::11"]}
    system = from_file(tmp_path, "\n".join(["system:", "  nodes:", *lines]), facts)
    assert [node.local for node in system.nodes] == local


@pytest.mark.parametrize(
    ("hostname", "node", "local"),
    [
        ("op", "name: op", True),
        ("op", "name: Op", True),
        ("op.cluster.example", "name: op", True),
        ("op.cluster.example", "name: op.cluster.example", True),
        ("op", "name: op.elsewhere.example", False),  # nobody knows which domain this one is of
        ("op", "name: op, ip: op", True),
        ("op", "name: op, ip: 10.77.0.2", False),
        ("op.cluster.example", "name: op, ip: 10.77.0.2", False),
        ("op", "name: op, ip: 192.168.11.12", True),  # the second of this machine
        ("op", "name: another, ip: 192.168.11.12", True),
        ("op", "name: op, ip: op.elsewhere.example", False),
        ("op", "name: op, ip: localhost", True),
        ("10.0.0.1", "name: n1, ip: 10.0.0.2", False),
    ],
)
def test_a_name_is_this_machines_where_no_address_says_another(
    tmp_path: Path, hostname: str, node: str, local: bool
) -> None:
    facts = {**FACTS, "hostname": hostname, "ips": ["192.168.11.11", "192.168.11.12"]}
    found = from_file(tmp_path, f"system: {{nodes: [{{{node}, main: true}}]}}\n", facts).main
    assert (found.local, found.namesake) == (local, not local and "name: op" in node)


def test_the_main_node_comes_first_and_the_ssh_port_wins(tmp_path: Path) -> None:
    text = "system: {nodes: [{name: a, sshport: 7, port: 8}, {name: b, main: true, port: '9'}]}\n"
    system = from_file(tmp_path, text)
    assert [(node.name, node.address, node.port) for node in system.nodes] == [("b", "b", 9), ("a", "a", 7)]


UNEVEN = """\
system:
  arch: cuda
  gpu: {count: 4, capacity: 40GiB}
  nodes:
    - {name: a, ip: 192.168.11.11, main: true}
    - {name: b, gpu: {count: 2}, cpus: 8}
    - {name: c, gpu: {count: 8, capacity: 80GiB}}
"""


def test_a_node_may_have_other_devices_and_cores_than_the_rest(tmp_path: Path) -> None:
    system = from_file(tmp_path, UNEVEN)
    assert [(len(node.devices), node.devices[-1].memory_bytes, node.cpus) for node in system.nodes] == [
        (4, 40 * GIB, 32),
        (2, 40 * GIB, 8),
        (8, 80 * GIB, 32),
    ]
    assert [node["gpu"]["count"] for node in values(system)["nodes"]] == [4, 2, 8]
    assert (values(system)["gpu"]["count"], values(system, system.nodes[1])["gpu"]["count"]) == (4, 2)
    assert values(system, system.nodes[1])["cpu"]["count"] == 8
    asked = from_file(tmp_path, UNEVEN, gpus=1, cpus=2)
    assert [(len(node.devices), node.cpus) for node in asked.nodes] == [(1, 2)] * 3


def test_what_was_probed_here_is_no_other_nodes_identity(tmp_path: Path) -> None:
    here, there = from_file(tmp_path, OVERVIEW).nodes
    assert [device.uuid for device in here.devices] == ["GPU-0", "GPU-1"]
    assert [(device.uuid, device.numa, device.memory_bytes) for device in there.devices] == [(None, None, 80 * GIB)] * 2


PROBED: Mapping[str, Any] = {
    "hostname": "there",
    "arch": "cuda",
    "cpus": 8,
    "memory_bytes": 64 * GIB,
    "environ": {"HOME": "/home/bench"},
    "devices": [{"id": 0, "name": "Other", "uuid": "GPU-9", "memory_bytes": 40 * GIB, "numa": 1}],
    "python": "/usr/bin/python3.11",
    "python_version": "3.11.2",
    "machine": "aarch64",
    "shares_base": "manager",
    "interface": "eth1",
    "clock_offset_ns": -5,
}


def test_a_node_that_was_asked_is_as_it_says(tmp_path: Path) -> None:
    (tmp_path / "system.yaml").write_text(OVERVIEW)
    system = resolve(tmp_path / "system.yaml", FACTS, remote={"node1": PROBED})
    here, there = system.nodes
    assert (here.local, here.python, here.shares_base, here.cpus) == (True, None, None, 32)
    assert there.devices == (Device(id=0, name="Other", uuid="GPU-9", memory_bytes=40 * GIB, numa=1),)
    assert (there.local, there.cpus, there.memory_bytes, there.environ) == (False, 8, 64 * GIB, PROBED["environ"])
    assert (there.python, there.python_version, there.machine) == ("/usr/bin/python3.11", "3.11.2", "aarch64")
    assert (there.interface, there.clock_offset_ns, there.shares_base) == ("eth1", -5, "manager")
    assert values(system)["nodes"][1]["interface"] == "eth1"
    assert (system.facts, system.probed) == (FACTS, {"manager": FACTS, "node1": PROBED})


def test_the_main_node_says_what_the_system_is(tmp_path: Path) -> None:
    text = "system: {nodes: [{name: node1, ip: 10.0.0.1, main: true}, {name: node2, ip: 10.0.0.2}]}\n"
    (tmp_path / "system.yaml").write_text(text)
    system = resolve(tmp_path / "system.yaml", CPU_FACTS, remote={"node1": PROBED, "node2": {**PROBED, "devices": []}})
    assert (system.arch, system.facts) == ("cuda", PROBED)
    assert [len(node.devices) for node in system.nodes] == [1, 0]  # what is not there is not made up


def test_what_the_file_says_of_a_node_wins_over_what_it_says_itself(tmp_path: Path) -> None:
    key = "SHA256:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
    node = f"name: a, ip: 10.0.0.1, main: true, cpus: 2, gpu: {{count: 2}}, python: p, hostkey: '{key}'"
    text = f"system: {{nodes: [{{{node}}}]}}\n"
    (tmp_path / "system.yaml").write_text(text)
    asked = resolve(tmp_path / "system.yaml", FACTS).main
    assert (asked.python, asked.hostkey, asked.python_version) == ("p", key, "")
    found = resolve(tmp_path / "system.yaml", FACTS, remote={"a": PROBED}).main
    assert (found.cpus, [device.id for device in found.devices]) == (2, [0, 1])
    assert found.python == "/usr/bin/python3.11"  # the one that was found by it


def test_an_address_that_is_this_machines_and_was_probed_as_another_is_that_one() -> None:
    file_facts = {**FACTS, "hostname": "node1"}
    assert [node.local for node in resolve(None, file_facts, {"nodes": 2}).nodes] == [False, True]
    assert not resolve(None, file_facts, {"nodes": 2}, remote={"node1": PROBED}).nodes[1].local
