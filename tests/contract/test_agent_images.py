"""What an agent tells of an image, as podman and docker have it."""

from __future__ import annotations

import os
import tarfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from agents import talk
from containers import Engine
from milabench.agent.container import Container
from milabench.execute.hosts.local import LocalHost


def look(engine: Engine, container: Container) -> dict[str, Any]:
    async def story(host: LocalHost) -> dict[str, Any]:
        return await host.request("image", container=asdict(container))

    found: dict[str, Any] = talk(story, **engine.environ)
    return found


def test_a_root_file_system_is_named_by_its_folder(podman: Engine, tmp_path: Path) -> None:
    found = look(podman, podman.container(tmp_path))
    assert found["image"]["root"] == "/"
    assert found["image"]["digest"] is None
    assert Path(found["program"]).name == "podman"


def test_an_image_has_a_digest_and_the_variables_that_it_sets(
    engine: Engine, container: Container, tmp_path: Path
) -> None:
    engine("import", "--change=ENV PATH=/own/bin:/bin", "--change=ENV A=b=c", str(archive(tmp_path)), "own:1")
    try:
        found = look(engine, replace(container, image="own:1"))["image"]
        field = "{{.Digest}}" if engine.program == "podman" else "{{.Id}}"  # docker has one of what was published
        assert found["digest"] == engine("image", "inspect", "own:1", "--format", field).strip()
        assert found["id"].startswith("sha256:")
        assert (found["environ"]["PATH"], found["environ"]["A"]) == ("/own/bin:/bin", "b=c")
        assert found["machine"] == os.uname().machine
    finally:
        engine("image", "rm", "--force", "own:1")


def test_an_image_that_is_not_there_is_none(engine: Engine, container: Container) -> None:
    found = look(engine, replace(container, image="no/such-image:1"))
    assert (found["image"], found["problem"]) == (None, "")


def test_without_its_program_nothing_is_known(tmp_path: Path) -> None:
    lacking = Container(executable="/nowhere/docker", image="i", base=str(tmp_path))
    assert look(Engine("", {}, ""), lacking)["program"] is None


def archive(folder: Path) -> Path:
    path = folder / "root.tar"
    (folder / "file").write_text("of an image\n")
    with tarfile.open(path, "w") as tar:
        tar.add(folder / "file", "file")
    return path
