from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from milabench.errors import ConfigurationError, UsageError
from milabench.expression import holds
from milabench.system import Device, Operator, System, resolve, values
from milabench.system.containers import arguments

GIB = 1024**3
FACTS: Mapping[str, Any] = {
    "hostname": "here",
    "ips": ["192.168.11.11"],
    "arch": "cuda",
    "cpus": 32,
    "cpu_name": "Some CPU",
    "memory_bytes": 256 * GIB,
    "environ": {"HOME": "/home/user", "PATH": "/bin"},
    "devices": [
        {"id": 0, "name": "GPU", "uuid": "GPU-0", "memory_bytes": 80 * GIB, "numa": 0},
        {"id": 1, "name": "GPU", "uuid": "GPU-1", "memory_bytes": 80 * GIB, "numa": 1},
    ],
}
CPU_FACTS = {**FACTS, "arch": "cpu", "devices": []}
OVERVIEW = """\
system:
   arch: cuda                 # Default arch
   sshkey: ~/.ssh/id_ed25519  # sshkey used in remote milabench operations
   # Docker image to use
   docker_image: ghcr.io/mila-iqia/milabench:${system.arch}-nightly

   # Nodes list
   nodes:
      # Alias used to reference the node
      - name: manager
        ip: 192.168.11.11
        port: 5000
        main: true     # Use this node as the rank=0 node or not
        user: manager  # User to use in remote milabench operations

      - name: node1
        ip: 192.168.11.12
        main: false
        user: username
"""


def from_file(folder: Path, text: str, facts: Mapping[str, Any] = FACTS, **overrides: Any) -> System:
    path = folder / "system.yaml"
    path.write_text(text)
    return resolve(path, facts, overrides)


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


@pytest.mark.parametrize(
    ("nodes", "local"),
    [
        (["ip: 192.168.11.11, port: 5000"], [True]),  # where its own sshd listens
        (["ip: 127.0.0.1"], [True]),
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


def test_the_main_node_comes_first_and_the_ssh_port_wins(tmp_path: Path) -> None:
    text = "system: {nodes: [{name: a, sshport: 7, port: 8}, {name: b, main: true, port: '9'}]}\n"
    system = from_file(tmp_path, text)
    assert [(node.name, node.address, node.port) for node in system.nodes] == [("b", "b", 9), ("a", "a", 7)]


def test_arguments_of_containers_that_do_nothing_are_told_and_left_out(tmp_path: Path) -> None:
    system = from_file(tmp_path, "system: {docker: {image: i, base: /b, args: [-it, --rm, --gpus=all]}}\n")
    assert [(each.code, each.path) for each in system.warnings] == [
        ("W111", "system.docker.base"),
        ("W111", "system.docker.args"),
        ("W111", "system.docker.args"),
    ]
    assert arguments(system.options["docker.args"]) == ("--gpus=all",)


@pytest.mark.parametrize(
    ("named", "image"),
    [
        ("~/root", "/home/me/root"),
        ("$HOME/root:O", "/home/me/root:O"),
        ("/root", "/root"),
        ("e.org/~/i:1", "e.org/~/i:1"),
    ],
)
@pytest.mark.parametrize("key", ["docker_image", "docker.image"])
def test_an_image_may_be_a_path_from_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, named: str, image: str
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    inner = f"docker_image: {named}" if key == "docker_image" else f"docker: {{image: {named}}}"
    assert from_file(tmp_path, f"system: {{{inner}}}\n").container == image


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
    ("text", "codes"),
    [
        ("arch: cuda\nnodes: [{name: a, main: true}]\n", ["W109"]),
        ("system: {nodes: [{name: a}, {name: b}]}\n", ["W110"]),
        ("system: {arch: cuda, dash: true}\n", ["W111"]),
        ("system: {arch: cuda}\nmultirun: {runs: []}\n", []),
        ("system: {arch: cuda}\nmultirun: {cache: done.jsonl}\n", ["W111"]),
        ("system: null\n", []),
    ],
)
def test_what_is_old_or_does_nothing_is_a_warning(tmp_path: Path, text: str, codes: list[str]) -> None:
    assert [warning.code for warning in from_file(tmp_path, text).warnings] == codes


def test_a_lenient_reading_takes_the_last_of_doubled_keys_and_says_so(tmp_path: Path) -> None:
    text = "system: {arch: rocm, arch: cuda}\n"
    with pytest.raises(ConfigurationError, match="--legacy takes the last"):
        from_file(tmp_path, text)
    system = resolve(tmp_path / "system.yaml", FACTS, operator=Operator(lenient=True))
    assert (system.arch, [(each.code, str(each.mark)[-4:]) for each in system.warnings]) == ("cuda", [("W112", "1:22")])


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("base: /b", "system.base does nothing: it is an option of the command line"),
        ("dash: no", "system.dash does nothing: the terminal says what can be shown"),
        ("executor: {timeout: 3}", "system.executor does nothing: max_duration of a benchmark is it"),
    ],
)
def test_what_does_nothing_says_why(tmp_path: Path, key: str, why: str) -> None:
    assert [each.message for each in from_file(tmp_path, f"system: {{{key}}}\n").warnings] == [why]


@pytest.mark.parametrize(
    ("text", "code", "place", "suggestion"),
    [
        ("system: {arhc: cuda}\n", "E201", (1, 10), "arch"),
        ("sistem: {arch: cuda}\n", "E201", (1, 1), "system"),
        ("system:\n  nodes:\n    - {name: a, main: true, prot: 3}\n", "E201", (3, 29), "port"),
        ("system: {arch: cuda}\nx: 3\n", "E201", (2, 1), None),
        ("system: {arch: cdua}\n", "E306", (1, 16), "cuda"),
        ("system: {nodes: [{name: a, main: true}, {name: b, main: true}]}\n", "E215", (1, 41), None),
        ("system: {nodes: [{name: a, main: true}, {name: a}]}\n", "E208", (1, 41), None),
        ("system: {nodes: [{ip: a, main: true}]}\n", "E216", (1, 18), None),
        ("system: {nodes: {name: a}}\n", "E301", (1, 17), None),
        ("system: {nodes: [{name: a, main: yes}]}\n", "E301", (1, 34), None),
        ("system: {nodes: [{name: a, main: true, port: 99999}]}\n", "E302", (1, 46), None),
        ("system: {nodes: [{name: a, main: true, port: ssh}]}\n", "E301", (1, 46), None),
        ("system: {nodes: [{name: a/b, main: true}]}\n", "E209", (1, 25), None),
        ("system: {nodes: [{name: a, main: true, gpu: {cout: 3}}]}\n", "E201", (1, 46), "count"),
        ("system: {nodes: [{name: a, main: true, cpus: 0}]}\n", "E302", (1, 46), None),
        ("system: {gpu: {capacity: 10m}}\n", "E303", (1, 26), None),
        ("system: {gpu: {count: 3000000000}, arch: cuda}\n", "E302", (1, 23), None),
        ("system: {nodes: [{name: a, main: true, gpu: {count: 1001}}]}\n", "E302", (1, 53), None),
        ("system: {gpu: {count: many}}\n", "E301", (1, 23), None),
        ("system: {docker_image: 'm:${system.arhc}', arch: cuda}\n", "E205", (1, 24), "arch"),
        ("system: [1]\n", "E301", (1, 9), None),
        ("system: {options: 3}\n", "E301", (1, 19), None),
    ],
)
def test_what_is_wrong_in_a_file_is_one_mistake_with_its_place(
    tmp_path: Path, text: str, code: str, place: tuple[int, int], suggestion: str | None
) -> None:
    with pytest.raises(ConfigurationError) as raised:
        from_file(tmp_path, text)
    (problem,) = raised.value.problems
    assert problem.mark is not None
    assert (problem.code, (problem.mark.line, problem.mark.column), problem.suggestion) == (code, place, suggestion)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no such file"):
        resolve(tmp_path / "nowhere.yaml", FACTS)


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
