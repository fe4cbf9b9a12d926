"""``multirun``: which runs a system file asks for, what they are called, and what is wrong in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from milabench import document, overrides
from milabench.document import plain
from milabench.errors import ConfigurationError
from milabench.problems import Problems
from milabench.system import resolve
from milabench.system.multirun import Variation, read

FACTS: dict[str, Any] = {"hostname": "here", "arch": "cpu", "devices": [], "environ": {}, "ips": []}
TWO = """\
multirun:
  runs:
    - name: "bs{sizer.mult}_{sizer.auto}.{time}"
      matrix:
        sizer.auto: 1
        sizer.mult: [0.50, 2]
        sizer.save: ["a/${system.arch}.yaml"]
    - name: "w{cpu.n_workers}.{time}.{sizer.capacity}"
      matrix:
        cpu.n_workers: [8, 16]
        sizer.capacity: [64Go, All]
"""


def variations(text: str, problems: Problems | None = None) -> tuple[Variation, ...]:
    node = document.parse(text, "system.yaml")
    assert node is not None
    assert isinstance(node.value, dict)
    return read(node.value["multirun"], problems or Problems())


def test_runs_are_the_products_of_their_matrices_first_key_outermost() -> None:
    found = variations(TWO)
    assert [each.name for each in found] == [
        "bs0.50_1",
        "bs2_1",
        "w8.{time}.64Go",
        "w8.{time}.All",
        "w16.{time}.64Go",
        "w16.{time}.All",
    ]
    assert {key: plain(node) for key, node in found[1].values.items()} == {
        "sizer.auto": 1,
        "sizer.mult": 2,
        "sizer.save": "a/${system.arch}.yaml",
    }


def test_values_are_overrides_of_the_systems_options() -> None:
    assert variations(TWO)[0].overrides == (
        "system.options.sizer.auto=1",
        "system.options.sizer.mult=0.5",
        'system.options.sizer.save="a/${system.arch}.yaml"',
    )


def test_options_that_stand_elsewhere_are_laid_there() -> None:
    (found,) = variations("multirun: {runs: [{name: x, matrix: {gpu.count: 2, arch: cuda}}]}\n")
    assert found.overrides == ("system.gpu.count=2", 'system.arch="cuda"')


@pytest.mark.parametrize("value", ["1", "1e-3", "true", "'1'", "'a: b'", "'[x'", "'=\"é'", "-4"])
def test_an_override_means_what_the_file_says(value: str) -> None:
    (found,) = variations(f"multirun: {{runs: [{{name: x, matrix: {{sizer.add: {value}}}}}]}}\n")
    (read_again,) = overrides.read(found.overrides, Problems())
    assert plain(read_again.node) == {"options": {"sizer": {"add": plain(found.values["sizer.add"])}}}


def test_a_form_may_be_given_in_a_name() -> None:
    (found,) = variations("multirun: {runs: [{name: 'b{sizer.add:03d}', matrix: {sizer.add: 7}}]}\n")
    assert found.name == "b007"


@pytest.mark.parametrize(
    ("images", "names"),
    [
        (["e.org/bench:1", "e.org/bench:2"], ["e.org-bench-1", "e.org-bench-2"]),
        (["/", "/srv/root", "~/root"], ["8a5eda", "srv-root", "root"]),
        (["a:1", "a/1", "a-1"], ["a-1-2b2c40", "a-1-773232", "a-1"]),
        (["i@sha256:ab"], ["i@sha256-ab"]),
    ],
)
def test_names_have_of_a_value_what_a_folder_can_be_called(images: list[str], names: list[str]) -> None:
    text = f"multirun: {{runs: [{{name: '{{docker.image}}', matrix: {{docker.image: {json.dumps(images)}}}}}]}}\n"
    assert [each.name for each in variations(text)] == names
    assert [plain(each.values["docker.image"]) for each in variations(text)] == images


@pytest.mark.parametrize("text", ["multirun:\n", "multirun: {}\n", "multirun: {runs: []}\n", "multirun: {x-mine: 3}\n"])
def test_there_may_be_no_runs(text: str) -> None:
    problems = Problems()
    assert (variations(text, problems), problems.errors, problems.warnings) == ((), [], [])


def test_a_file_may_hold_a_multirun_alone(tmp_path: Path) -> None:
    (tmp_path / "sizing.yaml").write_text(TWO)
    system = resolve(tmp_path / "sizing.yaml", FACTS)
    assert (system.warnings, system.main.name) == ((), "local")


def run(text: str) -> str:
    return f"multirun:\n  runs:\n    - {text}\n"


@pytest.mark.parametrize(
    ("text", "code", "place", "suggestion"),
    [
        ("multirun: 3\n", "E301", (1, 11), None),
        ("multirun: {rums: []}\n", "E201", (1, 12), "runs"),
        ("multirun: {runs: {name: x}}\n", "E301", (1, 18), None),
        (run("x"), "E301", (3, 7), None),
        (run("{name: x}"), "E216", (3, 7), None),
        (run("{matrix: {sizer.add: 1}}"), "E216", (3, 7), None),
        (run("{name: x, matrix: {sizer.add: 1}, nmae: y}"), "E201", (3, 41), "name"),
        (run("{name: 3, matrix: {sizer.add: 1}}"), "E301", (3, 14), None),
        (run("{name: x, matrix: [1]}"), "E301", (3, 25), None),
        (run("{name: x, matrix: {sizer.add: {a: 1}}}"), "E301", (3, 37), None),
        (run("{name: x, matrix: {sizer.add: []}}"), "E301", (3, 37), None),
        (run("{name: x, matrix: {sizer.add: [null]}}"), "E301", (3, 38), None),
        (run("{name: x, matrix: {'sizer=add': 1}}"), "E201", (3, 26), "sizer.add"),
        (run("{name: x, matrix: {sizer.mlt: 1}}"), "E201", (3, 26), "sizer.mult"),
        (run("{name: 'x{sizer.mul}', matrix: {sizer.mult: 1}}"), "E410", (3, 14), "sizer.mult"),
        (run("{name: 'x{sizer.mult.real}', matrix: {sizer.mult: 1}}"), "E410", (3, 14), "sizer.mult"),
        (run("{name: 'x{tme}', matrix: {sizer.mult: 1}}"), "E410", (3, 14), "time"),
        (run("{name: 'x{sizer.mult:d}', matrix: {sizer.mult: 0.5}}"), "E410", (3, 14), None),
        (run("{name: 'x/{sizer.add}', matrix: {sizer.add: 1}}"), "E209", (3, 14), None),
        (run("{name: '.hidden', matrix: {sizer.mult: 1}}"), "E209", (3, 14), None),
        (run("{name: 'x.{time}', matrix: {sizer.mult: [1, 2]}}"), "E208", (3, 14), None),
    ],
)
def test_what_is_wrong_is_one_mistake_with_its_place(
    text: str, code: str, place: tuple[int, int], suggestion: str | None
) -> None:
    problems = Problems()
    variations(text, problems)
    (problem,) = problems.errors
    assert problem.mark is not None
    assert (problem.code, (problem.mark.line, problem.mark.column), problem.suggestion) == (code, place, suggestion)


def test_a_list_of_finished_runs_is_said_to_do_nothing() -> None:
    problems = Problems()
    variations("multirun: {cache: done.jsonl}\n", problems)
    assert [(each.code, "starts anew" in each.message) for each in problems.warnings] == [("W111", True)]


def test_the_older_form_without_system_may_hold_a_multirun(tmp_path: Path) -> None:
    (tmp_path / "old.yaml").write_text("arch: cpu\n" + TWO)
    assert [warning.code for warning in resolve(tmp_path / "old.yaml", FACTS).warnings] == ["W109"]


def test_a_system_file_tells_what_is_wrong_in_its_multirun(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("system: {arch: cpu}\nmultirun: {rums: []}\n")
    with pytest.raises(ConfigurationError, match="did you mean 'runs'"):
        resolve(tmp_path / "bad.yaml", FACTS)
