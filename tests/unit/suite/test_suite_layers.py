from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from milabench.errors import ConfigurationError
from milabench.suite import resolve


def test_included_files_lie_under_the_file_that_names_them_depth_first(suites: Any) -> None:
    suites.write("a: {inherits: _base, weight: 1, tags: [deep]}\n", "sub/deep.yaml")
    suites.write("include: deep.yaml\na: {weight: 2, env: {X: sub}}\n", "sub/sub.yaml")
    suite = suites.resolve("include: [sub/sub.yaml]\na: {env: {Y: top}}\n")
    (benchmark,) = suite.benchmarks
    assert (benchmark.weight, benchmark.tags, benchmark.env) == (2.0, ("deep",), {"X": "sub", "Y": "top"})
    assert [Path(source).name for source in suite.sources] == ["deep.yaml", "sub.yaml", "suite.yaml"]


def test_a_file_included_twice_is_one_layer(suites: Any) -> None:
    suites.write("a: {inherits: _base, weight: 1}\n", "common.yaml")
    suites.write("include: common.yaml\na: {weight: 2}\n", "x.yaml")
    suites.write("include: common.yaml\n", "y.yaml")
    suite = suites.resolve("include: [x.yaml, y.yaml]\n")
    assert [benchmark.weight for benchmark in suite.benchmarks] == [2.0]
    assert [Path(source).name for source in suite.sources] == ["common.yaml", "x.yaml", "y.yaml", "suite.yaml"]


def test_a_cycle_of_includes_is_printed_at_the_include_that_closes_it(suites: Any) -> None:
    suites.write("include: suite.yaml\n", "other.yaml")
    (problem,) = suites.problems("include: other.yaml\n")
    assert problem.code == "E106"
    assert "suite.yaml → other.yaml → suite.yaml" in problem.message
    assert str(problem.mark).endswith("other.yaml:1:10")


def test_a_missing_include_is_told_at_its_line_and_does_not_hide_other_mistakes(suites: Any) -> None:
    suites.write("a: [1\n", "broken.yaml")
    text = "include:\n  - nowhere.yaml\n  - broken.yaml\n  - 3\n"
    assert sorted(code for code, _ in suites.places(text)) == ["E102", "E105", "E105"]


@pytest.mark.parametrize(
    ("content", "code"),
    [(None, "E101"), ("", "E103"), ("- a\n", "E103"), ("a: [1", "E102")],
)
def test_a_suite_that_cannot_be_read_is_a_configuration_error(tmp_path: Path, content: str | None, code: str) -> None:
    path = tmp_path / "suite.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigurationError) as raised:
        resolve(path)
    assert [problem.code for problem in raised.value.problems] == [code]
    assert str(raised.value).startswith(f"{path}:")


def test_defaults_are_built_in_and_can_be_reopened(suites: Any) -> None:
    text = (
        "_defaults: {voir: {options: {stop: 7}}, enabled: false}\n"
        "a: {inherits: [_base, _defaults]}\nb: {inherits: _base}\n"
    )
    found = suites.all(text)
    assert [(one.enabled, one.limit.observations, one.limit.skip) for one in found.values()] == [
        (False, 7, 5),
        (True, 7, 5),  # limits hold for what inherits nothing too; whether it is enabled does not
    ]
    assert found["b"].max_duration_s == 600.0
    assert found["b"].config["voir"] == {"options": {"stop": 7, "skip": 5, "interval": "1s"}}


def test_a_key_twice_hides_no_other_mistake_and_errors_hide_no_warning(suites: Any) -> None:
    text = "x: {inherits: _base, weight: 1, weight: 2, wieght: 3, tag: [a]}\n"
    with pytest.raises(ConfigurationError) as raised:
        suites.resolve(text)
    assert [problem.code for problem in raised.value.problems] == ["E104", "E201"]
    assert [warning.code for warning in raised.value.warnings] == ["W106"]


def test_the_command_line_wins_over_what_every_benchmark_is_given(suites: Any) -> None:
    text = "'*': {max_duration: 5m, env: {A: b}}\nx: {inherits: _base}\n"
    text += "m: {matrix: {n: [1, 2]}, job: {name: 'm{n}', inherits: _base}}\n"
    found = suites.all(text, "x.max_duration=3m", "m.job.env.A=c", "m1.env.A=d")
    assert [found[name].max_duration_s for name in ("x", "m1", "m2")] == [180.0, 300.0, 300.0]
    assert [found[name].env["A"] for name in ("x", "m1", "m2")] == ["b", "d", "c"]


def test_a_later_layer_removes_an_entry_by_null(suites: Any) -> None:
    suites.write("a: {inherits: _base}\nb: {inherits: _base}\n", "x.yaml")
    assert list(suites.all("include: x.yaml\na: null\n")) == ["b"]


def test_overrides_are_the_last_layer(suites: Any) -> None:
    text = "_p: {inherits: _base, argv: {--lr: 1}}\na: {inherits: _p, tags: [x]}\n"
    overrides = ["_p.argv.--lr=0.5", "a.argv[train.epochs]=3", "a.enabled=false", "*.env={X: 1}", "a.tags=[y, z]"]
    benchmark = suites.one(text, *overrides)
    assert benchmark.config["argv"] == {"--lr": 0.5, "train.epochs": 3}
    assert (benchmark.enabled, benchmark.env, benchmark.tags) == (False, {"X": "1"}, ("y", "z"))


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("nonsense", "is no override"),
        ("a=3", "names no key"),
        ("b.weight=3", "names no benchmark"),
        ("a.weight=[", "invalid YAML"),
    ],
)
def test_an_override_that_cannot_be_is_told(suites: Any, override: str, words: str) -> None:
    (problem,) = suites.problems("a: {inherits: _base}\n", override)
    assert problem.code == "E107"
    assert words in problem.message
    assert str(problem.mark) == "--override:1:1"


def test_a_wrong_value_of_an_override_is_told_with_its_place(suites: Any) -> None:
    (problem,) = suites.problems("a: {inherits: _base}\n", "a.enabled=true", "a.weight=-1")
    assert (problem.code, str(problem.mark)) == ("E302", "--override:2:10")


def test_a_null_in_a_file_without_benchmarks_is_a_warning(suites: Any) -> None:
    suite = suites.resolve("")
    assert suite.benchmarks == ()
    assert [warning.code for warning in suite.warnings] == ["W108"]


def test_a_lenient_reading_takes_the_last_of_doubled_keys_and_says_so(suites: Any) -> None:
    text = "_base: {definition: bench, plan: {method: per_gpu}}\nx: {inherits: _base, argv: {--a: 1, --a: 3}}\n"
    path = suites.write(text + "x: {inherits: _base, argv: {--c: 1}}\n")
    with pytest.raises(ConfigurationError) as raised:
        resolve(path)
    assert [problem.code for problem in raised.value.problems] == ["E104", "E104"]
    assert "--legacy" in raised.value.problems[0].message
    suite = resolve(path, lenient=True)
    places = [(warning.code, warning.mark.line, warning.mark.column) for warning in suite.warnings if warning.mark]
    assert places == [("W112", 2, 37), ("W112", 3, 1)]
    assert suite.benchmarks[0].config["argv"] == {"--c": 1}


def test_what_begins_with_x_at_the_top_is_a_note_unless_it_describes_a_benchmark(suites: Any) -> None:
    suites.write("x-fast: {definition: bench, plan: {method: per_gpu}}\nx-notes: [a, b]\n", "low.yaml")
    text = (
        "include: low.yaml\nx-notes: {who: me}\nx-word: hello\nx-none:\n"
        "x-fast: {weight: 2}\none: {inherits: _base, url: '${x-notes.who}'}\n"
    )
    found = suites.resolve(text)
    assert [(one.name, one.weight) for one in found.benchmarks] == [("x-fast", 2), ("one", 0)]
    assert found.benchmarks[1].config["url"] == "me"
    assert found.warnings == ()
