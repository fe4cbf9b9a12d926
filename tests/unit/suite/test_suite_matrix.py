from __future__ import annotations

from typing import Any

import pytest

from milabench.suite import select


def test_cells_are_in_the_order_written_first_key_outermost(suites: Any) -> None:
    text = "m: {matrix: {b: [x, y], a: [1, 2]}, job: {name: '{b}{a}', inherits: _base}}\n"
    assert list(suites.all(text)) == ["x1", "x2", "y1", "y2"]


def test_a_cell_keeps_its_own_values_formatted(suites: Any) -> None:
    text = (
        "m:\n  matrix: {batch-size: [8, 16], lr: 0.5, amp: [true, null]}\n  job:\n    name: 'b{batch-size}-{amp}'\n"
        "    inherits: _base\n    group: g{batch-size}\n"
        "    env: {BS: 'is {batch-size}'}\n    num_machines: '{batch-size}'\n"
        "    argv: {--bs: '{batch-size}', '--lr={lr:.2f}': true, --amp: '{amp}',\n"
        "      --n: 'expr({batch-size} * 10)', --x: '{cpu_count}'}\n"
        "    client: {argv: {--c: '{batch-size}'}}\n"
    )
    found = suites.all(text)
    assert list(found) == ["b8-True", "b8-None", "b16-True", "b16-None"]
    one = found["b16-True"]
    assert one.config["argv"] == {
        "--bs": "16",
        "--lr=0.50": True,
        "--amp": True,
        "--n": "expr(16 * 10)",
        "--x": "{cpu_count}",
    }
    assert one.config["client"] == {"argv": {"--c": "16"}}
    assert (one.group, one.env, one.nodes) == ("g16", {"BS": "is 16"}, 16)
    assert one.labels == {"batch-size": "16", "lr": "0.5", "amp": "True"}
    assert one.config["matrix"] == {"batch-size": 16, "lr": 0.5, "amp": True}
    assert "--amp" not in found["b8-None"].config["argv"]


def test_a_scalar_is_one_value_and_never_its_letters(suites: Any) -> None:
    assert list(suites.all("m: {matrix: {a: word}, job: {name: 'x-{a}', inherits: _base}}\n")) == ["x-word"]


@pytest.mark.parametrize("beside", [False, True])
def test_rows_are_excluded_and_included(suites: Any, beside: bool) -> None:
    rows = "exclude: [{a: 1, b: 2}], include: [{b: 1, c: 9}, {a: 5, b: 5, c: 5}]"
    inside, outside = ("", f", {rows}") if beside else (f", {rows}", "")
    text = (
        f"m: {{matrix: {{a: [1, 2], b: [1, 2]{inside}}}{outside}, "
        "job: {name: 'x{a}{b}', inherits: _base, argv: {--c: '{b}'}}}\n"
    )
    found = suites.all(text)
    assert [dict(one.labels) for one in found.values()] == [
        {"a": "1", "b": "1", "c": "9"},
        {"a": "2", "b": "1", "c": "9"},
        {"a": "2", "b": "2"},
        {"a": "5", "b": "5", "c": "5"},
    ]


def test_an_excluded_one_is_not_true(suites: Any) -> None:
    text = "m: {matrix: {n: [1, 0, true], exclude: [{n: true}]}, job: {name: 'x{n}', inherits: _base}}\n"
    assert list(suites.all(text)) == ["x1", "x0"]


def test_a_dollar_before_a_key_is_a_reference_or_plain_text(suites: Any) -> None:
    text = (
        "n: {inherits: _base, env: {X: val}}\n"
        "m: {matrix: {n: [1]}, job: {name: 'x{n}', inherits: _base, env: {A: '${n.env.X}{n}', B: '\\${n}'}}}\n"
    )
    assert suites.all(text)["x1"].env == {"A": "val1", "B": "${n}"}


def test_parents_may_differ_from_cell_to_cell(suites: Any) -> None:
    text = (
        "_s: {inherits: _base, tags: [small]}\n_l: {inherits: _base, tags: [large]}\n"
        "m: {matrix: {size: [s, l], n: [1, 2]}, job: {name: '{size}{n}', inherits: '_{size}'}}\n"
    )
    assert {name: one.tags for name, one in suites.all(text).items()} == {
        "s1": ("small",),
        "s2": ("small",),
        "l1": ("large",),
        "l2": ("large",),
    }


def test_keys_beside_the_matrix_are_those_of_every_job(suites: Any) -> None:
    suites.write("m: {matrix: {n: [1, 2]}, job: {name: 'x{n}', inherits: _base, weight: 1}}\n", "low.yaml")
    found = suites.all("include: low.yaml\nm: {enabled: false}\n")
    assert [(one.enabled, one.weight) for one in found.values()] == [(False, 1.0), (False, 1.0)]


def test_references_are_replaced_before_cells_are_made(suites: Any) -> None:
    text = (
        "other: {inherits: _base, env: {X: val}}\n"
        "m: {matrix: {n: [1, 2]}, job: {name: 'x{n}', inherits: _base, num_machines: '{n}', "
        "argv: {--a: '{n}', --b: '${.--a}/${other.env.X}'}, "
        "requires_capabilities: ['len(nodes) >= ${..num_machines}']}}\n"
    )
    found = suites.all(text)
    assert [found[name].config["argv"]["--b"] for name in ("x1", "x2")] == ["1/val", "2/val"]
    assert [found[name].requires for name in ("x1", "x2")] == [("len(nodes) >= 1",), ("len(nodes) >= 2",)]


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("m: {matrix: {a: [1]}}\n", "E207", "no job"),
        ("m: {job: {name: x}}\n", "E207", "no matrix"),
        ("m: {matrix: [1], job: {name: x}}\n", "E207", "needs a map"),
        ("m: {matrix: {a: []}, job: {name: 'x{a}', inherits: _base}}\n", "E207", "no cell"),
        ("m: {matrix: {a: [1]}, job: {inherits: _base}}\n", "E207", "m-{a}"),
        ("m: {matrix: {a: [1], include: [3]}, job: {name: 'x{a}', inherits: _base}}\n", "E207", "rows that are maps"),
        ("m: {matrix: {a: [1, 2]}, job: {name: x, inherits: _base}}\n", "E208", "two benchmarks are called x"),
        ("x1: {inherits: _base}\nm: {matrix: {a: 1}, job: {name: 'x{a}', inherits: _base}}\n", "E208", "called x1"),
        ("m: {matrix: {a: 'b/c'}, job: {name: 'x{a}', inherits: _base}}\n", "E209", "cannot be a benchmark's name"),
        ("m: {matrix: {a: z}, job: {name: 'x{a:d}', inherits: _base}}\n", "E207", "cannot be written as"),
        (
            "m: {matrix: {a: 1, include: [{b: 2, a: 3}]}, job: {name: 'x{a}', inherits: _base, argv: {--b: '{b}'}}}\n",
            "E207",
            "no value for {b}",
        ),
        ("m: {matrix: {a: [1, 2]}, job: {name: 'x{a}', inherits: _base, wieght: 2}}\n", "E201", "'wieght'"),
    ],
)
def test_a_matrix_that_cannot_be_expanded_is_told_once(suites: Any, text: str, code: str, words: str) -> None:
    (problem,) = suites.problems(text)
    assert problem.code == code
    assert words in problem.message
    assert problem.mark is not None


def test_cells_share_what_they_have_in_common(suites: Any) -> None:
    text = (
        "m: {matrix: {n: [1, 2]}, job: {name: 'x{n}', inherits: _base, argv: {--n: '{n}'}, validation: {usage: {}}}}\n"
    )
    one, two = suites.all(text).values()
    assert one.config["voir"] is two.config["voir"]
    assert one.config["argv"] is not two.config["argv"]


SWEEP = "sweep: {matrix: {n: [1, 2]}, job: {name: 'sweep-{n}', inherits: _base, argv: {--n: '{n}', --lr: 1}}}\n"


def test_an_override_of_one_cell_leaves_the_others_alone(suites: Any) -> None:
    found = suites.all(SWEEP, "sweep-2.argv.--lr=3", "sweep-2.weight=2", "sweep.job.argv.--lr=2")
    assert found["sweep-1"].config["argv"] == {"--n": "1", "--lr": 2}
    assert found["sweep-2"].config["argv"] == {"--n": "2", "--lr": 3}
    assert found["sweep-2"].weight == 2


def test_an_override_may_name_a_cell_whose_name_has_dots(suites: Any) -> None:
    text = (
        "m: {matrix: {lr: [0, 0.1]}, job: {name: 'm.{lr}', inherits: _base}}\n"
        "v1.5: {inherits: _base}\nv1: {inherits: _base}\n"
    )
    found = suites.all(text, "m.0.1.weight=2", "m.0.weight=3", "v1.5.weight=4", "v1.weight=5", "m.job.tags=[t]")
    assert {name: (one.weight, one.tags) for name, one in found.items()} == {
        "m.0": (3, ("t",)),
        "m.0.1": (2, ("t",)),
        "v1.5": (4, ()),
        "v1": (5, ()),
    }


def test_an_override_of_what_is_no_cell_suggests_one(suites: Any) -> None:
    (problem,) = suites.problems(SWEEP, "sweep-3.argv.--lr=3")
    assert (problem.code, problem.mark.line, problem.suggestion) == ("E107", 1, "sweep-2")


def test_the_name_of_a_matrix_selects_all_its_cells(suites: Any) -> None:
    suite = select(suites.resolve(SWEEP + "other: {inherits: _base}\n"), ["sweep"])
    assert [benchmark.name for benchmark in suite.benchmarks] == ["sweep-1", "sweep-2"]
