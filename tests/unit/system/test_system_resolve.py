"""A system from its file, the probes of this machine and the command line; what conditions see of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from system_files import CPU_FACTS, FACTS, GIB, OVERVIEW, from_file

from milabench.errors import UsageError
from milabench.expression import holds
from milabench.system import Device, Operator, resolve, values


def test_without_a_file_it_is_this_machine() -> None:
    system = resolve(None, FACTS)
    (node,) = system.nodes
    assert (system.arch, node.name, node.address, node.main, node.port, node.cpus) == (
        "cuda",
        "local",
        "localhost",
        True,
        22,
        32,
    )
    assert node.devices[1] == Device(id=1, name="GPU", uuid="GPU-1", memory_bytes=80 * GIB, numa=1)
    assert node.environ == FACTS["environ"]
    assert system.facts is FACTS


def test_a_machine_without_accelerators_is_one_device() -> None:
    system = resolve(None, CPU_FACTS)
    assert system.main.devices == (Device(id=0, name="Some CPU", memory_bytes=256 * GIB),)
    assert values(system)["gpu"] == {"arch": "cpu", "count": 0, "capacity": 0}


def test_the_systems_of_the_overview(tmp_path: Path) -> None:
    system = from_file(tmp_path, OVERVIEW)
    assert system.container == "ghcr.io/mila-iqia/milabench:cuda-nightly"
    assert system.options.given == {"sshkey": "~/.ssh/id_ed25519"}
    assert [(node.name, node.address, node.port, node.user, node.main) for node in system.nodes] == [
        ("manager", "192.168.11.11", 5000, "manager", True),
        ("node1", "192.168.11.12", 22, "username", False),
    ]
    assert [node.local for node in system.nodes] == [True, False]
    assert [dict(node.environ) for node in system.nodes] == [FACTS["environ"], {}]
    assert system.warnings == ()


@pytest.mark.parametrize(
    ("overrides", "devices", "nodes"),
    [
        ({"arch": "cuda", "gpus": 8, "nodes": 2, "gpu_memory": 40 * GIB, "cpus": 64}, 8, ["node0", "node1"]),
        ({"gpus": 1}, 1, ["local"]),
        ({"gpus": 0}, 0, ["local"]),
        ({"arch": "rocm"}, 0, ["local"]),
        ({"arch": "rocm", "gpus": 4}, 4, ["local"]),
        ({"arch": "cpu", "gpus": 0}, 1, ["local"]),
        ({"gpus": None, "nodes": None}, 2, ["local"]),
        ({"nodes": 1}, 2, ["local"]),
    ],
)
def test_what_the_command_line_asks_for_is_made_up(overrides: dict[str, Any], devices: int, nodes: list[str]) -> None:
    system = resolve(None, FACTS, overrides)
    assert [node.name for node in system.nodes] == nodes
    assert [len(node.devices) for node in system.nodes] == [devices] * len(nodes)
    assert system.main.devices[:1] == () or system.main.devices[0].id == 0
    assert system.main.main


def test_made_up_devices_have_no_number_of_a_probed_one() -> None:
    shown = {**FACTS, "devices": [{**FACTS["devices"][1], "id": number} for number in (1, 3)]}
    assert [device.id for device in resolve(None, shown, {"gpus": 5}).main.devices] == [1, 3, 0, 2, 4]


@pytest.mark.parametrize("override", [{"gpus": 4}, {"gpu_memory": 80 * GIB}, {"arch": "cpu", "gpus": 4}])
def test_accelerators_of_a_cpu_are_refused(override: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"give --arch \(cuda, rocm, xpu, hpu\)"):
        resolve(None, CPU_FACTS, override)


def test_references_look_into_the_operators_environment(tmp_path: Path) -> None:
    path = tmp_path / "system.yaml"
    path.write_text("system: {nodes: [{name: a, ip: '${oc.env:ADDRESS}', main: true}]}\n")
    assert (
        resolve(path, {**FACTS, "environ": {}}, operator=Operator(environ={"ADDRESS": "10.0.0.1"})).main.address
        == "10.0.0.1"
    )
    assert resolve(path, {**FACTS, "environ": {"ADDRESS": "10.0.0.2"}}).main.address == "10.0.0.2"


def test_made_up_devices_have_the_memory_that_is_asked_for() -> None:
    system = resolve(None, CPU_FACTS, {"arch": "cuda", "gpus": 2, "gpu_memory": 80 * GIB, "cpus": 64})
    assert system.main.devices == (
        Device(id=0, name="cuda:0", memory_bytes=80 * GIB),
        Device(id=1, name="cuda:1", memory_bytes=80 * GIB),
    )
    assert system.main.cpus == 64
    assert values(system)["gpu"] == {"arch": "cuda", "count": 2, "capacity": 80 * GIB}


def test_nodes_of_the_file_come_before_made_up_ones(tmp_path: Path) -> None:
    assert [node.name for node in from_file(tmp_path, OVERVIEW, nodes=3).nodes] == ["manager", "node1", "node0"]
    assert [node.name for node in from_file(tmp_path, OVERVIEW, nodes=1).nodes] == ["manager"]


def test_the_file_wins_over_probes_and_the_command_line_over_the_file(tmp_path: Path) -> None:
    text = "system: {arch: rocm, gpu: {count: 4, capacity: 64Go}}\n"
    assert from_file(tmp_path, text).main.devices[3] == Device(id=3, name="rocm:3", memory_bytes=64 * 10**9)
    assert len(from_file(tmp_path, text, gpus=2).main.devices) == 2
    assert from_file(tmp_path, text, arch="cuda").arch == "cuda"


def test_docker_dirs_and_options_are_handed_on(tmp_path: Path) -> None:
    text = (
        "system:\n  docker: {executable: podman, image: i, base: /b, args: [-v, '${system.docker.base}/data:/d']}\n"
        "  dirs: {data: '${oc.env:HOME}/data'}\n  options: {torchrun: {port: 1}}\n  x-note: mine\n"
    )
    system = from_file(tmp_path, text)
    assert system.container == "i"
    options = values(system)["options"]
    assert (options["torchrun"]["port"], options["dirs"]["data"]) == (1, "/home/user/data")
    assert options["docker"] == {"executable": "podman", "image": "i", "base": "/b", "args": ["-v", "/b/data:/d"]}


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"arch": "tpu"}, "needs one of cuda"),
        ({"gpus": -1}, "--gpus -1: needs at least 0"),
        ({"nodes": 0}, "--nodes 0: needs at least 1"),
        ({"arch": "cuda", "gpus": 3_000_000_000}, "--gpus 3000000000: needs at most 1000"),
        ({"nodes": 3_000_000_000}, "--nodes 3000000000: needs at most 10000"),
        ({"gpu_memory": 0}, "--gpu-memory 0: needs at least 1"),
        ({"gpu": 3}, "did you mean 'gpus'"),
    ],
)
def test_an_override_that_cannot_be_is_a_usage_error(overrides: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        resolve(None, FACTS, overrides)


@pytest.mark.parametrize(
    ("condition", "holding"),
    [
        ("options.cpu.enabled == false", True),
        ("options.sizer.multiple > 8", False),
        ("options.cpu.n_workers == null", True),
        ("options['torchrun']['port'] == 1", True),
    ],
)
def test_conditions_see_options_and_their_defaults(tmp_path: Path, condition: str, holding: bool) -> None:
    system = from_file(tmp_path, "system: {options: {torchrun.port: 1}}\n")
    assert holds(condition, values(system)) is holding


def test_conditions_see_the_system(tmp_path: Path) -> None:
    names = values(from_file(tmp_path, OVERVIEW))
    assert holds("gpu['count'] > 1 and len(nodes) >= 2 and gpu.capacity >= 80 GiB", names)
    assert holds("nodes >= 2", names)
    assert names["nodes"][1] == {
        "name": "node1",
        "ip": "192.168.11.12",
        "user": "username",
        "port": 22,
        "main": False,
        "devices": [0, 1],
        "interface": None,
        "gpu": {"arch": "cuda", "count": 2, "capacity": 80 * GIB},
        "cpu": {"count": 32, "memory": 256 * GIB},
    }
