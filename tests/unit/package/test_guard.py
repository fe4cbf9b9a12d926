"""Benchfiles are evaluated with the world held still."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from textwrap import dedent, indent

import pytest

from milabench.errors import ConfigurationError, Mark
from milabench.package import evaluate, load, render

MARK = Mark(file="suite.yaml", line=3, column=5)
BENCHFILE = """
import os, socket, pathlib, sys
from milabench.pack import Package
{top}
class __pack__(Package):
    def build_run_plan(self):
{body}
        return super().build_run_plan()
"""


def folder(tmp_path: Path, *, top: str = "", body: str = "pass") -> str:
    (tmp_path / "main.py").touch()
    text = BENCHFILE.format(top=top, body=indent(dedent(body), " " * 8))
    (tmp_path / "benchfile.py").write_text(text)
    return str(tmp_path)


def config(definition: str) -> dict[str, object]:
    dirs = dict.fromkeys(("venv", "data", "runs", "extra", "cache"), "/base/x")
    return {"name": "a", "tag": ["a"], "definition": definition, "dirs": {**dirs, "code": definition}}


def message(definition: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        evaluate(load({definition: MARK}, {})[definition], config(definition), {})
    return str(caught.value)


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ("pathlib.Path('x').write_text('')", "write x"),
        ("os.mkdir('x')", "make a folder"),
        ("os.remove('x')", "remove a file"),
        ("os.execv('/bin/true', ['true'])", "start a process"),
        ("socket.getaddrinfo('localhost', 80)", "use the network"),
    ],
)
def test_what_changes_the_machine_is_refused_with_its_line(tmp_path: Path, body: str, what: str) -> None:
    text = message(folder(tmp_path, body=body))
    assert f"benchfile.py:7: a benchfile may not {what} while the plan is made" in text
    assert not (tmp_path / "x").exists()


def test_an_exception_is_told_with_its_line(tmp_path: Path) -> None:
    text = message(folder(tmp_path, body="raise KeyError('lr')"))
    assert "benchfile.py:7: the benchfile raised KeyError: 'lr'" in text


@pytest.mark.parametrize("top", ["1 / 0", "def (", "sys.exit(3)", "import nothing_of_this_name"])
def test_a_benchfile_that_does_not_load_is_told_at_the_suites_line(tmp_path: Path, top: str) -> None:
    text = message(folder(tmp_path, top=top))
    assert text.startswith("suite.yaml:3:5: ")
    assert "benchfile.py:4: the benchfile raised" in text


def test_changes_of_the_environment_come_back_as_data(tmp_path: Path) -> None:
    definition = folder(tmp_path, body="os.environ['NEW'] = os.environ['OLD'] + '!'\nos.environ.pop('GONE')")
    package = load({definition: MARK}, {})[definition]
    answer = evaluate(package, config(definition), {"OLD": "1", "GONE": "2"})
    assert answer.env_delta == {"NEW": "1!", "GONE": None}
    assert "NEW" not in os.environ


def test_the_guard_leaves_no_trace(tmp_path: Path) -> None:
    environ, bytecode = os.environ, sys.dont_write_bytecode
    message(folder(tmp_path, body="raise ValueError"))
    assert os.environ is environ
    assert sys.dont_write_bytecode == bytecode
    assert not (tmp_path / "__pycache__").exists()
    (tmp_path / "free").write_text("writing is allowed again")


def test_a_folder_with_nothing_to_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"has nothing to run: add main.py"):
        load({str(tmp_path): MARK}, {})


def test_a_benchfile_without_a_package_is_told(tmp_path: Path) -> None:
    (tmp_path / "benchfile.py").write_text("x = 1\n")
    with pytest.raises(ConfigurationError, match="names no package"):
        load({str(tmp_path): MARK}, {})


@pytest.mark.parametrize(
    ("member", "what"),
    [
        ("build_run_plan = lambda self: None", "TypeError: build_run_plan() returned None"),
        ("interpreter = property(lambda self: 1 / 0)", "benchfile.py:4: the benchfile raised ZeroDivisionError"),
    ],
)
def test_what_a_benchfile_answers_is_judged_under_the_guard(tmp_path: Path, member: str, what: str) -> None:
    (tmp_path / "main.py").touch()
    text = f"from milabench.pack import Package\n\nclass A(Package):\n    {member}\n\n__pack__ = A\n"
    (tmp_path / "benchfile.py").write_text(text)
    definition = str(tmp_path)
    with pytest.raises(ConfigurationError) as caught:
        render(evaluate(load({definition: MARK}, {})[definition], config(definition), {}).command, {}, definition)
    assert what in str(caught.value)
