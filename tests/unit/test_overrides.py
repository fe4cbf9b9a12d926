from __future__ import annotations

import pytest

from milabench.document import plain
from milabench.overrides import fitting, read
from milabench.problems import Problems


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("a.b=1", "a", {"b": 1}),
        ("a.b.c=[1, x]", "a", {"b": {"c": [1, "x"]}}),
        ("a.argv[train.lr]=1e-3", "a", {"argv": {"train.lr": "1e-3"}}),
        ("a.argv.--lr=0.1", "a", {"argv": {"--lr": 0.1}}),
        ("a.b=", "a", {"b": None}),
        ("a.b=x=y", "a", {"b": "x=y"}),
    ],
)
def test_an_override_is_a_value_below_its_keys(text: str, name: str, value: object) -> None:
    problems = Problems()
    (override,) = read([text], problems)
    assert (override.name, plain(override.node)) == (name, value)
    assert not problems.errors


def test_marks_count_the_overrides_and_point_at_the_value() -> None:
    first, second = read(["a.b=1", "a.c.d=2"], Problems())
    assert (first.node.line, first.node.column) == (1, 5)
    assert (second.node.line, second.node.column, second.node.file) == (2, 7, "--override")


@pytest.mark.parametrize("text", ["", "a", "a=1", "=1", "a.b", "a.b=[1"])
def test_what_is_no_override_is_told_at_its_number(text: str) -> None:
    problems = Problems()
    assert read(["x.y=1", text], problems)[1:] == []
    (problem,) = problems.errors
    assert problem.code == "E107"
    assert problem.mark is not None
    assert problem.mark.line == 2


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("x-0.weight", ("x-0", ["weight"])),
        ("x-0.1.weight", ("x-0.1", ["weight"])),
        ("[x-0.1].weight", ("x-0.1", ["weight"])),
        ("x-0.1[a.b]", ("x-0.1", ["a.b"])),
        ("x-0.1", ("x-0.1", [])),
        ("x-01.weight", None),
        ("", None),
    ],
)
def test_the_longest_name_that_fits_a_path_is_meant(path: str, found: object) -> None:
    assert fitting(path, ["x-0", "x-0.1"]) == found
