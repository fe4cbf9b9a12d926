from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from milabench.document import Node, annotate, plain
from milabench.merge import merge, settled
from milabench.problems import Problems

HERE = Node(None, "f.yaml", 1, 1)


def merged(lower: Any, upper: Any) -> tuple[Any, list[str]]:
    problems = Problems()
    node = merge(annotate(lower, HERE), annotate(upper, HERE), problems, "a")
    return plain(settled(node)), [problem.code for problem in problems.errors]


@pytest.mark.parametrize(
    ("lower", "upper", "result"),
    [
        ({"x": 1, "y": {"z": 2}}, {"y": {"w": 3}}, {"x": 1, "y": {"z": 2, "w": 3}}),
        ({"x": 1}, {"x": 2}, {"x": 2}),
        ({"x": [1, 2]}, {"x": [3]}, {"x": [3]}),
        ({"x": [1, 2]}, {"x": {"append": [3]}}, {"x": [1, 2, 3]}),
        ({"x": {"append": [1]}}, {"x": {"append": [2]}}, {"x": [1, 2]}),
        ({}, {"x": {"append": [1]}}, {"x": [1]}),
        ({"x": None}, {"x": {"append": [1]}}, {"x": [1]}),
        ({"x": {"append": [1]}}, {"x": [2]}, {"x": [2]}),
        ({"x": {"y": 1}}, {"x": [2]}, {"x": [2]}),
        ({"x": {"y": 1}}, {"x": None}, {"x": None}),
        ({"x": None}, {"x": {"y": 1}}, {"x": {"y": 1}}),
        ({"x": 1}, {"x": {"y": 1}}, {"x": {"y": 1}}),
        ({"x": {"y": 1}}, {"x": 3}, {"x": 3}),
    ],
)
def test_values_merge_by_their_kinds(lower: Any, upper: Any, result: Any) -> None:
    assert merged(lower, upper) == (result, [])


@pytest.mark.parametrize(
    ("lower", "upper"),
    [
        ({"x": [1]}, {"x": {"y": 1}}),
        ({"x": {"append": [1]}}, {"x": {"y": 1}}),
        ({"x": {"y": 1}}, {"x": {"append": [1]}}),
    ],
)
def test_a_map_and_a_list_do_not_mix(lower: Any, upper: Any) -> None:
    assert merged(lower, upper)[1] == ["E204"]


keys = st.sampled_from(["a", "b", "c"])
trees = st.recursive(
    st.none() | st.integers(0, 9), lambda inner: st.dictionaries(keys, inner, max_size=3), max_leaves=8
)
maps = st.dictionaries(keys, trees, max_size=3)


def reference(lower: Any, upper: Any) -> Any:
    if isinstance(lower, dict) and isinstance(upper, dict):
        return {
            **{key: reference(value, upper[key]) if key in upper else value for key, value in lower.items()},
            **{key: value for key, value in upper.items() if key not in lower},
        }
    return upper


@settings(max_examples=100, deadline=None)
@given(maps, maps, maps)
def test_merging_maps_is_by_key_in_order_and_changes_nothing(one: Any, two: Any, three: Any) -> None:
    problems = Problems()
    low, middle, top = (annotate(tree, HERE) for tree in (one, two, three))
    left = merge(merge(low, middle, problems, ""), top, problems, "")
    assert plain(left) == reference(reference(one, two), three)
    assert list(plain(left)) == list(reference(reference(one, two), three))
    assert (plain(low), plain(middle), plain(top)) == (one, two, three)
    assert plain(merge(low, low, problems, "")) == one
    assert plain(merge(low, annotate({}, HERE), problems, "")) == one


scalars = st.none() | st.booleans() | st.integers(0, 9) | st.sampled_from(["p", ""])
lists = st.lists(st.integers(0, 9), max_size=3)
appends = lists.map(lambda items: {"append": items})
mixed = st.recursive(
    scalars | lists | appends,
    lambda inner: st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)


class Mixed(Exception):
    """A map over a list, or an append onto a map."""


def added(value: Any) -> list[Any] | None:
    return value["append"] if isinstance(value, dict) and set(value) == {"append"} else None


def by_the_rules(lower: Any, upper: Any) -> Any:
    """Merge plain values, rule by rule."""
    if not isinstance(upper, dict):
        return upper
    more, pending = added(upper), added(lower)
    if more is not None:
        if isinstance(lower, list):
            return [*lower, *more]
        if pending is not None:
            return {"append": [*pending, *more]}
        if isinstance(lower, dict) and lower:
            raise Mixed
        return upper
    if isinstance(lower, list) or pending is not None:
        raise Mixed
    if not isinstance(lower, dict):
        return upper
    return {**lower, **upper, **{key: by_the_rules(lower[key], upper[key]) for key in lower if key in upper}}


def without_append(value: Any) -> Any:
    if isinstance(value, dict):
        items = added(value)
        return {key: without_append(entry) for key, entry in value.items()} if items is None else items
    return value


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(keys, mixed, max_size=3), st.dictionaries(keys, mixed, max_size=3))
def test_values_of_any_kinds_merge_by_the_rules(lower: Any, upper: Any) -> None:
    try:
        expected = without_append(by_the_rules(lower, upper))
    except Mixed:
        assert set(merged(lower, upper)[1]) == {"E204"}
    else:
        assert merged(lower, upper) == (expected, [])


of_a_kind = st.recursive(
    st.fixed_dictionaries({}, optional={"n": st.integers(0, 9), "list": lists | appends}),
    lambda inner: st.fixed_dictionaries({}, optional={"n": st.integers(0, 9), "a": inner, "b": inner}),
    max_leaves=4,
)


@settings(max_examples=200, deadline=None)
@given(of_a_kind, of_a_kind, of_a_kind)
def test_where_kinds_agree_layers_may_be_merged_from_either_side(one: Any, two: Any, three: Any) -> None:
    problems = Problems()
    low, middle, top = (annotate(tree, HERE) for tree in (one, two, three))
    left = merge(merge(low, middle, problems, ""), top, problems, "")
    right = merge(low, merge(middle, top, problems, ""), problems, "")
    assert plain(settled(left)) == plain(settled(right))
    assert settled(settled(left)) is settled(left) or plain(settled(settled(left))) == plain(settled(left))
    assert (plain(low), plain(middle), plain(top), problems.errors) == (one, two, three, [])


def pruned(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: pruned(entry) for key, entry in value.items() if entry is not None}
    return value


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(maps, maps, maps)
def test_null_in_a_layer_removes_what_layers_below_have(suites: Any, one: Any, two: Any, three: Any) -> None:
    for name, tree in (("one.yaml", one), ("two.yaml", two)):
        suites.write(json.dumps({"x": {"x-data": tree}}), name)
    text = "include: [one.yaml, two.yaml]\n" + f"x: {json.dumps({'inherits': '_base', 'x-data': three})}\n"
    assert suites.one(text).config.get("x-data") == pruned(reference(reference(one, two), three))


words = st.sampled_from(["a", "b", "c", "d"])


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.lists(st.lists(words, max_size=3), min_size=1, max_size=4))
def test_tags_are_the_sorted_union_of_all_along_inherits(suites: Any, tags: list[list[str]]) -> None:
    chain = "".join(
        f"_{number}: {{inherits: {f'_{number - 1}' if number else '_base'}, tags: {json.dumps(each)}}}\n"
        for number, each in enumerate(tags)
    )
    expected = tuple(sorted({word for each in tags for word in each}))
    assert suites.one(f"{chain}x: {{inherits: _{len(tags) - 1}}}\n").tags == expected


def test_a_parent_is_merged_once_all_layers_are(suites: Any) -> None:
    suites.write("_p: {inherits: _base, argv: {--a: 1}}\nx: {inherits: _p, argv: {--b: 2}}\n", "low.yaml")
    assert suites.one("include: low.yaml\n_p: {argv: {--a: 9, --c: 3}}\n").config["argv"] == {
        "--a": 9,
        "--c": 3,
        "--b": 2,
    }


def test_of_several_parents_the_later_has_the_say(suites: Any) -> None:
    text = (
        "_p: {weight: 1, tags: [b], env: {P: 1}}\n_q: {weight: 2, tags: [a]}\n"
        "x: {inherits: [_base, _p, _q], tags: [c]}\n"
    )
    benchmark = suites.one(text)
    assert (benchmark.weight, benchmark.tags, benchmark.env) == (2.0, ("a", "b", "c"), {"P": "1"})


@pytest.mark.parametrize(
    ("tags", "result"),
    [
        ("", ("p", "q")),
        ("tags: [z, a]", ("a", "p", "q", "z")),
        ("tags: z", ("p", "q", "z")),
        ("tags: null", ()),
        ("tags: {append: [z]}", ("p", "q", "z")),
    ],
)
def test_tags_are_the_sorted_union_along_inherits(suites: Any, tags: str, result: tuple[str, ...]) -> None:
    benchmark = suites.one(f"_p: {{inherits: _base, tags: [q, p]}}\nx:\n  inherits: _p\n  {tags}\n")
    assert benchmark.tags == result
    assert tuple(benchmark.config["tags"]) == result


def test_tags_of_a_later_layer_replace(suites: Any) -> None:
    suites.write("x: {inherits: _base, tags: [old]}\n", "low.yaml")
    assert suites.one("include: low.yaml\nx: {tags: [new]}\n").tags == ("new",)


def test_the_star_is_merged_last_into_every_benchmark(suites: Any) -> None:
    text = (
        "'*': {env: {X: all}, weight: 3}\nx: {inherits: _base, env: {X: own, Y: own}}\n"
        "m: {matrix: {n: [1]}, job: {name: 'm{n}', inherits: _base}}\n"
    )
    found = suites.all(text)
    assert {name: (one.env, one.weight) for name, one in found.items()} == {
        "x": ({"X": "all", "Y": "own"}, 3.0),
        "m1": ({"X": "all"}, 3.0),
    }


@pytest.mark.parametrize(
    ("text", "places", "words"),
    [
        ("x: {inherits: _bsae}\n", [("E202", 1)], "there is no such entry"),
        ("x: {inherits: x}\n", [("E203", 1)], "x → x"),
        ("x: {inherits: y}\ny: {inherits: z}\nz: {inherits: y}\n", [("E203", 3)], "y → z → y"),
        ("x: {inherits: 3}\n", [("E301", 1)], "needs a name"),
        ("x: {inherits: m}\nm: {matrix: {n: 1}, job: {name: 'm{n}', inherits: _base}}\n", [("E202", 1)], "is a matrix"),
        ("_p: {inherits: _nope}\n", [("E202", 1)], "there is no such entry"),
        ("_p: {inherits: _nope}\nx: {inherits: _p}\ny: {inherits: _p}\n", [("E202", 1)], "there is no such entry"),
        ("_p: {argv: [a]}\nx: {inherits: [_base, _p], argv: {--a: 1}}\n", [("E204", 2)], "is a list so far"),
    ],
)
def test_a_parent_that_cannot_be_is_told_once_and_nothing_that_follows_from_it(
    suites: Any, text: str, places: list[tuple[str, int]], words: str
) -> None:
    problems = suites.problems(text)
    assert [(one.code, one.mark.line - 1) for one in problems] == places
    assert words in problems[0].message


def test_an_unknown_parent_suggests_the_nearest_name(suites: Any) -> None:
    assert suites.problems("x: {inherits: _bsae}\n")[0].suggestion == "_base"


def test_values_keep_the_place_they_were_written_at_through_merging(suites: Any) -> None:
    suites.write("x: {inherits: _base,\n  weight: -1,\n  num_machines: 0}\n", "low.yaml")
    problems = suites.problems("include: low.yaml\nx: {env: 3}\n")
    assert [(one.mark.file.rsplit("/")[-1], one.mark.line, one.path) for one in problems] == [
        ("low.yaml", 2, "x.weight"),
        ("low.yaml", 3, "x.num_machines"),
        ("suite.yaml", 3, "x.env"),
    ]
