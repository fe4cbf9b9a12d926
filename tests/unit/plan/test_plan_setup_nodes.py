"""Installing and preparing on several nodes: once for each base, with what travels to it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from plans import FACTS, SITE, planned, workspace

from milabench import plan as planning
from milabench.plan import Command, Job, Plan, Tools, Workspace, codec
from milabench.tools import Tool

SYSTEM = """
system:
  arch: cpu
  nodes:
    - {name: a, ip: 10.0.0.1, main: true}
    - {name: b, ip: 10.0.0.2}
    - {name: c, ip: 10.0.0.3}
"""
FILES = {
    "suite.yaml": """
    all: {definition: all, install_group: torch, plan: {method: per_node}}
    one: {definition: one, install_group: torch, plan: {method: per_gpu}}
    two: {definition: two, install_group: two, plan: {method: njobs, n: 1}, num_machines: 2}
    """,
    "system.yaml": SYSTEM,
    **{f"{name}/{file}": "" for name in ("all", "one", "two") for file in ("main.py", "prepare.py")},
    "all/requirements.in": "numpy\n",
}
OWN = """
from milabench.pack import Package

class __pack__(Package):
    async def install(self): ...
    async def prepare(self): ...
    async def run(self): ...
"""
TOOLS = Tools(
    folder="/cache/tools",
    seeds=Tool(name="pip-1", files={name: Path() for name in ("pip-1.whl", "setuptools-1.whl")}),
    sources=Tool(name="milabench-1", files={}),
    uv=Tool(name="uv-1", files={}),
    machine="x86_64",
)
HERE: dict[str, Any] = {**FACTS, "ips": ["10.0.0.1"]}
PYTHON = {"local": False, "python": "/opt/python", "python_version": "3.12.1", "machine": "x86_64"}


def ready(folder: Path, files: Mapping[str, str] = FILES, **nodes: Mapping[str, Any]) -> Workspace:
    """Return what plans are made of, where nodes have said of themselves what is given."""
    found = workspace(folder, files, site=replace(SITE, tools=TOOLS), facts=HERE)
    told = tuple(replace(node, **nodes.get(node.name, {})) for node in found.system.nodes)
    return replace(found, system=replace(found.system, nodes=told))


def jobs(plan: Plan) -> dict[str, list[tuple[str, str]]]:
    """Return the jobs of each trial: their tags, and where they run."""
    return {trial.benchmark: [(job.tag, job.commands[0].node) for job in trial.jobs] for trial in plan.trials}


def commands(job: Job) -> dict[str, Command]:
    return {command.tag: command for command in job.commands}


def test_each_node_that_a_benchmark_runs_on_installs_and_prepares_for_itself(tmp_path: Path) -> None:
    made = ready(tmp_path)
    assert jobs(planning.plan(made, "install")) == {
        "torch": [("torch", "a"), ("torch.b", "b"), ("torch.c", "c")],
        "two": [("two", "a"), ("two.b", "b")],
    }
    assert jobs(planning.plan(made, "prepare")) == {
        "all": [("all", "a"), ("all.b", "b"), ("all.c", "c")],
        "one": [("one", "a")],
        "two": [("two", "a"), ("two.b", "b")],
    }


def test_a_node_installs_the_requirements_of_what_runs_there(tmp_path: Path) -> None:
    first, second, _ = planning.plan(ready(tmp_path), "install").trials[0].jobs
    assert [each.target for each in first.staged][:2] == ["/base/code/all", "/base/code/one"]
    assert [each.target for each in second.staged][:1] == ["/base/code/all"]
    assert "/base/code/one" not in [each.target for each in second.staged]
    assert list(commands(second)) == ["torch.b.virtualenv", "torch.b.packages"]


def test_a_node_gets_the_wheels_of_a_bundle_that_the_group_needs(tmp_path: Path) -> None:
    made = ready(tmp_path, b=PYTHON)
    wheels = {"torch": ("a.whl", "big.whl"), "two": ("a.whl",)}
    site = replace(made.site, bundle="/base/bundles/1", wheels=wheels)
    groups = planning.plan(replace(made, site=site), "install").trials
    sent = {
        group.benchmark: {each.target for each in group.jobs[1].staged if "/bundles/" in each.target}
        for group in groups
    }
    assert sent == {
        "torch": {f"/base/bundles/1/{name}" for name in ("wheels/a.whl", "wheels/big.whl", "locks/torch.txt")},
        "two": {f"/base/bundles/1/{name}" for name in ("wheels/a.whl", "locks/two.txt")},
    }
    assert all(each.source == each.target for each in groups[0].jobs[1].staged if "/bundles/" in each.target)


@pytest.mark.parametrize(
    ("cwd", "sent"),
    [
        ("base/bundles/1/code/tool.command", ["base/bundles/1/code/tool.command"]),
        ("base/bundles/1", ["base/bundles/1/suite.yaml"]),
        ("base/data", []),
        ("elsewhere", []),
    ],
    ids=["its own", "of the bundle as a whole", "another below the base", "elsewhere"],
)
def test_the_folder_of_a_command_travels_where_it_is_of_a_bundle(tmp_path: Path, cwd: str, sent: list[str]) -> None:
    (tmp_path / cwd).mkdir(parents=True)
    suite = f"tool: {{command: {{argv: [sh, x.sh], cwd: {cwd}}}, plan: {{method: per_node}}}}"
    made = ready(tmp_path, {**FILES, "suite.yaml": suite}, b=PYTHON)
    made = replace(made, site=replace(made.site, base=str(tmp_path / "base")))
    (job, *_) = planning.plan(made, "run").trials[0].jobs
    assert [(each.source, each.target) for each in job.staged] == [(str(tmp_path / name),) * 2 for name in sent]


def test_data_that_a_bundle_brought_is_prepared_anew_where_other_data_was_prepared(tmp_path: Path) -> None:
    made = ready(tmp_path)
    parts = [
        planning.needs(replace(made, site=replace(made.site, data=data)))[1]["all"].parts for data in ("", "1", "2")
    ]
    assert [each.get("bundle") for each in parts] == [None, "1", "2"]
    assert parts[0].items() < parts[1].items()


def test_bases_of_other_machines_are_to_have_the_data_of_the_bundle_that_is_measured(tmp_path: Path) -> None:
    made = ready(tmp_path)
    assert not any(planning.DELIVERY in data for _, data in planning.needs_of_all(made).values())
    needs = planning.needs_of_all(replace(made, site=replace(made.site, delivers="1")))
    assert {name: data[planning.DELIVERY].parts for name, (_, data) in needs.items() if planning.DELIVERY in data} == {
        "b": {"data": "1"},
        "c": {"data": "1"},
    }


@pytest.mark.parametrize(("version", "setuptools"), [("3.10.1", True), ("3.11", True), ("3.12.0", False), ("", True)])
def test_an_environment_begins_with_what_virtualenv_would_put_in(
    tmp_path: Path, version: str, setuptools: bool
) -> None:
    made = ready(tmp_path, b={**PYTHON, "python_version": version})
    seed = planning.plan(made, "install").trials[0].jobs[1].commands[1]
    assert ("/base/cache/tools/pip-1/setuptools-1.whl" in seed.argv) == setuptools


@pytest.mark.parametrize(
    ("shared", "installing"),
    [
        ({"b": "a", "c": "a"}, ["a"]),
        ({"c": "b"}, ["a", "b"]),
        ({"a": "", "b": "", "c": ""}, ["a"]),
        ({"b": "", "c": ""}, ["a", "b"]),
    ],
)
def test_nodes_that_share_a_base_install_and_prepare_once(
    tmp_path: Path, shared: dict[str, str], installing: list[str]
) -> None:
    made = ready(tmp_path, **{name: {"shares_base": base} for name, base in shared.items()})
    assert [node.name for node in planning.keepers(made.system)] == installing
    for phase in ("install", "prepare"):
        trial = planning.plan(made, phase).trials[0]  # type: ignore[arg-type]
        assert [job.commands[0].node for job in trial.jobs] == installing


def test_what_a_node_needs_is_what_runs_on_its_base(tmp_path: Path) -> None:
    made = ready(tmp_path, c={"shares_base": "b"})
    found = {node.name: planning.needs(made, node) for node in made.system.nodes}
    assert {name: (sorted(envs), sorted(data)) for name, (envs, data) in found.items()} == {
        "a": (["torch", "two"], ["all", "one", "two"]),
        "b": (["torch", "two"], ["all", "two"]),
        "c": (["torch", "two"], ["all", "two"]),
    }
    assert planning.needs(made) == found["a"]


def test_what_is_needed_on_a_node_is_what_its_job_records(tmp_path: Path) -> None:
    made = ready(tmp_path, b=PYTHON, c=PYTHON)
    for trial in planning.plan(made, "install").trials:
        for job in trial.jobs:
            node = next(node for node in made.system.nodes if node.name == job.commands[0].node)
            environments, _ = planning.needs(made, node)
            assert environments[trial.benchmark] == job.once
    assert planning.needs(made, made.system.nodes[1])[0]["torch"].base["python"] == "3.12.1"


def test_another_machine_makes_environments_by_what_travels_into_its_base(tmp_path: Path) -> None:
    made = ready(tmp_path, {**FILES, "all/benchfile.py": OWN}, b=PYTHON, c={**PYTHON, "machine": "aarch64"})
    here, there, foreign = planning.plan(made, "install").trials[0].jobs
    tools = "/base/cache/tools"
    make, seed, fill, own = there.commands
    assert make.argv == ("/opt/python", "-I", "-m", "venv", "--without-pip", "/base/venv/torch")
    assert seed.argv[:3] == ("/base/venv/torch/bin/python", f"{tools}/pip-1/pip-1.whl/pip", "install")
    assert seed.argv[-2:] == ("--disable-pip-version-check", f"{tools}/pip-1/pip-1.whl")  # its Python is 3.12
    assert fill.argv[0] == fill.env["MILABENCH_UV"] == f"{tools}/uv-1/uv"
    assert own.argv[0] == "/opt/python"
    assert f"['{tools}/milabench-1']" in own.argv[2]
    assert [(each.source, each.target) for each in there.staged][:3] == [
        (f"/cache/tools/{name}", f"{tools}/{name}") for name in ("pip-1", "milabench-1", "uv-1")
    ]
    assert here.commands[0].argv[:3] == ("/usr/bin/python3", "-m", "virtualenv")
    assert not any(each.target.startswith(tools) for each in here.staged)
    # uv is a program: pip, which each environment has, does it elsewhere
    assert foreign.commands[2].argv[:4] == ("/base/venv/torch/bin/python", "-m", "pip", "install")
    assert "MILABENCH_UV" not in foreign.commands[2].env
    assert f"{tools}/uv-1" not in [each.target for each in foreign.staged]


@pytest.mark.parametrize("phase", ["prepare", "run"])
def test_a_coroutine_on_another_machine_is_awaited_by_its_python(tmp_path: Path, phase: Any) -> None:
    made = ready(tmp_path, {**FILES, "all/benchfile.py": OWN}, b=PYTHON)
    trial = planning.plan(made, phase).trials[0]
    there = next(job for job in trial.jobs if job.commands[0].node == "b")
    assert there.commands[0].argv[0] == "/opt/python"
    assert "/base/cache/tools/milabench-1" in [each.target for each in there.staged]
    assert [each.target for each in there.staged if each.fresh] == []


def test_the_constraints_travel_with_the_requirements(tmp_path: Path) -> None:
    files = {**FILES, "constraints/cpu.txt": "numpy==1\n"}
    site = replace(SITE, tools=TOOLS, constraints=str(tmp_path / "constraints"))
    for job in planned(tmp_path, files, "install", site=site).trials[0].jobs:
        argv = job.commands[1].argv
        path = Path(argv[argv.index("-c") + 1])
        assert path.name == "cpu.txt"
        assert (str(tmp_path / "constraints"), str(path.parent)) in [(each.source, each.target) for each in job.staged]


def test_a_coroutine_sees_the_hardware_of_its_own_node(tmp_path: Path) -> None:
    made = ready(tmp_path, b={"cpus": 3})
    plan = planning.plan(made, "install")
    for job in plan.trials[0].jobs:
        command = job.commands[0]
        assert plan.config_of(command)["system"]["cpu"]["count"] == (3 if command.node == "b" else 16)
    assert codec.from_json(json.loads("".join(codec.lines(plan)))) == plan


def test_requirements_are_locked_on_this_machine_wherever_the_nodes_are(tmp_path: Path) -> None:
    made = ready(tmp_path, a={**PYTHON, "machine": "aarch64"})
    plan, _ = planning.pins(made)
    for command in plan.trials[0].commands:
        assert (command.node, command.argv[0]) == ("here", "/usr/bin/uv")
