from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from milabench.errors import UsageError
from milabench.provenance import Provenance
from milabench.system import explain

FILE = """\
system:
  arch: cuda
  docker: {image: "suite:${system.arch}"}
  options:
    sizer: {auto: 0, multiple: 4}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "system.yaml"
    path.write_text(FILE)
    return path


def _places(told: Provenance) -> list[tuple[Any, str]]:
    return [(place.source.value, Path(str(place.source.mark)).name) for place in told.places]


def test_an_option_names_file_variable_and_command_line(file: Path) -> None:
    target, variables = "system.options.sizer.auto", {"MILABENCH_SIZER_AUTO": "1"}
    (each,) = explain(file, target, variables, ["system.options.sizer.auto=2"])
    assert _places(each) == [(2, "--override:1:27"), ("1", "MILABENCH_SIZER_AUTO:1:1"), (0, "system.yaml:5:19")]
    (each,) = explain(file, target, {})
    assert _places(each) == [(0, "system.yaml:5:19")]


def test_what_nothing_sets_is_told_with_its_default(file: Path) -> None:
    found = {each.path[-1]: each for each in explain(file, "system.options.cpu", {})}
    assert (found["max"].value, found["max"].places) == (16, ())
    assert found["max"].default
    assert [each.value for each in explain(None, "system.options.cpu.max", {})] == [16]


def test_a_reference_names_what_it_leads_to(file: Path) -> None:
    (each,) = explain(file, "system.docker.image", {})
    assert each.value == "suite:cuda"
    assert [source.value for source in each.places[0].inserted] == ["cuda"]


@pytest.mark.parametrize(
    ("target", "message"),
    [("system.options.sizer.autoo", "did you mean 'system.options.sizer.auto'"), ("system.nope", "nope")],
)
def test_a_target_that_is_not_there(file: Path, target: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        explain(file, target, {})
