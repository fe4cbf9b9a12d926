"""A project for each test; and what takes long, once for the session: environments, an index of packages."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cluster import Cluster
from containers import docker, engine, podman, podman_image
from harness import OBSERVED, Project, folder
from milabench.agent.packages import installer_environ
from milabench.app.workspace import find_uv
from milabench.plan.setup import RECORD
from overseen import Bench

__all__ = ["docker", "engine", "podman", "podman_image"]

NO_INDEX = "no package index can be reached"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


@pytest.fixture
def site(cluster: Cluster, project: Project, tmp_path: Path) -> Iterator[Project]:
    """Return a project whose commands know the cluster; its jobs are ended, and broken nodes mended, with the test."""
    tmp_path.chmod(0o755)
    project.environ |= cluster.environ
    yield project
    cluster.cancel_all()
    cluster.mend_all()


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the environment that ``milabench install`` makes for a folder without requirements."""
    project = Project(tmp_path_factory.mktemp("environment"))
    project.write("plain/main.py", OBSERVED)
    project.suite(plain=folder("plain"))
    done = project.verb("install")
    assert done.code == 0, done.err
    return project.base / "venv/plain"


@pytest.fixture
def furnish(project: Project, environment: Path) -> Callable[[str], None]:
    """Return what gives an install group such an environment, for tests that are not about making one.

    Its files are links to the same ones, but for its record: change none of them in place.
    """

    def link(source: str, target: str) -> None:
        (shutil.copy2 if source.endswith(RECORD) else os.link)(source, target)

    def given(group: str) -> None:
        shutil.copytree(environment, project.base / "venv" / group, symlinks=True, copy_function=link)

    return given


@pytest.fixture(scope="session")
def index(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the environment in which uv finds packages, or skip where there is no index to find them in."""
    environ = installer_environ(os.environ)
    argv = [find_uv() or "uv", "pip", "install", "--dry-run", "--no-cache", "--python", sys.executable]
    target = str(tmp_path_factory.mktemp("index"))
    try:
        done = subprocess.run(
            [*argv, "--target", target, "ptera"], env=environ, capture_output=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        pytest.skip(NO_INDEX)
    if done.returncode != 0:
        pytest.skip(NO_INDEX)
    return environ


@pytest.fixture(scope="session")
def voir_python(index: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the interpreter of an environment that has voir and nothing else."""
    folder = tmp_path_factory.mktemp("voir") / "venv"
    uv = find_uv() or "uv"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)], env=index, check=True)
    python = folder / "bin/python"
    subprocess.run([uv, "pip", "install", "--quiet", "--python", str(python), "voir"], env=index, check=True)
    return python


@pytest.fixture
def bench(voir_python: Path, tmp_path: Path) -> Bench:
    return Bench(tmp_path, voir_python)
