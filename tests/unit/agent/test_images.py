"""What programs answer of an image, as it is told; recorded from podman 4.3 and docker 20.10, shortened."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from milabench.agent import images
from milabench.agent.container import PATH, Container

PODMAN = [
    {
        "Id": "0f1e",
        "Digest": "sha256:aa",
        "RepoDigests": ["localhost/own@sha256:aa"],
        "Architecture": "amd64",
        "Config": {"Env": ["PATH=/own/bin:/bin", "A=b=c"]},
    }
]
DOCKER: list[dict[str, Any]] = [
    {"Id": "sha256:0f1e", "RepoDigests": ["r@sha256:bb"], "Architecture": "arm64", "Config": {"Env": None}}
]
LOCAL = [{**DOCKER[0], "RepoDigests": []}]


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[int, str, str]]:
    """Return what programs answer, by their first word: exit code, output, errors."""
    found = {"--version": (0, "podman version 4.3.1\n", "")}

    def run(program: str, word: str, *more: str, within_s: float) -> subprocess.CompletedProcess[str]:
        del more, within_s
        return subprocess.CompletedProcess([program], *found[word])

    monkeypatch.setattr(images.tools, "ask", run)
    monkeypatch.setattr(images.shutil, "which", lambda name: f"/usr/bin/{name}")
    return found


def container(executable: str, image: str = "own:1", base: str = "/base") -> Container:
    return Container(executable=executable, image=image, base=base)


@pytest.mark.parametrize(
    ("executable", "said", "image"),
    [
        ("podman", PODMAN, ("sha256:aa", "sha256:0f1e", "x86_64", {"PATH": "/own/bin:/bin", "A": "b=c"})),
        ("docker", DOCKER, ("sha256:bb", "sha256:0f1e", "aarch64", {"PATH": PATH})),
        ("docker", LOCAL, ("sha256:0f1e", "sha256:0f1e", "aarch64", {"PATH": PATH})),
    ],
)
def test_an_image_is_told_by_its_digest(
    answers: dict[str, tuple[int, str, str]], executable: str, said: object, image: tuple[object, ...]
) -> None:
    answers["image"] = (0, json.dumps(said), "")
    found = images.look(container(executable))
    assert (found["program"], found["version"], found["problem"]) == (
        f"/usr/bin/{executable}",
        "podman version 4.3.1",
        "",
    )
    told = found["image"]
    assert (told["digest"], told["id"], told["machine"], told["environ"]) == image


@pytest.mark.parametrize(
    ("code", "out", "err", "problem"),
    [
        (125, "[]", "Error: inspecting object: own:1: image not known", ""),
        (1, "[]", "Error response from daemon: No such image: own:1", ""),
        (1, "", "warning\nCannot connect to the Docker daemon at unix:///x.sock.", "Cannot connect to the Docker"),
        (1, "", "", "exit code 1"),
        (0, "[]", "", "cannot be read"),
        (0, "{", "", "cannot be read"),
    ],
)
def test_what_is_not_there_is_told_apart_from_what_cannot_be_known(
    answers: dict[str, tuple[int, str, str]], code: int, out: str, err: str, problem: str
) -> None:
    answers["image"] = (code, out, err)
    found = images.look(container("docker"))
    assert found["image"] is None
    assert problem in found["problem"]
    assert bool(problem) == bool(found["problem"])


def test_a_program_that_does_not_answer_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*argv: str, within_s: float) -> subprocess.CompletedProcess[str]:
        raise subprocess.TimeoutExpired(argv, within_s)

    monkeypatch.setattr(images.tools, "ask", run)
    monkeypatch.setattr(images.shutil, "which", lambda name: f"/usr/bin/{name}")
    assert images.look(container("docker"))["problem"] == "/usr/bin/docker has not answered for 60 s"


def test_a_program_that_is_none_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*argv: str, **_: float) -> subprocess.CompletedProcess[str]:
        raise OSError(8, "Exec format error", argv[0])

    monkeypatch.setattr(images.tools, "ask", run)
    monkeypatch.setattr(images.shutil, "which", lambda name: f"/usr/bin/{name}")
    assert images.look(container("docker"))["problem"] == "Exec format error: /usr/bin/docker"


def test_an_apptainer_file_is_told_by_a_hash_of_it_that_is_made_once(
    answers: dict[str, tuple[int, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del answers
    file = tmp_path / "bench.sif"
    file.write_bytes(b"an image")
    asked = container("apptainer", str(file), str(tmp_path / "base"))
    digest = "sha256:" + images.hashlib.sha256(b"an image").hexdigest()
    assert images.look(asked, keep=False)["image"]["digest"] == digest
    assert not (tmp_path / "base").exists()
    assert images.look(asked)["image"]["digest"] == digest
    monkeypatch.setattr(images, "hashlib", None)  # no other is made
    assert images.look(asked)["image"]["digest"] == digest


def test_folders_are_told_by_their_paths(answers: dict[str, tuple[int, str, str]], tmp_path: Path) -> None:
    del answers
    for executable in ("podman", "apptainer"):
        assert images.look(container(executable, str(tmp_path)))["image"]["root"] == str(tmp_path)
        assert images.look(container(executable, str(tmp_path / "no")))["image"] is None


@pytest.mark.parametrize(
    ("executable", "image", "argv"),
    [
        ("podman", "a/b:1", ["podman", "pull", "a/b:1"]),
        ("podman", "/", None),
        ("docker", "a/b:1", ["docker", "pull", "a/b:1"]),
        ("apptainer", "/a.sif", None),
        ("apptainer", "docker://a", ["apptainer", "pull", "/base/cache/images/a-add776942e.sif", "docker://a"]),
    ],
)
def test_an_image_is_fetched_by_its_program(executable: str, image: str, argv: list[str] | None) -> None:
    assert images.pulled(container(executable, image)) == argv
