from __future__ import annotations

from typing import Any

import pytest

from milabench.errors import UsageError
from milabench.provenance import Setting
from milabench.suite import explain

LOW = """\
_parent:
  definition: bench
  plan: {method: per_gpu}
  argv: {--lr: 1, --model: low, --gone: 1}
  tags: [a]
"""
MIDDLE = """\
include: low.yaml
_parent:
  argv: {--lr: 2}
"""
TOP = """\
include: middle.yaml
'*':
  max_duration: 5m
one:
  inherits: _parent
  tags: [b]
  argv:
    --lr: 3
    --gone: null
    --user: "${oc.env:USER_NAME}"
    --same: "${.--lr}"
many:
  matrix:
    bs: [16, 32]
    include: [{bs: 64, extra: 1}]
  job:
    name: "many-{bs}"
    inherits: _parent
    argv: {--batch: "{bs:03d}"}
"""


@pytest.fixture
def explained(suites: Any) -> Any:
    suites.write(LOW, "low.yaml")
    suites.write(MIDDLE, "middle.yaml")
    path = suites.write(TOP)

    def answer(target: str, *changes: str) -> list[tuple[Any, list[str]]]:
        found = explain(path, target, changes, {"USER_NAME": "someone"})
        return [(setting.value, _places(setting, str(path.parent))) for setting in found]

    return answer


def _places(setting: Setting, folder: str) -> list[str]:
    return [
        " ".join(f"{source.mark}={source.value}".replace(f"{folder}/", "") for source in (step.source, *step.inserted))
        for step in setting.steps
    ]


def test_a_value_names_every_layer_that_set_it_the_last_one_first(explained: Any) -> None:
    places = ["suite.yaml:8:11=3", "middle.yaml:3:16=2", "low.yaml:4:16=1"]
    assert explained("one.argv.--lr") == [(3, places)]
    assert explained("one.argv.--lr", "one.argv.--lr=4") == [(4, ["--override:1:15=4", *places])]


def test_a_value_of_the_environment_names_its_variable(explained: Any) -> None:
    written = "suite.yaml:10:13=${oc.env:USER_NAME} environment variable USER_NAME:1:1=someone"
    assert explained("one.argv.--user") == [("someone", [written])]


def test_a_reference_names_what_it_leads_to(explained: Any) -> None:
    assert explained("one.argv.--same") == [(3, ["suite.yaml:11:13=${.--lr} suite.yaml:8:11=3"])]


def test_what_every_benchmark_is_given_and_the_built_in_value_below_it(explained: Any) -> None:
    places = ["suite.yaml:3:17=5m", "built-in defaults:3:17=600"]
    assert explained("one.max_duration") == [("5m", places)]


@pytest.mark.parametrize(("cell", "place"), [("16", "suite.yaml:14:10=16"), ("64", "suite.yaml:15:20=64")])
def test_a_cell_names_its_value_in_the_matrix(explained: Any, cell: str, place: str) -> None:
    (value, places) = explained(f"many-{cell}.argv.--batch")[0]
    assert (value, places) == (f"0{cell}", [f"suite.yaml:19:21={{bs:03d}} {place}"])


def test_a_removed_key_says_what_it_was(explained: Any) -> None:
    assert explained("one.argv.--gone") == [(None, ["suite.yaml:9:13=None", "low.yaml:4:41=1"])]


def test_a_union_names_all_its_parts(explained: Any) -> None:
    assert explained("one.tags") == [(["a", "b"], ["suite.yaml:6:9=['a', 'b']", "low.yaml:5:9=['a']"])]


def test_a_whole_benchmark_tells_its_defaults_too(suites: Any, explained: Any) -> None:
    del explained
    found = explain(suites.folder / "suite.yaml", "one", (), {"USER_NAME": ""})
    said = {setting.path[1:]: setting for setting in found}
    assert said["group",].default
    assert (said["group",].value, said["weight",].value) == ("one", 1.0)
    assert not said["plan", "method"].default


def test_templates_can_be_asked_for(explained: Any) -> None:
    assert explained("_parent.argv.--model") == [("low", ["low.yaml:4:28=low"])]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("onee", "did you mean 'one'"),
        ("one.argv.--lrr", "did you mean '--lr'"),
        ("one.nope", "it has"),
        ("one.max_duration.x", "has no 'x'"),
        ("many", "matrix of 3 benchmarks"),
        ("", "no entry"),
        ("...", "no entry"),
    ],
)
def test_a_target_that_is_not_there_is_told_with_what_is(explained: Any, target: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        explained(target)
