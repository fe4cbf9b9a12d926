from __future__ import annotations

from typing import Any

import pytest

from milabench.errors import UsageError
from milabench.provenance import Provenance
from milabench.suite import explain, resolve
from milabench.suite.language import KEYS

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
        return [(each.value, _places(each, str(path.parent))) for each in found]

    return answer


def _places(told: Provenance, folder: str) -> list[str]:
    return [
        " ".join(
            f"{source.mark}={source.value}".replace(f"{folder}/", "") for source in (place.source, *place.inserted)
        )
        for place in told.places
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
    assert explained("one.tags") == [(["a", "b"], ["suite.yaml:6:9=['b']", "low.yaml:5:9=['a']"])]


@pytest.mark.parametrize(
    ("text", "target", "value"),
    [
        ("x: {inherits: _p, tags: [big, alpha]}", "x", ["alpha", "big", "cpu"]),
        ("x: {inherits: _p, tags: [zed, cpu, 3]}", "x", ["3", "big", "cpu", "zed"]),
        ("x: {command: {argv: [a]}, tags: one}", "x", ["one"]),
        ("x: {inherits: _p}", "_p", ["big", "cpu"]),
    ],
)
def test_tags_are_told_as_a_benchmark_has_them(suites: Any, text: str, target: str, value: Any) -> None:
    path = suites.write(f"_p: {{command: {{argv: [a]}}, tags: [cpu, big]}}\n{text}\n")
    (told,) = explain(path, f"{target}.tags")
    assert told.value == value
    benchmark = resolve(path).benchmarks[0]
    assert target == "_p" or list(benchmark.tags) == value


LISTS = {
    "a union along parents": (
        "v: {inherits: p, tags: b}",
        ["a", "b"],
        [("b", "united with"), (["a"], "")],
    ),
    "an append": (
        "v: {inherits: p, tags: {append: [b]}}",
        ["a", "b"],
        [({"append": ["b"]}, "appended to"), (["a"], "")],
    ),
    "an append of an append": (
        "q: {inherits: p, url: {append: [b]}}\nv: {inherits: q, url: {append: ['${v.group}']}, group: g}",
        ["a", "b", "g"],
        [({"append": ["${v.group}"]}, "appended to"), ({"append": ["b"]}, "appended to"), (["a"], "")],
    ),
    "one that another layer replaces": (
        "include: lower.yaml\nv: {inherits: p, tags: [c]}",
        ["a", "c"],
        [(["c"], "replaced"), (["b"], "united with"), (["a"], "")],
    ),
    "appends of two layers": (
        "include: appending.yaml\nv: {inherits: p, url: {append: [c]}}",
        ["a", "b", "c"],
        [({"append": ["c"]}, "appended to"), ({"append": ["b"]}, "appended to"), (["a"], "")],
    ),
    "an append over nothing": ("v: {inherits: p, x-list: {append: [1]}}", [1], [({"append": [1]}, "")]),
    "an append of a cell": (
        "v: {matrix: {n: [7]}, job: {name: 'v-{n}', inherits: p, url: {append: ['u{n}']}}}",
        ["a", "u7"],
        [({"append": ["u{n}"]}, "appended to"), (["a"], "")],
    ),
}


@pytest.mark.parametrize(("text", "value", "places"), LISTS.values(), ids=LISTS)
def test_a_list_of_several_places_tells_what_each_adds(suites: Any, text: str, value: Any, places: Any) -> None:
    suites.write("v: {tags: [b]}", "lower.yaml")
    suites.write("v: {url: {append: [b]}}", "appending.yaml")
    path = suites.write(f"p: {{command: {{argv: [x]}}, tags: [a], url: [a]}}\n{text}")
    key = next(key for key in ("x-list", "url", "tags") if key in text)
    (found,) = explain(path, f"v-7.{key}" if "matrix" in text else f"v.{key}")
    assert found.value == value or sorted(found.value) == value
    assert [(place.source.value, place.below) for place in found.places] == places


def test_a_null_that_is_a_value_is_not_said_to_remove_its_key(suites: Any) -> None:
    path = suites.write("v: {command: {argv: [x]}, voir: {options: {stop: null}}, env: null}")
    said = {each.path[-1]: (each.value, each.removed) for each in explain(path, "v") if each.places}
    assert (said["stop"], said["env"]) == ((None, False), (None, True))


def test_a_whole_benchmark_tells_its_defaults_too(suites: Any, explained: Any) -> None:
    del explained
    found = explain(suites.folder / "suite.yaml", "one", (), {"USER_NAME": ""})
    said = {each.path[1:]: each for each in found}
    assert said["group",].default == KEYS["group"].otherwise
    assert (said["group",].value, said["weight",].value, said["num_machines",].value) == ("one", 1.0, 1)
    assert not said["plan", "method"].default
    assert ("validation", "usage", "gpu_load_threshold") not in said


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("one.weight", {"one.weight": 1.0}),
        ("one.num_machines", {"one.num_machines": 1}),
        ("one.plan.n", {"one.plan.n": 1}),
        ("one.plan", {"one.plan.method": "per_gpu", "one.plan.n": 1, "one.plan.share": False}),
        ("one.voir.options.gpu_poll", {"one.voir.options.gpu_poll": None}),
        ("one.validation.usage.gpu_load_threshold", {"one.validation.usage.gpu_load_threshold": None}),
    ],
)
def test_a_key_that_nothing_writes_can_be_asked_for(
    suites: Any, explained: Any, target: str, told: dict[str, Any]
) -> None:
    del explained
    found = explain(suites.folder / "suite.yaml", target, (), {"USER_NAME": ""})
    assert {".".join(each.path): each.value for each in found} == told
    assert all(bool(each.default) != bool(each.places) for each in found)


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
