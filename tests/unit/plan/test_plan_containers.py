"""Plans of a system that names a container image: every process of install, prepare and run is in one."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from plans import SITE, workspace

from milabench import plan as planning
from milabench.agent.container import Container
from milabench.errors import ConfigurationError
from milabench.plan import Image, Phase, Plan, Tools, Workspace, codec
from milabench.render.plan import render
from milabench.tools import Tool

FILES = {
    "suite.yaml": """
        folder: {definition: bench, plan: {method: njobs, n: 1}}
        own: {definition: own, plan: {method: njobs, n: 1}}
        program: {command: {argv: [tool, --x]}, plan: {method: per_gpu}}
    """,
    "bench/main.py": "",
    "bench/prepare.py": "",
    "own/benchfile.py": """
        from milabench.pack import Package

        class Own(Package):
            async def install(self): ...
            async def run(self): ...

        __pack__ = Own
    """,
}
TOOLS = Tools(
    folder="/cache/tools",
    seeds=Tool(name="seeds-1", files={"pip-1-py3-none-any.whl": Path("/pip.whl")}),
    sources=Tool(name="milabench-1", files={}),
    uv=Tool(name="uv-1", files={}),
    machine="x86_64",
)
IMAGE = Image(id="sha256:1", digest="sha256:a", root=None, machine="x86_64")


def made(folder: Path, docker: str = "{image: 'i:1'}", **keys: object) -> Workspace:
    files = {**FILES, "system.yaml": f"system: {{docker: {docker}}}\n"}
    found = workspace(folder, files, site=replace(SITE, tools=TOOLS), environ={"HF_TOKEN": "hf_0123456789"})
    return replace(found, **keys)  # type: ignore[arg-type]


def commands(plan: Plan) -> dict[str, planning.Command]:
    return {each.tag: each for trial in plan.trials for each in trial.commands}


@pytest.mark.parametrize("phase", ["install", "prepare", "run"])
def test_every_process_has_the_container_that_the_system_names(tmp_path: Path, phase: Phase) -> None:
    plan = planning.plan(made(tmp_path, "{image: 'i:1', executable: docker, args: [-it, --shm-size=1g]}"), phase)
    found = {each.container for each in commands(plan).values()}
    assert {(each.executable, each.image, each.args, each.base) for each in found if each} == {
        ("docker", "i:1", ("--shm-size=1g",), "/base")
    }
    assert None not in found
    assert len(commands(plan)) > 0


def test_locking_is_in_no_container(tmp_path: Path) -> None:
    ready = made(tmp_path)
    (tmp_path / "bench/requirements.in").write_text("numpy\n")
    assert {each.container for each in commands(planning.plan(ready, "pin")).values()} == {None}


def test_a_container_has_the_folders_of_its_benchmark(tmp_path: Path) -> None:
    found = commands(planning.plan(made(tmp_path), "run"))
    assert found["folder"].container == Container(
        executable="podman", image="i:1", base="/base", folders=(str(tmp_path / "bench"),)
    )
    program = found["program.D0"].container
    assert program is not None
    assert program.folders == (str(tmp_path),)


def test_environments_are_made_by_the_images_python_and_by_what_travels(tmp_path: Path) -> None:
    plan = planning.plan(made(tmp_path, images={"local": IMAGE}), "install")
    jobs = {job.tag: job for trial in plan.trials for job in trial.jobs}
    venv, pip, packages = jobs["folder"].commands
    assert venv.argv[0] == "python3"
    assert "/base/cache/tools/seeds-1" in " ".join(pip.argv)
    assert packages.argv[0] == "/base/cache/tools/uv-1/uv"
    assert {"/base/cache/tools/seeds-1", "/base/cache/tools/uv-1"} <= {each.target for each in jobs["folder"].staged}


def test_a_coroutine_of_a_benchfile_is_awaited_in_the_container(tmp_path: Path) -> None:
    ready = made(tmp_path)
    own = commands(planning.plan(ready, "run"))["own"]
    assert own.argv[0] == "python3"
    assert "/base/cache/tools/milabench-1" in own.argv[2]


@pytest.mark.parametrize(
    ("images", "part"),
    [({}, "i:1"), ({"local": IMAGE}, "sha256:a"), ({"local": Image(id=None, digest=None, root="/r")}, "/r")],
)
def test_another_image_makes_another_environment(tmp_path: Path, images: dict[str, Image], part: str) -> None:
    environments, _ = planning.needs(made(tmp_path, images=images))
    assert environments["folder"].base["image"] == part


def test_without_an_image_an_environment_is_made_of_what_it_was(tmp_path: Path) -> None:
    environments, _ = planning.needs(workspace(tmp_path, FILES))
    assert set(environments["folder"].base) == {"python", "installer", "arch"}


@pytest.mark.parametrize("phase", ["install", "prepare", "run"])
@pytest.mark.parametrize(
    ("docker", "message"),
    [
        ("{image: 'a:${oc.env:HF_TOKEN}'}", "the value of HF_TOKEN, a secret, stands among its arguments"),
        ("{image: i, args: [-v, '${oc.env:HF_TOKEN}:/x']}", "the value of HF_TOKEN, a secret, stands among"),
        ("{image: i, args: [-e, OWN_TOKEN=abc]}", "write -e OWN_TOKEN, and put it into your environment"),
        ("{image: i, args: [--env=OWN_TOKEN=abc]}", "write -e OWN_TOKEN, and put it into your environment"),
    ],
)
def test_a_secret_that_would_stand_on_a_command_line_is_refused(
    tmp_path: Path, docker: str, message: str, phase: Phase
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        planning.plan(made(tmp_path, docker), phase)
    assert {each.code for each in caught.value.problems} == {"E411"}
    assert message in str(caught.value)
    assert "hf_0123456789" not in str(caught.value)


def test_a_secret_by_name_is_none_in_the_plan(tmp_path: Path) -> None:
    found = commands(planning.plan(made(tmp_path, "{image: i, args: [-e, OWN_TOKEN]}"), "run"))["folder"].container
    assert found is not None
    assert found.args == ("-e", "OWN_TOKEN")


def test_a_plan_with_containers_is_the_same_from_its_json(tmp_path: Path) -> None:
    import json

    plan = planning.plan(made(tmp_path, images={"local": IMAGE}), "run")
    assert codec.from_json(json.loads("".join(codec.lines(plan)))) == plan


def test_as_text_a_plan_says_what_its_processes_are_in(tmp_path: Path) -> None:
    plan = planning.plan(made(tmp_path, "{image: 'i:1', args: [--shm-size=1g]}", images={"local": IMAGE}), "run")
    text = render(plan)
    assert f"in a container of i:1 (sha256:a) by podman --shm-size=1g, with /base, {tmp_path / 'bench'}" in text


def test_as_a_script_a_plan_has_the_whole_commands(tmp_path: Path) -> None:
    script = codec.to_shell(planning.plan(made(tmp_path), "run"))
    (line,) = [line for line in script.splitlines() if line.endswith("tool --x)")]
    words = shlex.split(line.strip("()"))
    at = words.index("podman")
    assert words[at : at + 3] == ["podman", "run", "--rm"]
    assert {"--user=$user", "--userns=$userns", "--env=MILABENCH_ARCH", "i:1"} <= set(words[at:])
    assert "MILABENCH_ARCH=cpu" in words[:at]
    assert 'user="$(id -u):$(id -g)"' in script
