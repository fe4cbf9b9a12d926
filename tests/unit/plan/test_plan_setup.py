"""What installing and preparing does, and when it counts as done."""

from __future__ import annotations

from pathlib import Path

from plans import planned, workspace

from milabench import plan as planning
from milabench.plan import codec

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


def test_what_is_installed_as_written_is_noted(tmp_path: Path) -> None:
    assert planned(tmp_path, FILES, "install").notes == ("a/requirements.in",)


def test_the_environment_is_asked_for_part_by_part(tmp_path: Path) -> None:
    environments, _ = planning.needs(workspace(tmp_path, FILES))
    assert list(environments["torch"].parts) == ["benchmate", "a/requirements.in", "b/requirements.cpu.txt"]
    before = environments["torch"].parts["a/requirements.in"]
    environments, _ = planning.needs(workspace(tmp_path, {**FILES, "a/requirements.in": "torch>2\n"}))
    assert environments["torch"].parts["a/requirements.in"] != before


def test_only_what_has_a_script_is_prepared_and_its_options_count(tmp_path: Path) -> None:
    _, prepared = planning.needs(workspace(tmp_path, FILES))
    assert list(prepared) == ["a"]
    text = FILES["suite.yaml"].replace("--size: 1", "--size: 2")
    _, changed = planning.needs(workspace(tmp_path, {**FILES, "suite.yaml": text}))
    assert changed["a"].parts["argv"] != prepared["a"].parts["argv"]


def test_preparing_runs_the_script_in_its_environment(tmp_path: Path) -> None:
    (trial,) = planned(tmp_path, FILES, "prepare").trials
    (command,) = trial.jobs[0].commands
    assert command.argv == ("/base/venv/torch/bin/python", "/base/code/a/prepare.py")
    assert command.env["HF_HOME"] == "/base/data"


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
    (trial,) = planned(tmp_path, files, "prepare").trials
    assert trial.jobs[0].commands[0].argv[-1] == "prepare"


def test_a_plan_survives_its_json_form(tmp_path: Path) -> None:
    for phase in ("install", "prepare", "run"):
        plan = planned(tmp_path, FILES, phase)
        assert codec.from_json(codec.to_json(plan)) == plan


def test_the_shell_form_names_every_process(tmp_path: Path) -> None:
    script = codec.to_shell(planned(tmp_path, FILES, arch="cuda", gpus=2))
    assert script.count("/base/code/a/main.py") == 2
    assert script.count(" &\n") == 4
    assert "\nwait\n" in script
