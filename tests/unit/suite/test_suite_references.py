from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from milabench.document import Node, annotate, plain
from milabench.interpolation import Interpolator, escaped
from milabench.problems import Problems

HERE = Node(None, "f.yaml", 1, 1)


def resolved(tree: dict[str, Any], environ: dict[str, str] | None = None) -> tuple[dict[str, Any], list[str]]:
    problems = Problems()
    nodes = {name: annotate(value, HERE) for name, value in tree.items()}
    references = Interpolator(nodes, nodes.__getitem__, problems, environ=environ or {}, keep=("system",))
    return {name: plain(references.resolve(name)) for name in tree}, [one.code for one in problems.errors]


@pytest.mark.parametrize(
    ("tree", "result"),
    [
        ({"a": {"x": 1, "y": "${.x}"}}, {"a": {"x": 1, "y": 1}}),
        ({"a": {"x": 1, "b": {"y": "${..x}"}}}, {"a": {"x": 1, "b": {"y": 1}}}),
        ({"a": {"x": 2, "l": ["n >= ${..x}"]}}, {"a": {"x": 2, "l": ["n >= 2"]}}),
        ({"a": {"x": "${b.y}-${b.z}"}, "b": {"y": "p", "z": True}}, {"a": {"x": "p-True"}, "b": {"y": "p", "z": True}}),
        ({"a": "${b}", "b": {"c": "${.d}", "d": 3}}, {"a": {"c": 3, "d": 3}, "b": {"c": 3, "d": 3}}),
        ({"a": "${b.c}", "b": "${d}", "d": {"c": 4}}, {"a": 4, "b": {"c": 4}, "d": {"c": 4}}),
        ({"a": {"--lr": 1, "y": "${.--lr}"}}, {"a": {"--lr": 1, "y": 1}}),
        ({"a": ["p", "${.0}"]}, {"a": ["p", "p"]}),
        ({"a": r"\${b} and \\${c}", "c": 1}, {"a": r"${b} and \1", "c": 1}),
        ({"a": "${system.arch} ${system.nodes}"}, {"a": "${system.arch} ${system.nodes}"}),
        ({"a": "${main:port}/${secret:TOKEN}"}, {"a": "${main:port}/${secret:TOKEN}"}),
        ({"a": "${b}:${main:port}", "b": 1}, {"a": "1:${main:port}", "b": 1}),
        ({"a": "${oc.env:HOME}/x", "b": "${oc.env:NONE,'z'}"}, {"a": "/h/x", "b": "z"}),
        ({"a": {"k": ["v", "w"]}, "b": "${a.k[1]}"}, {"a": {"k": ["v", "w"]}, "b": "w"}),
        ({"a": {"k": "x", "${.k}": 1, "y": "${oc.decode:'[1, 2]'}"}}, {"a": {"k": "x", "${.k}": 1, "y": [1, 2]}}),
        ({"a": {"p": "x", "x": 7, "y": "${a.${a.p}}"}}, {"a": {"p": "x", "x": 7, "y": 7}}),
    ],
)
def test_references_are_replaced(tree: dict[str, Any], result: dict[str, Any]) -> None:
    assert resolved(tree, {"HOME": "/h"}) == (result, [])


@pytest.mark.parametrize("value", ["${x}", "$(date) ${y}", "\\", "$", "a\\${b}", "\x010\x01", "}", "${oc.env:W}", "'"])
@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("${oc.env:V}", "{}"),
        ("${oc.env:V}${b}", "{}1"),
        ("${oc.env:V}{b}", "{}{{b}}"),
        ("${l[0]}/${oc.env:V}/${secret:T}", "2/{}/${{secret:T}}"),
    ],
)
def test_the_value_of_a_variable_is_final(text: str, result: str, value: str) -> None:
    tree = {"a": text, "b": 1, "l": [2], "y": 3}
    assert resolved(tree, {"V": value, "W": "w"}) == ({**tree, "a": result.format(value)}, [])


def test_a_variable_may_name_a_key() -> None:
    tree = {"a": "${sizes.${oc.env:V}}", "b": "${sizes[${oc.env:V}]}", "sizes": {"large": 8}}
    assert resolved(tree, {"V": "large"}) == ({"a": 8, "b": 8, "sizes": {"large": 8}}, [])
    assert resolved(tree, {"V": "${b}"})[1] == ["E205"]


@pytest.mark.parametrize(
    ("tree", "code"),
    [
        ({"a": "${nope}"}, "E205"),
        ({"a": {"x": "${.nope}"}}, "E205"),
        ({"a": "${....x}"}, "E205"),
        ({"a": {"b": 1}, "c": "text ${a}"}, "E205"),
        ({"a": "${oc.env:NOPE}"}, "E205"),
        ({"a": "${oc.nope:1}"}, "E205"),
        ({"a": "${b}", "b": "${a}"}, "E206"),
        ({"a": {"b": "${a}"}}, "E206"),
        ({"a": {"x": "${.x}"}}, "E206"),
    ],
)
def test_references_that_lead_nowhere_are_told(tree: dict[str, Any], code: str) -> None:
    assert set(resolved(tree)[1]) == {code}


def test_an_unknown_reference_is_told_at_its_place_with_the_nearest_name(suites: Any) -> None:
    text = "x:\n  inherits: _base\n  num_machines: 2\n  requires_capabilities:\n    - len(nodes) >= ${..num_machine}\n"
    (problem,) = suites.problems(text)
    assert (problem.code, problem.suggestion) == ("E205", "num_machines")
    assert (problem.mark.line, problem.mark.column) == (6, 7)


def test_a_reference_in_a_parent_means_what_the_child_has(suites: Any) -> None:
    text = (
        "_p: {inherits: _base, num_machines: 2, requires_capabilities: ['len(nodes) >= ${..num_machines}']}\n"
        "x: {inherits: _p}\ny: {inherits: _p, num_machines: 4}\n"
    )
    assert [one.requires for one in suites.all(text).values()] == [("len(nodes) >= 2",), ("len(nodes) >= 4",)]


def test_a_wrong_reference_in_a_number_is_one_mistake(suites: Any) -> None:
    assert suites.places("x: {inherits: _base, num_machines: '${nope.n}'}\n") == [("E205", 1)]


names = st.sampled_from(["a", "b", "c"])
references = st.one_of(
    st.tuples(names, names).map(lambda pair: f"${{{pair[0]}.{pair[1]}}}"),
    names.map(lambda name: f"${{.{name}}}"),
    names.map(lambda name: f"${{..{name}}}"),
    names.map(lambda name: f"<${{{name}}}>"),
    st.tuples(names, names).map(lambda pair: f"${{.{pair[0]}}}-${{{pair[1]}}}"),
)
leaves = st.one_of(st.integers(0, 9), st.booleans(), st.sampled_from(["p", "q"]), references)
inner = st.dictionaries(names, leaves | st.lists(leaves, max_size=2), max_size=3)
trees = st.dictionaries(names, leaves | inner, min_size=1, max_size=3)


def oracle(tree: dict[str, Any]) -> dict[str, Any] | None:
    try:
        value = OmegaConf.to_container(OmegaConf.create(tree), resolve=True)
    except (OmegaConfBaseException, RecursionError):
        return None
    assert isinstance(value, dict)
    return value


@settings(max_examples=150, deadline=None)
@given(trees)
def test_simple_references_mean_what_omegaconf_has_them_mean(tree: dict[str, Any]) -> None:
    expected = oracle(tree)
    result, codes = resolved(tree)
    if any(sign in text for text in _texts(expected) for sign in "{["):
        assert codes  # a map or list inside a text: there it is written out, here it is a mistake
    else:
        assert bool(codes) == (expected is None)
        assert codes or result == expected


pieces = st.lists(
    st.sampled_from(
        ["${a}", "${b.c}", "${.y}", r"\${a}", r"\\${a}", r"\\\${a}", "\\", "$", "{a}", "x", " ", "$${a}", "é"]
    ),
    min_size=1,
    max_size=6,
).map("".join)


@settings(max_examples=200, deadline=None)
@given(pieces)
def test_references_and_backslashes_inside_a_text_mean_what_omegaconf_has_them_mean(text: str) -> None:
    tree = {"a": 1, "b": {"c": "two"}, "x": {"y": True, "z": text}}
    assert resolved(tree) == (oracle(tree), [])


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        value = list(value.values())
    return [value] if isinstance(value, str) else sum(map(_texts, value), []) if isinstance(value, list) else []


PIECES = [
    "\\",
    "${",
    "}",
    "$",
    "{",
    "a",
    "system.arch",
    ".",
    ":",
    "oc.env:",
    "${secret:A}",
    "${system.x}",
    "${a.b}",
    " ",
]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=7).map("".join))
def test_an_escaped_text_is_read_as_the_text(text: str) -> None:
    problems = Problems()
    at = Node(None, "f.yaml", 1, 1)
    entry = annotate({"x": escaped(text, keep=("system",)), "b": 1}, at)
    read = Interpolator({"a": entry}, lambda _: entry, problems, environ={}, keep=("system",)).resolve("a")
    assert (plain(read)["x"], problems.errors) == (text, [])


@pytest.mark.parametrize("text", ["${system.arch}/x", "NAME=${secret:NAME}", "$5 {cpu_count}"])
def test_what_stays_as_it_stands_is_not_escaped(text: str) -> None:
    assert escaped(text, keep=("system",)) == text
