"""Every folder under ``benchmarks/`` and every suite under ``config/`` keeps the contract; no network is needed."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest

from harness import Project
from milabench import plan as planning
from milabench import resources, suite
from milabench.app.options import Options
from milabench.app.workspace import workspace
from milabench.errors import Mark
from milabench.package import load

ROOT = resources.data_root()
FOLDERS = sorted(path for path in (ROOT / "benchmarks").iterdir() if path.is_dir() and path.name[0] not in "._")
SUITES = sorted((ROOT / "config").glob("*.yaml"))
RUNNABLE = [path for path in SUITES if path.stem != "base"]
ARCHES = ("cpu", "cuda", "rocm", "xpu", "hpu")
SELECTED_BY = {
    "cuda": "CUDA_VISIBLE_DEVICES",
    "rocm": "ROCR_VISIBLE_DEVICES",
    "xpu": "ZE_AFFINITY_MASK",
    "hpu": "HABANA_VISIBLE_MODULES",
}


def facts(arch: str) -> dict[str, Any]:
    devices = [{"id": number, "name": arch, "memory_bytes": 80 * 2**30} for number in range(2)] if arch != "cpu" else []
    known = {"hostname": "here", "cpus": 16, "memory_bytes": 2**36, "environ": {}, "ips": [], "indexes": []}
    return {**known, "arch": arch, "devices": devices}


def planned(path: Path, arch: str, base: Path, phase: planning.Phase = "run") -> planning.Plan:
    return planning.plan(workspace(Options(config=str(path), base=base), facts(arch)), phase)


by_folder = pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
by_suite = pytest.mark.parametrize("path", RUNNABLE, ids=lambda path: path.stem)
by_arch = pytest.mark.parametrize("arch", ARCHES)


@by_folder
def test_a_folder_has_a_readme_of_one_screen(folder: Path) -> None:
    text = (folder / "README.md").read_text()
    assert text.startswith("# ")
    assert len(text.splitlines()) <= 60


@by_folder
def test_a_folder_is_used_by_a_suite(folder: Path) -> None:
    found = [one for path in RUNNABLE for one in suite.resolve(path).benchmarks]
    used = {one.definition for one in found} | {one.program.cwd for one in found if one.program}
    assert str(folder) in used


@by_folder
def test_a_benchfile_loads_where_nothing_may_change(folder: Path) -> None:
    if not (folder / "main.py").exists():
        return  # a program without a class
    before = sorted(folder.rglob("*"))
    packages = load({str(folder): Mark(file="suite.yaml", line=1, column=1)}, {})
    assert set(packages) == {str(folder)}
    assert sorted(folder.rglob("*")) == before


@by_folder
def test_a_benchfile_imports_nothing_but_milabench_and_the_standard_library(folder: Path) -> None:
    import sys

    path = folder / "benchfile.py"
    tree = ast.parse(path.read_text() if path.exists() else "")
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    modules |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    roots = {str(name).split(".")[0] for name in modules}
    assert roots <= {"milabench", *sys.stdlib_module_names}


@by_folder
def test_requirements_are_written_without_pins_or_indexes(folder: Path) -> None:
    """Pins stand in ``constraints/``, one a vendor; a folder says what it needs."""
    path = folder / "requirements.in"
    lines = path.read_text().splitlines() if path.exists() else []
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._\[\]-]+", line)] == []


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_a_suite_resolves_without_warnings(path: Path, tmp_path: Path) -> None:
    if path.stem == "base":
        own = tmp_path / "suite.yaml"
        own.write_text(f"include: {path}\none:\n  inherits: _flops\n")
        path = own
    found = suite.resolve(path)
    assert (found.warnings, found.benchmarks != ()) == ((), True)


@by_suite
@by_arch
def test_a_suite_is_planned_on_every_architecture(path: Path, arch: str, tmp_path: Path) -> None:
    plan = planned(path, arch, tmp_path / "base")
    assert {trial.benchmark for trial in plan.trials} | {skip.benchmark for skip in plan.skipped} == {
        one.name for one in suite.resolve(path).benchmarks if one.enabled
    }
    assert plan.trials
    for trial in plan.trials:
        for command in (command for job in trial.jobs for command in job.commands):
            assert command.env["MILABENCH_ARCH"] == arch
            assert not re.search(r"\{[a-z_]+\}", " ".join(command.argv)), command.argv
            if arch != "cpu":
                assert command.env[SELECTED_BY[arch]] == ",".join(map(str, command.devices))
    assert not (tmp_path / "base").exists()


@by_suite
@by_arch
@pytest.mark.parametrize("phase", ["install", "prepare"])
def test_its_environments_and_data_are_planned_too(
    path: Path, arch: str, phase: planning.Phase, tmp_path: Path
) -> None:
    plan = planned(path, arch, tmp_path / "base", phase)
    assert plan.trials
    assert not (tmp_path / "base").exists()


@by_suite
@by_arch
def test_a_plan_survives_its_json_form(path: Path, arch: str, tmp_path: Path) -> None:
    plan = planned(path, arch, tmp_path)
    text = "".join(planning.codec.lines(plan))
    again = planning.codec.from_json(json.loads(text))
    assert "".join(planning.codec.lines(again)) == text
    assert again.trials == plan.trials


@by_suite
def test_arguments_of_a_suite_are_options_its_script_declares(path: Path) -> None:
    for one in suite.resolve(path).benchmarks:
        if one.definition is None:
            continue
        scripts = "".join(script.read_text() for script in Path(one.definition).glob("*.py"))
        unknown = [key for key in one.config.get("argv", {}) if key.startswith("-") and f'"{key}"' not in scripts]
        assert unknown == [], one.name


@by_suite
def test_the_suites_milabench_brings_are_known_by_name(path: Path, project: Project) -> None:
    assert project.milabench("check", "--config", path.stem).code == 0
    rows = project.milabench("list", "--config", path.stem, "--json").json["benchmarks"]
    assert [row["name"] for row in rows] == [one.name for one in suite.resolve(path).benchmarks if one.enabled]


def test_constraints_pin_what_the_folders_require() -> None:
    required = {
        line.strip() for path in ROOT.glob("benchmarks/*/requirements*.in") for line in path.read_text().split()
    }
    for path in sorted((ROOT / "constraints").glob("*.txt")):
        pinned = set(re.findall(r"^([A-Za-z0-9._-]+)==", path.read_text(), re.MULTILINE))
        given = {"torch"} if path.stem == "hpu" else set()  # by the vendor's installer
        assert {re.sub(r"\[.*", "", name) for name in required} <= pinned | given, path.name
        assert "://" not in path.read_text(), path.name
