"""The image of a system: looked for, fetched where it is not there, recorded; by an agent that only answers."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from fleets import alone
from milabench.agent.container import PATH
from milabench.app import containers
from milabench.app.options import Options
from milabench.app.phases import Operation
from milabench.console import Console
from milabench.errors import PreflightError
from milabench.execute import Interrupt
from milabench.execute.hosts.fake import FakeHost, exits
from milabench.plan import Image, Workspace

FACTS = {"hostname": "here", "cpus": 4, "memory_bytes": 2**34, "arch": "cpu", "devices": [], "environ": {"PATH": "/n"}}
THERE = {"id": "sha256:1", "digest": "sha256:a", "root": None, "machine": "x86_64", "environ": {"PATH": "/own/bin"}}
PODMAN = {"program": "/usr/bin/podman", "version": "podman version 4.3.1", "problem": ""}


def ready(
    folder: Path, replies: list[dict[str, Any]], *, code: int = 0, installing: bool = False, offline: bool = False
) -> tuple[Workspace, FakeHost]:
    """Return the workspace of a system with an image, and the agent that answers of it in turn."""
    (folder / "suite.yaml").write_text("one: {command: {argv: [x]}, plan: {method: njobs}}\n")
    (folder / "system.yaml").write_text(
        json.dumps({"system": {"docker": {"image": "e.org/i:1", "args": ["-v", "/d:/d"]}}})
    )
    answers = iter(replies)
    host = FakeHost(lambda _: exits(code), {"probe": {"facts": {**FACTS, "ips": []}}, "image": lambda _: next(answers)})
    options = Options(
        config=str(folder / "suite.yaml"), base=folder / "base", system=folder / "system.yaml", offline=offline
    )
    work = Operation(options=options, console=Console(quiet=True), fleet=alone(host), interrupt=Interrupt())
    return asyncio.run(work.workspace(installing=installing)), host


def test_nodes_have_the_variables_of_the_image_and_a_home_below_the_base(tmp_path: Path) -> None:
    found, _ = ready(tmp_path, [{**PODMAN, "image": THERE}])
    assert found.system.main.environ == {"PATH": "/own/bin", "HOME": f"{tmp_path}/base/cache/home"}
    assert found.images == {"local": Image(**THERE)}


def test_what_is_not_there_is_not_fetched_but_for_an_install(tmp_path: Path) -> None:
    for options in ({}, {"installing": True, "offline": True}):
        found, host = ready(tmp_path, [{**PODMAN, "image": None}], **options)
        assert (found.images, host.launched) == ({}, [])
        assert found.system.main.environ["PATH"] == PATH


def test_an_install_fetches_what_is_not_there_and_looks_again(tmp_path: Path) -> None:
    found, host = ready(tmp_path, [{**PODMAN, "image": None}, {**PODMAN, "image": THERE}], installing=True)
    assert host.launched == ["image.local"]
    assert found.images["local"].digest == "sha256:a"


def test_an_image_that_cannot_be_fetched_is_told(tmp_path: Path) -> None:
    with pytest.raises(PreflightError, match=r"container image e\.org/i:1 could not be fetched: exit code 125"):
        ready(tmp_path, [{**PODMAN, "image": None}], installing=True, code=125)


def test_without_its_program_nothing_is_fetched(tmp_path: Path) -> None:
    _, host = ready(tmp_path, [{"program": None, "image": None, "problem": ""}] * 2, installing=True)
    assert host.launched == []


def test_a_run_says_of_its_containers_what_they_were(tmp_path: Path) -> None:
    found, _ = ready(tmp_path, [{**PODMAN, "image": THERE}])
    assert containers.facts(found) == {
        "executable": "podman",
        "image": "e.org/i:1",
        "args": ["-v", "/d:/d"],
        "images": {"local": {"digest": "sha256:a", "id": "sha256:1", "root": None}},
    }
