"""A benchmark from a template."""

from __future__ import annotations

from pathlib import Path

import pytest

from milabench import resources, suite
from milabench.app.new import TEMPLATES, new
from milabench.errors import UsageError


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_template_makes_a_folder_and_a_suite_that_names_it(tmp_path: Path, template: str) -> None:
    written = new("my_bench-2", template, tmp_path)
    assert all(path.exists() and "$name" not in path.read_text() for path in written)
    found = suite.resolve(tmp_path / "config" / "my_bench-2.yaml")
    assert found.warnings == ()
    assert found.benchmarks[0].name == "my_bench-2"
    assert {each.definition for each in found.benchmarks} == {str(tmp_path / "benchmarks" / "my_bench-2")}
    assert {"main.py", "README.md"} <= {path.name for path in written}


def test_every_template_folder_is_used() -> None:
    folders = {path.name for path in (resources.data_root() / "benchmarks/_templates").iterdir() if path.is_dir()}
    assert {part for parts in TEMPLATES.values() for part in parts} == folders


@pytest.mark.parametrize("name", ["", "_mine", "a b", "../up", "a/b", "-x", "a.b", "True", "include", "123"])
def test_a_name_that_cannot_be_one_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="no name for a benchmark"):
        new(name, "simple", tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("there", ["benchmarks/mine/main.py", "config/mine.yaml"])
def test_nothing_is_written_over(tmp_path: Path, there: str) -> None:
    (tmp_path / there).parent.mkdir(parents=True)
    (tmp_path / there).write_text("mine")
    with pytest.raises(UsageError, match="is there already"):
        new("mine", "simple", tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / there]
