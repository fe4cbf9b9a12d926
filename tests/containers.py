"""Containers for tests: podman with its own storage, docker where a daemon answers; nothing from a registry."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from milabench.agent.container import Container
from milabench.app.workspace import find_uv

NO_PODMAN = "no podman container can be started here"
NO_DOCKER = "no docker daemon answers here"
ROOT = "/"  # an image: what processes write there is gone with their container
_ENGINE = """\
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
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
# What the scripts of tests call.
_PROGRAMS = ("sh", "cat", "echo", "env", "ls", "mkdir", "rm", "setsid", "sleep", "stat", "test", "touch", "tr", "true")


@dataclass(frozen=True)
class Engine:
    """A program that starts containers; ``environ`` is what has it use a place of its own, ``image`` has a Python."""

    program: str
    environ: dict[str, str]
    image: str

    def __call__(self, *arguments: str, check: bool = True) -> str:
        """Run the program and return what it printed."""
        done = subprocess.run(
            [self.program, *arguments],
            env={**os.environ, **self.environ},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0 or not check, done.stderr
        return done.stdout

    def names(self) -> list[str]:
        """Return the names of all of milabench's containers, those that have ended too."""
        return self("ps", "--all", "--filter=name=milabench-", "--format={{.Names}}").split()

    def running(self) -> list[str]:
        """Return those whose client knows that they run, and hands signals on."""
        return self("ps", "--filter=name=milabench-", "--format={{.Names}}").split()

    def container(self, base: Path) -> Container:
        return Container(executable=self.program, image=self.image, base=str(base))


@pytest.fixture(scope="session")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Return podman where it can start a container, or skip."""
    folder = tmp_path_factory.mktemp("podman")
    engine, storage = folder / "containers.conf", folder / "storage.conf"
    runtime = 'runtime = "runc"' if any(Path(path, "runc").exists() for path in ("/usr/sbin", "/usr/bin")) else ""
    engine.write_text(_ENGINE.format(runtime=runtime))
    storage.write_text(_STORAGE.format(folder=folder))
    found = Engine("podman", {"CONTAINERS_CONF": str(engine), "CONTAINERS_STORAGE_CONF": str(storage)}, ROOT)
    try:
        found("run", "--rm", "--network=host", "--pid=host", "--log-driver=none", "--rootfs", "/:O", "true")
    except (AssertionError, OSError, subprocess.TimeoutExpired) as problem:
        pytest.skip(f"{NO_PODMAN}: {str(problem)[:200]}")
    yield found
    found("rm", "--all", "--force", "--time=0", check=False)
    subprocess.run(
        ["umount", str(folder / "storage" / "overlay")], check=False, capture_output=True
    )  # podman mounts it


@pytest.fixture(scope="session")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Return docker with an image made of this machine's own files where a daemon answers, or skip."""
    environ = {"DOCKER_HOST": os.environ["DOCKER_HOST"]} if "DOCKER_HOST" in os.environ else {}
    found = Engine("docker", environ, f"milabench-test:{os.getpid()}")
    try:
        found("version")
    except (AssertionError, OSError, subprocess.TimeoutExpired):
        pytest.skip(NO_DOCKER)
    yield from _with_image(found, tmp_path_factory.mktemp("docker"))


@pytest.fixture(scope="session")
def podman_image(podman: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Return podman with such an image."""
    found = replace(podman, image=f"localhost/milabench-test:{os.getpid()}")
    yield from _with_image(found, tmp_path_factory.mktemp("image"))


def _with_image(engine: Engine, folder: Path) -> Iterator[Engine]:
    engine("import", str(_root(folder / "root.tar")), engine.image)
    yield engine
    engine("image", "rm", "--force", engine.image, check=False)


@pytest.fixture(params=["podman", "docker"])
def engine(request: pytest.FixtureRequest) -> Engine:
    found: Engine = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def container(engine: Engine, tmp_path: Path) -> Container:
    """Return a container whose base is the test's folder."""
    return engine.container(tmp_path)


def _root(path: Path) -> Path:
    """Write the root file system of an image: this interpreter with its library, a shell, and what scripts call."""
    library, python = sysconfig.get_path("stdlib"), os.path.realpath(sys.executable)
    programs = {each: found for each in _PROGRAMS if (found := _on_path(each))}
    with tarfile.open(path, "w", dereference=True) as tar:
        for name, file in {**programs, "python3": python}.items():
            tar.add(file, f"usr/bin/{name}")
        tar.add(library, library[1:], filter=_needed)
        modules = map(str, Path(library, "lib-dynload").glob("*.so"))
        linked = (*programs.values(), python, *modules, find_uv() or "uv")
        for file in sorted({each for found in linked for each in _libraries(found)}):
            tar.add(file, file[1:])
        tar.addfile(_link("bin", "usr/bin"))
        tar.addfile(_link(python, "/usr/bin/python3"))
    return path


def _on_path(program: str) -> str | None:
    return next((path for folder in ("/usr/bin", "/bin") if Path(path := f"{folder}/{program}").exists()), None)


def _needed(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    left_out = {"site-packages", "dist-packages", "test", "tests", "__pycache__", "idlelib", "ensurepip", "tkinter"}
    return None if left_out & set(member.name.split("/")) or member.name.endswith(".a") else member


def _libraries(program: str) -> Iterator[str]:
    said = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
    yield from (word for line in said.splitlines() for word in line.split() if word.startswith("/"))


def _link(name: str, target: str) -> tarfile.TarInfo:
    found = tarfile.TarInfo(name.lstrip("/"))
    found.type, found.linkname = tarfile.SYMTYPE, target
    return found
