"""A resolved suite as a suite of its own: it resolves to the same benchmarks."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from milabench import document, suite
from milabench.errors import Mark
from milabench.suite import Benchmark, Suite, flat, resolve

ROOT = Path(__file__).parents[3]
PARTS = """
_parts: &parts
  definition: bench
  plan: {method: njobs, n: 2, share: true}
  max_duration: 90s
  tags: [b]
  argv: {--lr: 0.10, --gone: 1, --text: '0.10', --flag: true, --list: [1, x]}
  env: {N: 3, PATH_LIKE: yes}
"""


def without_marks(found: Suite) -> list[Benchmark]:
    nowhere = Mark(file="", line=1, column=1)
    return [dataclasses.replace(each, mark=nowhere, tokens=(), places=(), entry=each.name) for each in found.benchmarks]


def again(found: Suite, folder: Path) -> Suite:
    """Return the suite that is read from the flat form of another."""
    path = folder / "elsewhere" / "flat.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(document.dump(flat(found.benchmarks)))
    return resolve(path)


def entries(found: Suite) -> dict[str, Any]:
    return flat(found.benchmarks)


@pytest.mark.parametrize("name", ["quickstart", "smoke", "standard"])
def test_a_suite_of_ours_stays_what_it_is(name: str, tmp_path: Path) -> None:
    found = resolve(ROOT / "config" / f"{name}.yaml")
    assert without_marks(again(found, tmp_path)) == without_marks(found)


@pytest.mark.parametrize(
    "written",
    [
        "x: {inherits: _parts}",
        "x: {inherits: _parts, tags: [a], argv: {--gone: null}}",
        "x: {inherits: _parts, argv: [--lr, 0.10, true, '', 1e-1, ~x]}",
        "x: {inherits: _parts, enabled: false, weight: 2}\ny: {inherits: _parts}",
        "'*': {max_duration: 5, env: {N: null}}\nx: {inherits: _parts}",
        "x: {inherits: _parts, voir: {options: {stop: null}}}",
        "x: {inherits: _parts, voir: {options: {interval: null, skip: null, mine: 1}}}",
        "x: {inherits: _parts, voir: null}",
        "x: {inherits: _parts, voir: {options: null}}",
        "x: {inherits: _parts, voir: {options: {stop: {seconds: 3s}}}}",
        "x: {inherits: _parts, max_duration: null}",
        "x: {command: {argv: [sh, -c, 'echo ${y.x-n} \\${HOME} ${system.arch}'], env: {A: '{cpu_count}'}}}\n"
        "y: {inherits: _parts, x-n: 3}",
        "x: {inherits: _parts, install_variant: '${system.arch}', num_machines: 2, x-note: [a, {b: null}], "
        "requires_capabilities: ['nodes >= ${..num_machines}'], env: {HF_TOKEN: '${secret:HF_TOKEN}'}}",
        "m: {matrix: {size: [8, 16], on: [true, null], pair: [[1, 2]]}, job: {name: 'x{size}-{on}', inherits: _parts,"
        " argv: {--size: '{size}', --on: '{on}', --pair: '{pair}'}, voir: {options: {skip: null}}}}",
        "m: {matrix: {a: 1, include: [{b: 2}]}, job: {name: 'x{a}', inherits: _parts, argv: {--b: '{b}'}}}",
        "m: {matrix: {a: ['${x}', '\\${x}']}, job: {name: 'x', inherits: _parts, argv: {--a: '{a}'}}, "
        "exclude: {a: '\\${x}'}}",
    ],
)
def test_it_resolves_to_the_same(suites: Any, tmp_path: Path, written: str) -> None:
    found = suites.resolve(PARTS + written)
    assert without_marks(again(found, tmp_path)) == without_marks(found)


def test_nothing_is_left_to_work_out(suites: Any) -> None:
    found = entries(suites.resolve(PARTS + "x: {inherits: _parts, argv: {--gone: null}}\n"))
    assert list(found) == ["x"]
    assert found["x"] == {
        "definition": str(suites.folder / "bench"),
        "plan": {"method": "njobs", "n": 2, "share": True},
        "argv": {"--lr": 0.1, "--text": "0.10", "--flag": True, "--list": [1, "x"]},
        "env": {"N": "3", "PATH_LIKE": "yes"},
        "voir": {"options": {"stop": 60, "skip": 5, "interval": "1s"}},
        "max_duration": 90,
        "enabled": True,
        "weight": 1.0,
        "tags": ["b"],
        "group": "x",
        "install_group": "x",
    }


def test_keys_stand_in_the_order_they_are_described(suites: Any) -> None:
    (first,) = entries(suites.resolve(PARTS + "x: {x-own: 1, weight: 1, inherits: _parts}\n")).values()
    known = [key for key in suite.language.KEYS if key in first]
    assert list(first) == [*known, "x-own"]


def test_what_a_matrix_made_is_a_matrix_of_one_combination(suites: Any) -> None:
    found = entries(suites.resolve(PARTS + "m: {matrix: {a: [1, [2, 3]]}, job: {name: 'x{a}', inherits: _parts}}\n"))
    assert [entry["matrix"] for entry in found.values()] == [{"a": [1]}, {"a": [[2, 3]]}]
    assert [entry["job"]["name"] for entry in found.values()] == ["x1", "x2,3"]


def test_texts_are_shown_as_asked(suites: Any) -> None:
    found = suites.resolve(PARTS + "x: {inherits: _parts, argv: [hidden]}\n")
    shown = flat(found.benchmarks, lambda text: text.replace("hidden", "${secret:TOKEN}"))
    assert shown["x"]["argv"] == ["${secret:TOKEN}"]


def test_a_repository_is_named_wherever_the_file_is_read(suites: Any, tmp_path: Path) -> None:
    (tmp_path / "repository").mkdir()
    text = "x: {definition: {git: repository, tag: v1, path: a}, plan: {method: per_gpu}}\n"
    found = suites.resolve(text)
    assert entries(found)["x"]["definition"] == {"git": str(tmp_path / "repository"), "tag": "v1", "path": "a"}
    source = again(found, tmp_path).benchmarks[0].source
    assert source is not None
    assert dataclasses.replace(source, mark=found.benchmarks[0].source.mark) == found.benchmarks[0].source
