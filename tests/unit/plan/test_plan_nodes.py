"""Plans over several nodes: what runs where, and what each process is told of its own node."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from plans import FACTS, planned

from milabench.plan import Command, Plan, codec

UNEVEN = """
system:
  arch: cuda
  nodes:
    - {name: a, ip: 10.0.0.1, main: true, gpu: {count: 4}, cpus: 64}
    - {name: b, ip: 10.0.0.2, gpu: {count: 2}, cpus: 8}
"""
HERE: dict[str, Any] = {**FACTS, "ips": ["10.0.0.1"]}
SUITE = 'one: {{definition: bench, plan: {{method: {method}}}, argv: {{--workers: "{{cpu_per_gpu}}"}}{more}}}\n'


def files(method: str = "per_node", more: str = "", **others: str) -> dict[str, str]:
    named = {name.replace("__", "/") + ".py": text for name, text in others.items()}
    return {"suite.yaml": SUITE.format(method=method, more=more), "bench/main.py": "", "system.yaml": UNEVEN, **named}


def commands(plan: Plan) -> list[Command]:
    return [command for trial in plan.trials for job in trial.jobs for command in job.commands]


def test_per_node_is_a_trial_with_a_job_on_every_node(tmp_path: Path) -> None:
    plan = planned(tmp_path, files(), repeats=2, facts=HERE)
    assert [(trial.id, [job.tag for job in trial.jobs]) for trial in plan.trials] == [
        ("one", ["one.a", "one.b"]),
        ("one.R1", ["one.R1.a", "one.R1.b"]),
    ]
    assert [(each.tag, each.node, each.devices) for each in commands(plan)][:2] == [
        ("one.a", "a", (0, 1, 2, 3)),
        ("one.b", "b", (0, 1)),
    ]


@pytest.mark.parametrize("what", ["definition", "command"])
def test_a_process_is_told_of_its_own_node(tmp_path: Path, what: str) -> None:
    found = files()
    if what == "command":
        found["suite.yaml"] = "one: {command: {argv: [x, '{cpu_per_gpu}']}, plan: {method: per_node}}\n"
    first, second = commands(planned(tmp_path, found, facts=HERE))
    assert (first.argv[-1], second.argv[-1]) == ("16", "4")
    assert (first.env["OMP_NUM_THREADS"], second.env["OMP_NUM_THREADS"]) == ("16", "4")
    assert (first.env["CUDA_VISIBLE_DEVICES"], second.env["CUDA_VISIBLE_DEVICES"]) == ("0,1,2,3", "0,1")
    if what == "definition":
        assert first.env["PATH"] == "/base/venv/one/bin:/bin"
        assert second.env["PATH"] == "/base/venv/one/bin:/usr/local/bin:/usr/bin:/bin"  # its own is not known here


def test_a_processs_configuration_has_the_placeholders_of_its_node(tmp_path: Path) -> None:
    plan = planned(tmp_path, files(), facts=HERE)
    assert plan.node_configs == {"b": {"one": {"argv": {"--workers": "4"}}}}
    configs = [plan.config_of(command) for command in commands(plan)]
    assert [(config["argv"], config["tag"], config["devices"]) for config in configs] == [
        ({"--workers": "16"}, ["one", "a"], [0, 1, 2, 3]),
        ({"--workers": "4"}, ["one", "b"], [0, 1]),
    ]
    assert codec.from_json(json.loads("".join(codec.lines(plan)))).node_configs == plan.node_configs


def test_a_benchfile_is_asked_for_every_node(tmp_path: Path) -> None:
    benchfile = """
    from milabench.commands import CmdCommand, PackCommand, TorchrunAllGPU
    from milabench.pack import Package

    class __pack__(Package):
        def build_run_plan(self):
            system = self.config["system"]
            return TorchrunAllGPU(PackCommand(self, str(system["gpu"]["count"]), str(system["cpu"]["count"])))
    """
    found = commands(planned(tmp_path, files(bench__benchfile=benchfile), facts=HERE))
    assert [each.argv[-2:] for each in found] == [("4", "64"), ("2", "8")]
    assert [each.argv[1] for each in found] == ["--nproc-per-node=4", "--nproc-per-node=2"]


def test_parts_of_a_benchmark_stand_behind_the_node(tmp_path: Path) -> None:
    benchfile = """
    from milabench.commands import ClientServer, CmdCommand
    from milabench.pack import Package

    class __pack__(Package):
        def build_run_plan(self):
            client, server = ClientServer.new_client_pack(self), ClientServer.new_server_pack(self)
            return ClientServer(self, client=CmdCommand(client, "ask"), server=CmdCommand(server, "serve"))
    """
    found = commands(planned(tmp_path, files(bench__benchfile=benchfile), facts=HERE))
    assert [each.tag for each in found] == ["one.a.server", "one.a.client", "one.b.server", "one.b.client"]


def test_on_a_system_of_one_node_the_tag_is_the_name(tmp_path: Path) -> None:
    found = files()
    del found["system.yaml"]
    plan = planned(tmp_path, found, arch="cuda", gpus=2)
    assert [(each.tag, each.devices) for each in commands(plan)] == [("one", (0, 1))]
    assert plan.node_configs == {}


def test_conditions_are_asked_of_every_node(tmp_path: Path) -> None:
    plan = planned(tmp_path, files(more=", requires_capabilities: ['gpu.count > 2']"), facts=HERE)
    assert [each.tag for each in commands(plan)] == ["one.a"]
    assert [(skip.benchmark, skip.reason) for skip in plan.skipped] == [("one", "not on b: requires gpu.count > 2")]


def test_what_no_node_fulfils_is_one_skip(tmp_path: Path) -> None:
    plan = planned(tmp_path, files(more=", requires_capabilities: ['gpu.count > 8']"), facts=HERE)
    assert (plan.trials, [skip.reason for skip in plan.skipped]) == ((), ["requires gpu.count > 8"])


@pytest.mark.parametrize(
    ("method", "tags"), [("per_gpu", ["one.D0", "one.D1", "one.D2", "one.D3"]), ("njobs", ["one"])]
)
def test_other_placements_are_on_the_main_node(tmp_path: Path, method: str, tags: list[str]) -> None:
    found = commands(planned(tmp_path, files(method), facts=HERE))
    assert [(each.tag, each.node) for each in found] == [(tag, "a") for tag in tags]


MANY = """
    from milabench.commands import *
    from milabench.pack import Package

    class __pack__(Package):
        def build_run_plan(self):
            return {body}
    """


def many(body: str, method: str = "njobs") -> dict[str, str]:
    return files(method, ", num_machines: 2", bench__benchfile=MANY.format(body=body))


def test_a_job_over_nodes_has_each_nodes_devices_and_surroundings(tmp_path: Path) -> None:
    body = "TorchrunAllNodes(PackCommand(self, lazy=True))"
    first, second = commands(planned(tmp_path, many(body), facts=HERE))
    assert [(each.tag, each.node, each.devices) for each in (first, second)] == [
        ("one.a", "a", (0, 1, 2, 3)),
        ("one.b", "b", (0, 1)),
    ]
    assert ("--nproc-per-node=4" in first.argv, "--nproc-per-node=2" in second.argv) == (True, True)
    assert (first.env["CUDA_VISIBLE_DEVICES"], second.env["CUDA_VISIBLE_DEVICES"]) == ("0,1,2,3", "0,1")
    assert (first.env["OMP_NUM_THREADS"], second.env["OMP_NUM_THREADS"]) == ("16", "4")
    assert second.env["PATH"] == "/base/venv/one/bin:/usr/local/bin:/usr/bin:/bin"


def test_the_shell_form_says_the_node_where_there_are_several(tmp_path: Path) -> None:
    jobs = codec.to_shell(planned(tmp_path, files(), facts=HERE))
    together = codec.to_shell(planned(tmp_path, many("TorchrunAllNodes(PackCommand(self, lazy=True))"), facts=HERE))
    for script in (jobs, together):
        lines = script.splitlines()
        assert [lines[number + 1][:4] for number, line in enumerate(lines) if line in ("# on a", "# on b")] == [
            "(cd ",
            "(cd ",
        ]
    alone = codec.to_shell(planned(tmp_path, files("per_gpu"), facts=HERE))
    assert "# on " not in alone
    assert "# Time limits are not part of this script" in alone


def test_the_arguments_of_a_job_over_nodes_are_those_of_the_main_node(tmp_path: Path) -> None:
    found = commands(planned(tmp_path, many("ForeachNode(PackCommand(self, lazy=True))"), facts=HERE))
    assert [each.argv[-1] for each in found] == ["16", "16"]


def test_ranks_on_cpus_share_the_cores_of_their_node(tmp_path: Path) -> None:
    body = "TorchrunAllNodes(PackCommand(self, lazy=True), cpu_ranks=4)"
    made = {**many(body), "system.yaml": UNEVEN.replace("cuda", "cpu").replace("cpus: 8", "cpus: 2")}
    first, second = commands(planned(tmp_path, made, facts=HERE))
    assert ("--nproc-per-node=4" in first.argv, "--nproc-per-node=2" in second.argv) == (True, True)
    assert (first.env["OMP_NUM_THREADS"], second.env["OMP_NUM_THREADS"]) == ("16", "1")


def test_a_share_of_the_devices_is_one_on_every_node(tmp_path: Path) -> None:
    made = many("TorchrunAllNodes(PackCommand(self, lazy=True))", "njobs, n: 2, share: true")
    found = commands(planned(tmp_path, made, facts=HERE))
    assert [(each.tag, each.devices) for each in found] == [
        ("one.0.a", (0, 2)),
        ("one.0.b", (0,)),
        ("one.1.a", (1, 3)),
        ("one.1.b", (1,)),
    ]


@pytest.mark.parametrize(
    ("command", "method", "reason"),
    [  # the jobs of the main node's third and fourth device have none on the other node
        (
            "Torchrun",
            "per_gpu",
            "torchrun starts a rank on each device of every node, and b has none in the place of a's 2",
        ),
        (
            "Accelerate",
            "njobs",
            "accelerate starts as many processes on every node, one on each device, and a has 4 for it, b has 2",
        ),
    ],
)
def test_what_a_launcher_cannot_place_on_uneven_nodes_is_skipped_and_the_rest_is_run(
    tmp_path: Path, command: str, method: str, reason: str
) -> None:
    made = many(f"{command}AllNodes(PackCommand(self, lazy=True))", method)
    made["suite.yaml"] += "two: {definition: other, plan: {method: njobs}}\n"
    plan = planned(tmp_path, {**made, "other/main.py": ""}, repeats=2, facts=HERE)
    assert [(each.benchmark, each.reason) for each in plan.skipped] == [("one", reason)]
    assert [trial.id for trial in plan.trials] == ["two", "two.R1"]


def test_nodes_of_one_address_are_told_apart_by_name(tmp_path: Path) -> None:
    made = many("ForeachNode(PackCommand(self, lazy=True))")
    made["system.yaml"] = UNEVEN.replace("10.0.0.2", "10.0.0.1, port: 2222")
    assert [each.node for each in commands(planned(tmp_path, made, facts=HERE))] == ["a", "b"]


SLICED: dict[str, Any] = {
    **FACTS,
    "arch": "cuda",
    "devices": [
        {"id": 0, "name": "GPU MIG 1g.10gb", "uuid": "MIG-0", "memory_bytes": 10 * 2**30, "parent": 0},
        {"id": 1, "name": "GPU MIG 1g.10gb", "uuid": "MIG-1", "memory_bytes": 10 * 2**30, "parent": 0},
        {"id": 2, "name": "GPU", "uuid": "GPU-1", "memory_bytes": 80 * 2**30},
    ],
}


def on_slices(folder: Path, plan: str, devices: slice = slice(None), what: str = "definition: bench") -> Plan:
    written = {"suite.yaml": f"one: {{{what}, plan: {plan}}}\n", "bench/main.py": ""}
    return planned(folder, written, facts={**SLICED, "devices": SLICED["devices"][devices]})


@pytest.mark.parametrize("what", ["definition: bench", "command: {argv: [x]}"])
@pytest.mark.parametrize(
    ("plan", "tags"),
    [
        ("{method: per_gpu}", ["one.D0", "one.D1", "one.D2"]),
        ("{method: njobs, n: 3, share: true}", ["one.0", "one.1", "one.2"]),
    ],
)
def test_slices_are_shown_by_their_uuids_and_named_by_their_numbers(
    tmp_path: Path, plan: str, tags: list[str], what: str
) -> None:
    found = commands(on_slices(tmp_path, plan, what=what))
    assert [each.tag for each in found] == tags
    assert [(each.devices, each.env["CUDA_VISIBLE_DEVICES"]) for each in found] == [
        ((0,), "MIG-0"),
        ((1,), "MIG-1"),
        ((2,), "GPU-1"),
    ]


@pytest.mark.parametrize("what", ["definition: bench", "command: {argv: [x]}"])
@pytest.mark.parametrize(
    "plan", ["{method: njobs}", "{method: njobs, n: 2}", "{method: njobs, n: 2, share: true}", "{method: per_node}"]
)
def test_several_slices_for_one_process_are_a_skip_that_says_why(tmp_path: Path, plan: str, what: str) -> None:
    found = on_slices(tmp_path, plan, what=what)
    assert found.trials == ()
    (skip,) = found.skipped
    assert "several MIG slices, and CUDA shows a process one only" in skip.reason
    assert skip.reason.endswith("njobs with share: true and n: 3")


@pytest.mark.parametrize("plan", ["{method: njobs}", "{method: per_node}"])
def test_one_slice_alone_is_a_device_like_any(tmp_path: Path, plan: str) -> None:
    (found,) = commands(on_slices(tmp_path, plan, slice(1)))
    assert (found.devices, found.env["CUDA_VISIBLE_DEVICES"]) == ((0,), "MIG-0")
