"""The built wheel, in an environment of its own, works in an empty folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness import OBSERVED, PRINTER, Project, Result, folder, shell
from milabench.app.workspace import find_uv
from milabench.resources import data_root


class Installed(Project):
    """A project whose milabench is the installed one, in an environment that knows nothing of the clone."""

    def __init__(self, folder: Path, program: Path) -> None:
        super().__init__(folder)
        self._program = program
        self.environ.pop("PYTHONPATH")

    def _argv(self, arguments: tuple[str, ...]) -> list[str]:
        return [str(self._program), *arguments]


@pytest.fixture(scope="session")
def program(index: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the ``milabench`` of an environment that holds the wheel built of this clone."""
    folder = tmp_path_factory.mktemp("wheel")
    environ = {name: value for name, value in index.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    uv = find_uv() or "uv"

    def run(*argv: str) -> None:
        done = subprocess.run(argv, env=environ, capture_output=True, text=True, timeout=280, check=False)
        assert done.returncode == 0, done.stderr

    run(uv, "build", "--wheel", "--out-dir", str(folder / "dist"), str(data_root()))
    (wheel,) = (folder / "dist").glob("*.whl")
    run(uv, "venv", "--python", sys.executable, str(folder / "env"))
    run(uv, "pip", "install", "--python", str(folder / "env/bin/python"), str(wheel))
    return folder / "env/bin/milabench"


@pytest.fixture
def installed(program: Path, tmp_path: Path) -> Installed:
    return Installed(tmp_path, program)


@pytest.mark.parametrize("verb", ["plan", "list", "check"])
@pytest.mark.parametrize("suite", ["quickstart", "standard"])
def test_the_suites_it_brings_are_in_the_wheel(installed: Installed, verb: str, suite: str) -> None:
    done: Result = installed.milabench(verb, "--config", suite)
    assert done.code == 0, done.err
    assert "resnet50" in done.out or verb == "check"
    assert list(installed.folder.iterdir()) == []


def test_it_installs_and_runs_a_folder(installed: Installed) -> None:
    installed.write("plain/main.py", OBSERVED)
    installed.suite(plain=folder("plain"), printer=shell(PRINTER))
    done = installed.verb("run", "--all")
    assert done.code == 0, done.err
    assert installed.report()["plain"]["outcomes"] == {"early_stop": 1}


@pytest.mark.timeout(900)
def test_it_runs_a_benchmark_of_the_quickstart(installed: Installed) -> None:
    limit = "flops-fp32.voir.options.stop=3"
    argv = ("run", "--all", "--config", "quickstart", "--select", "flops-fp32", "--override", limit)
    done = installed.milabench(*argv, timeout_s=800)
    assert done.code == 0, done.err
    assert installed.report()["flops-fp32"]["steps"]["measured"] == 3


def test_it_holds_no_path_of_the_machine_it_was_built_on(program: Path) -> None:
    (package,) = program.parent.parent.glob("lib/python*/site-packages/milabench")
    files = [path for path in package.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert {"config", "benchmarks", "constraints"} <= {path.name for path in (package / "data").iterdir()}
    assert [path for path in files if os.fsencode(data_root()) in path.read_bytes()] == []
