"""Packing makes a wheel of everything on this machine; installing what was packed resolves nothing any more."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from plans import SITE, planned, workspace

from milabench import plan as planning
from milabench.plan.site import Installer

FILES = {
    "suite.yaml": """
    a: {definition: a, install_group: torch, plan: {method: njobs}}
    b: {definition: b, install_group: torch, plan: {method: njobs}}
    c: {command: {argv: [x], cwd: .}, plan: {method: njobs}}
    """,
    "system.yaml": "nodes: [{name: far, ip: 192.0.2.1, main: true}]",
    "a/main.py": "",
    "a/requirements.in": "torch\n",
    "b/main.py": "",
    "b/voirfile.py": "",
    "b/requirements.cpu.txt": "numpy==1\n",
    "constraints/cpu.txt": "torch==2\n",
}


def test_a_group_is_packed_on_this_machine_whatever_the_nodes_are(tmp_path: Path) -> None:
    ready = workspace(tmp_path, FILES, site=replace(SITE, constraints=str(tmp_path / "constraints")))
    plan, asked = planning.packs(ready, tmp_path / "packing")
    (trial,) = plan.trials
    make, wheels = trial.commands
    venv = tmp_path / "packing/torch/venv"
    *_, constraints, _ = trial.jobs[0].staged
    assert constraints.source == str(tmp_path / "constraints")
    assert {command.node for command in trial.commands} == {"here"}
    assert make.argv == ("/usr/bin/python3", "-m", "virtualenv", "--python", "/usr/bin/python3", str(venv))
    assert wheels.argv == (
        *(f"{venv}/bin/python", "-m", "pip", "wheel", "--wheel-dir", str(tmp_path / "packing/torch/wheels")),
        *("-r", "/base/code/a/requirements.in", "-r", "/base/code/b/requirements.cpu.txt"),
        *("-c", f"{constraints.target}/cpu.txt"),
        "benchmate[voir] @ file:///base/cache/wheels/benchmate-0.1.0+abc-py3-none-any.whl",
    )
    assert asked == planning.needs(ready)[0]
    assert planning.codes(ready) == {"a": "a", "b": "b"}


@pytest.mark.parametrize(("installer", "uv"), [("uv", "/usr/bin/uv"), ("pip", None)])
def test_what_was_packed_is_installed_as_it_was_resolved_then(
    tmp_path: Path, installer: Installer, uv: str | None
) -> None:
    site = replace(SITE, bundle="/base/bundles/1", installer=installer, uv=uv, offline=True)
    plan = planned(tmp_path, FILES, "install", site=site)
    fill = plan.trials[0].commands[1]
    packed = (
        "--no-index",
        "--no-deps",
        "--find-links",
        "/base/bundles/1/wheels",
        "-r",
        "/base/bundles/1/locks/torch.txt",
    )
    assert fill.argv[-7:-1] == packed
    assert "-c" not in fill.argv
    assert not [word for word in fill.argv if "requirements" in word]
    assert plan.notes == ()  # nothing of it is unpinned
    links = ("UV_FIND_LINKS", "PIP_FIND_LINKS")  # a benchfile's own installs look there too
    assert {fill.env[name] for name in links} == {"/base/bundles/1/wheels"}
    assert (fill.env["UV_NO_INDEX"], fill.env["PIP_NO_INDEX"]) == ("1", "1")
