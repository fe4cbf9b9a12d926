"""Benchfiles are modules of their own, each with the modules that lie beside it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any

from milabench.errors import Mark
from milabench.pack import BasePackage
from milabench.package import evaluate, load, render

MARK = Mark(file="suite.yaml", line=1, column=1)
USES_COMMON = """
from milabench.commands import CmdCommand
from milabench.pack import Package
import common

class __pack__(Package):
    def build_run_plan(self):
        from common import word
        return CmdCommand(self, "echo", common.word, word)
"""


def folder(path: Path, **files: str) -> str:
    path.mkdir(exist_ok=True)
    for name, text in {"main": "", **files}.items():
        (path / f"{name}.py").write_text(dedent(text))
    return str(path)


def argv(packages: Mapping[str, type[BasePackage]], definition: str) -> list[str]:
    dirs = {**dict.fromkeys(("venv", "data", "runs", "extra", "cache"), "/x"), "code": definition}
    config: dict[str, Any] = {"name": "a", "tag": ["a"], "definition": definition, "dirs": dirs}
    ((_, ((_, words, _),)),) = render(evaluate(packages[definition], config, {}).command, {}, definition)
    return words


def test_folders_have_modules_of_equal_names(tmp_path: Path) -> None:
    both = [folder(tmp_path / name, benchfile=USES_COMMON, common=f"word = '{name}'") for name in ("one", "two")]
    packages = load(dict.fromkeys(both, MARK), {})
    assert [argv(packages, each) for each in both] == [["echo", "one", "one"], ["echo", "two", "two"]]
    assert "common" not in sys.modules


def test_folders_of_equal_names_are_told_apart(tmp_path: Path) -> None:
    text = "from milabench.pack import Package\nclass __pack__(Package):\n    word = '{0}'\n"
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    both = [folder(tmp_path / name / "bench", benchfile=text.format(name)) for name in ("a", "b")]
    packages = load(dict.fromkeys(both, MARK), {})
    assert [packages[each].word for each in both] == ["a", "b"]  # type: ignore[attr-defined]
    assert len({packages[each].__module__ for each in both}) == 2


def test_a_benchfile_may_define_dataclasses_with_postponed_annotations(tmp_path: Path) -> None:
    text = """
    from __future__ import annotations
    from dataclasses import dataclass, field
    from milabench.pack import Package

    @dataclass
    class Options:
        words: list[str] = field(default_factory=list)

    class __pack__(Package):
        options = Options()
    """
    definition = folder(tmp_path / "bench", benchfile=text)
    assert load({definition: MARK}, {})[definition].options.words == []  # type: ignore[attr-defined]


def test_what_was_imported_before_stays(tmp_path: Path) -> None:
    """A folder may hold what is in use: the clone of milabench itself, say."""
    folder(tmp_path, benchfile=USES_COMMON, common="word = 'x'", kept_here="")
    sys.path.insert(0, str(tmp_path))
    try:
        import kept_here  # type: ignore[import-not-found]
    finally:
        sys.path.remove(str(tmp_path))
    try:
        load({str(tmp_path): MARK}, {})
        assert sys.modules["kept_here"] is kept_here
    finally:
        del sys.modules["kept_here"]
