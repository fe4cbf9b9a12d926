"""Containers for tests: podman on its own storage, the machine's own root as the image, nothing from a registry."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from milabench.agent.container import Container

NO_PODMAN = "no podman container can be started here"
ROOT = "/"  # the image: what processes write there is gone with their container
_ENGINE = """\
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
{runtime}
"""
_STORAGE = """\
[storage]
driver = "overlay"
graphroot = "{folder}/storage"
runroot = "{folder}/run"
"""


@dataclass(frozen=True)
class Podman:
    """``environ`` is what has podman use a storage of its own, in a folder."""

    environ: dict[str, str]

    def __call__(self, *arguments: str, check: bool = True) -> str:
        """Run podman and return what it printed."""
        done = subprocess.run(
            ["podman", *arguments],
            env={**os.environ, **self.environ},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0 or not check, done.stderr
        return done.stdout

    def names(self) -> list[str]:
        """Return the names of all containers, those that have ended too."""
        return self("ps", "--all", "--format", "{{.Names}}").split()

    def running(self) -> list[str]:
        """Return the names of containers whose client knows that they run, and hands signals on."""
        return self("ps", "--format", "{{.Names}}").split()

    def container(self, base: Path, image: str = ROOT, **keys: object) -> Container:
        return Container(executable="podman", image=image, base=str(base), **keys)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    """Return podman where it can start a container, or skip."""
    folder = tmp_path_factory.mktemp("podman")
    engine, storage = folder / "containers.conf", folder / "storage.conf"
    runtime = 'runtime = "runc"' if any(Path(path, "runc").exists() for path in ("/usr/sbin", "/usr/bin")) else ""
    engine.write_text(_ENGINE.format(runtime=runtime))
    storage.write_text(_STORAGE.format(folder=folder))
    found = Podman({"CONTAINERS_CONF": str(engine), "CONTAINERS_STORAGE_CONF": str(storage)})
    limits = ("--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024")
    try:
        found("run", "--rm", "--network=host", "--pid=host", "--log-driver=none", *limits, "--rootfs", "/:O", "true")
    except (AssertionError, OSError, subprocess.TimeoutExpired) as problem:
        pytest.skip(f"{NO_PODMAN}: {str(problem)[:200]}")
    yield found
    found("rm", "--all", "--force", "--time=0", check=False)
