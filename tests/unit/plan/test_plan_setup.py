"""What installing and preparing does, and when it counts as done."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from plans import SITE, planned, workspace

from milabench import plan as planning
from milabench.pack import LOCKED_FROM, digest
from milabench.plan import Phase, codec
from milabench.plan.site import Installer

FILES = {
    "suite.yaml": """
    a: {definition: a, group: x, install_group: torch, plan: {method: per_gpu}, argv: {--size: 1}}
    b: {definition: b, group: y, install_group: torch, plan: {method: per_gpu}}
    c: {command: {argv: [x], cwd: .}}
    """,
    "a/main.py": "",
    "a/requirements.in": "torch\n",
    "a/prepare.py": "",
    "b/main.py": "",
    "b/requirements.in": "numpy\n",
    "b/requirements.cpu.txt": "numpy==1\n",
    "b/voirfile.py": "",
}


def test_a_group_is_one_environment_with_the_requirements_of_all_its_members(tmp_path: Path) -> None:
    (trial,) = planned(tmp_path, FILES, "install").trials
    make, fill = trial.jobs[0].commands
    assert trial.benchmark == "torch"
    assert make.argv == ("/usr/bin/python3", "-m", "virtualenv", "--python", "/usr/bin/python3", "/base/venv/torch")
    assert fill.argv[:5] == ("/usr/bin/uv", "pip", "install", "--python", "/base/venv/torch/bin/python")
    assert fill.argv[7:11] == ("-r", "/base/code/a/requirements.in", "-r", "/base/code/b/requirements.cpu.txt")
    assert fill.argv[-1] == "benchmate[voir] @ file:///base/cache/wheels/benchmate-0.1.0+abc-py3-none-any.whl"
    assert [each.target for each in trial.jobs[0].staged] == [
        "/base/code/a",
        "/base/code/b",
        "/base/cache/wheels/benchmate-0.1.0+abc-py3-none-any.whl",
    ]


def test_the_wheel_is_named_by_a_url_whatever_the_base_is_called(tmp_path: Path) -> None:
    (trial,) = planned(tmp_path, FILES, "install", site=replace(SITE, base="/été 1 %20")).trials
    wheel = trial.jobs[0].commands[1].argv[-1]
    assert wheel.endswith("@ file:///%C3%A9t%C3%A9%201%20%2520/cache/wheels/benchmate-0.1.0+abc-py3-none-any.whl")


def test_what_is_installed_as_written_is_noted(tmp_path: Path) -> None:
    assert planned(tmp_path, FILES, "install").notes == ("a/requirements.in",)


@pytest.mark.parametrize(
    ("written", "header", "taken"),
    [
        ("numpy\n", "", "cpu.txt"),  # whoever made it does not say of what
        ("numpy\npandas\n", "", "cpu.txt"),
        ("# why\nnumpy  # because\n\n", LOCKED_FROM + digest("numpy\n"), "cpu.txt"),
        ("numpy\npandas\n", LOCKED_FROM + digest("numpy\n"), "in"),
        ("numpy<2\n", LOCKED_FROM + digest("numpy\n"), "in"),
    ],
)
def test_a_lock_of_other_requirements_is_not_taken(tmp_path: Path, written: str, header: str, taken: str) -> None:
    files = {**FILES, "b/requirements.in": written, "b/requirements.cpu.txt": f"{header}\nnumpy==1\n"}
    (trial,) = planned(tmp_path, files, "install").trials
    assert f"/base/code/b/requirements.{taken}" in trial.jobs[0].commands[1].argv


def test_the_environment_is_asked_for_part_by_part(tmp_path: Path) -> None:
    environments, _ = planning.needs(workspace(tmp_path, FILES))
    assert list(environments["torch"].parts) == [
        "benchmate",
        "a/requirements.in",
        "benchmate[voir]",
        "b/requirements.cpu.txt",
    ]
    before = environments["torch"].parts["a/requirements.in"]
    environments, _ = planning.needs(workspace(tmp_path, {**FILES, "a/requirements.in": "torch>2\n"}))
    assert environments["torch"].parts["a/requirements.in"] != before


def test_only_what_has_a_script_is_prepared_and_its_options_count(tmp_path: Path) -> None:
    _, prepared = planning.needs(workspace(tmp_path, FILES))
    assert list(prepared) == ["a"]
    text = FILES["suite.yaml"].replace("--size: 1", "--size: 2")
    _, changed = planning.needs(workspace(tmp_path, {**FILES, "suite.yaml": text}))
    assert changed["a"].parts["argv"] != prepared["a"].parts["argv"]
    assert changed["a"].record != prepared["a"].record  # data of other arguments stays prepared


def test_preparing_runs_the_script_in_its_environment(tmp_path: Path) -> None:
    (trial,) = planned(tmp_path, FILES, "prepare").trials
    (command,) = trial.jobs[0].commands
    assert command.argv == ("/base/venv/torch/bin/python", "/base/code/a/prepare.py", "--size", "1")
    assert command.env["HF_HOME"] == "/base/data"


def test_what_the_suite_and_the_benchfile_set_reaches_the_preparation(tmp_path: Path) -> None:
    benchfile = """
    from milabench.pack import Package

    class __pack__(Package):
        def make_env(self):
            return {"MINE": "1", "BOTH": "benchfile"}
    """
    text = FILES["suite.yaml"].replace("argv: {--size: 1}", 'argv: {--size: 1}, env: {BOTH: "{arch}"}')
    files = {**FILES, "suite.yaml": text, "a/benchfile.py": benchfile}
    (trial,) = planned(tmp_path, files, "prepare").trials
    env = trial.jobs[0].commands[0].env
    assert (env["MINE"], env["BOTH"]) == ("1", "cpu")


def test_coroutines_of_a_benchfile_are_commands_too(tmp_path: Path) -> None:
    benchfile = """
    from milabench.pack import Package

    class __pack__(Package):
        async def install(self): ...
        async def prepare(self): ...
    """
    files = {**FILES, "a/benchfile.py": benchfile}
    (trial,) = planned(tmp_path, files, "install").trials
    assert [each.tag for each in trial.jobs[0].commands] == ["torch.virtualenv", "torch.packages", "a.install"]
    assert [each.fresh for each in trial.jobs[0].staged] == [True, False, False]
    (trial,) = planned(tmp_path, files, "prepare").trials
    assert trial.jobs[0].commands[0].argv[-1] == "prepare"


@pytest.mark.parametrize("phase", ["install", "prepare"])
def test_offline_reaches_all_that_would_use_the_network(tmp_path: Path, phase: Phase) -> None:
    names = ("UV_OFFLINE", "PIP_NO_INDEX", "HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")
    for offline, wanted in ((True, "1"), (False, None)):
        (trial,) = planned(tmp_path, FILES, phase, site=replace(SITE, offline=offline)).trials
        for command in trial.jobs[0].commands:
            assert [command.env.get(name) for name in names] == [wanted] * len(names)
            if "virtualenv" in command.argv:
                assert ("--no-download" in command.argv) == offline


@pytest.mark.parametrize(("installer", "uv"), [("uv", "/usr/bin/uv"), ("pip", None)])
def test_a_benchfile_is_told_the_installer(tmp_path: Path, installer: Installer, uv: str | None) -> None:
    (trial,) = planned(tmp_path, FILES, "install", site=replace(SITE, installer=installer, uv=uv)).trials
    env = trial.jobs[0].commands[-1].env
    assert (env["MILABENCH_INSTALLER"], env.get("MILABENCH_UV")) == (installer, uv)


def test_a_plan_survives_its_json_form(tmp_path: Path) -> None:
    for phase in ("install", "prepare", "run"):
        plan = planned(tmp_path, FILES, phase)
        assert codec.from_json(json.loads("".join(codec.lines(plan)))) == plan


def test_the_shell_form_names_every_process(tmp_path: Path) -> None:
    script = codec.to_shell(planned(tmp_path, FILES, arch="cuda", gpus=2))
    assert script.count("/base/code/a/main.py") == 2
    assert script.count(" &\n") == 4
    assert "\nwait\n" in script


def test_the_requirements_of_a_group_are_locked_together_then_folder_by_folder(tmp_path: Path) -> None:
    files = {**FILES, "b/requirements.cpu.txt": "numpy==1\n"}
    plan, groups = planning.pins(workspace(tmp_path, files))
    (trial,) = plan.trials
    together, a, b = (command.argv for command in trial.jobs[0].commands)
    assert together[-2:] == (str(tmp_path / "a/requirements.in"), str(tmp_path / "b/requirements.in"))
    joint = str(groups["torch"].together)
    assert together[together.index("--output-file") + 1] == joint
    for argv, folder in ((a, "a"), (b, "b")):
        assert argv[argv.index("--constraint") + 1] == joint
        assert argv[-1] == str(tmp_path / folder / "requirements.in")
    assert [str(lock.target.relative_to(tmp_path)) for lock in groups["torch"].locks] == [
        "a/requirements.cpu.txt",
        "b/requirements.cpu.txt",
    ]
    assert all(command.env["UV_FIND_LINKS"] == "" for command in trial.jobs[0].commands)
