"""What a package answers, and with what it installs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from milabench.commands import PackCommand
from milabench.pack import Package


class Recorded(Package):
    """Keep what would be executed."""

    async def execute(self, *args: object, **_: Any) -> None:
        self.executed = [str(item) for item in args]


@pytest.fixture
def package(tmp_path: Path) -> Recorded:
    for name in ("main.py", "other.py"):
        (tmp_path / name).touch()
    (tmp_path / "folder").mkdir()
    dirs = {**dict.fromkeys(("data", "runs", "extra", "cache"), "/x"), "venv": "/venv", "code": str(tmp_path)}
    return Recorded({"name": "a", "tag": ["a"], "dirs": dirs, "argv": ["other.py", "--x"]})


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("main.py", True),
        ("folder", True),
        ("./main.py", True),
        ("none.py", False),
        ("/", False),
        ("..", False),
        ("folder/../main.py", False),
        (".", False),
        ("", False),
    ],
)
def test_a_folder_has_what_lies_below_it(package: Recorded, name: str, there: bool) -> None:
    assert package.has(name) == there


@pytest.mark.parametrize(
    ("arguments", "lazy", "words"),
    [
        ((), True, ["main.py", "other.py", "--x"]),
        (("other.py", "--x"), True, ["main.py", "other.py", "--x"]),
        (("other.py", "--y"), True, ["other.py", "other.py", "--x"]),
        (("other.py", "--y"), False, ["other.py", "--y"]),
        (("--y",), False, ["main.py", "--y"]),
    ],
)
def test_a_script_is_named_by_the_benchfile(
    package: Recorded, arguments: tuple[str, ...], lazy: bool, words: list[str]
) -> None:
    script, *rest = PackCommand(package, *arguments, lazy=lazy).script()
    assert [Path(script).name, *rest] == words


def test_the_scripts_of_the_default_plans_start_where_they_lie(package: Recorded, tmp_path: Path) -> None:
    """As in milabench: a benchfile's working_directory is for commands that say none."""

    class Elsewhere(Recorded):
        main_script = "folder/main.py"
        prepare_script = "other.py"
        working_directory = property(lambda self: self.dirs.code / "src")

    elsewhere = Elsewhere(package.config)
    prepared = elsewhere.build_prepare_plan()
    assert prepared is not None
    assert elsewhere.build_run_plan().options["cwd"] == tmp_path / "folder"
    assert prepared.options["cwd"] == tmp_path


@pytest.mark.parametrize(
    ("environ", "argv"),
    [
        ({"MILABENCH_UV": "/uv"}, ["/uv", "pip", "install", "--python", "/venv/bin/python", "x"]),
        ({"MILABENCH_UV": "/uv", "MILABENCH_INSTALLER": "uv"}, ["/uv", "pip", "install", "--python"]),
        ({"MILABENCH_UV": "/uv", "MILABENCH_INSTALLER": "pip"}, ["/venv/bin/python", "-m", "pip", "install", "x"]),
    ],
)
def test_a_benchfile_installs_with_the_asked_installer(
    package: Recorded, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], argv: list[str]
) -> None:
    for name in ("MILABENCH_UV", "MILABENCH_INSTALLER"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    asyncio.run(package.pip_install("x"))
    assert package.executed[: len(argv)] == argv
