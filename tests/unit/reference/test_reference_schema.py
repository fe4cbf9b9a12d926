"""The JSON Schema: valid itself, takes what the language takes, and refuses what an editor should point at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from keys_examples import suites, systems

from milabench import document
from milabench.errors import ConfigurationError
from milabench.reference import schema
from milabench.suite import resolve
from milabench.suite.language import KEYS, VOIR

ROOT = Path(__file__).parents[3]
PROFILES = ROOT / "config" / "profiles"  # of submit: no suites
OURS = sorted(
    each for part in ("config", "benchmarks") for each in ROOT.glob(f"{part}/**/*.yaml") if PROFILES not in each.parents
)
SUITE = Draft202012Validator(schema.suite())
SYSTEM = Draft202012Validator(schema.system())


def mistakes(text: str, judge: Draft202012Validator = SUITE) -> list[str]:
    """Return the paths of what a schema refuses."""
    node = document.parse(text, "test")
    assert node is not None
    return [".".join(map(str, error.absolute_path)) for error in judge.iter_errors(document.plain(node))]


@pytest.mark.parametrize("made", [schema.suite(), schema.system()], ids=["suite", "system"])
def test_the_schema_is_one(made: dict[str, Any]) -> None:
    Draft202012Validator.check_schema(made)
    assert made["$schema"] == Draft202012Validator.META_SCHEMA["$id"]


def test_suites_of_ours_are_found() -> None:
    assert {path.name for path in OURS} >= {"base.yaml", "standard.yaml", "quickstart.yaml", "suite.yaml"}


@pytest.mark.parametrize("path", OURS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_our_suites_are_taken(path: Path) -> None:
    assert mistakes(path.read_text()) == []


@pytest.mark.parametrize(("path", "text"), suites().items())
def test_every_example_of_a_suite_is_taken(path: str, text: str) -> None:
    assert mistakes(text) == []


@pytest.mark.parametrize(("path", "text"), systems().items())
def test_every_example_of_a_system_is_taken(path: str, text: str) -> None:
    assert mistakes(text, SYSTEM) == []


@pytest.mark.parametrize("key", [*KEYS])
def test_null_removes_any_key(key: str) -> None:
    assert mistakes(f"x: {{{key}: null}}") == []


@pytest.mark.parametrize(
    "text",
    [
        "x:",
        "x: {weight: '{w}', enabled: '{on}', plan: {n: '${.m}', share: '{s}'}, max_duration: '${_p.max_duration}'}",
        "x: {argv: '${_p.argv}', tags: '${_p.tags}', voir: '${_p.voir}', env: '${_p.env}', plan: '${_p.plan}'}",
        "x: {voir: {options: {stop: null, skip: '{n}', mine: 3}}, validation: {mine: {threshold: 3}}}",
        "x: {tags: {append: []}, argv: {append: [a]}, requires_capabilities: {append: [a]}, inherits: {append: [_p]}}",
        "x: {command: {env: {N: 1}}}",
        "x: {command: {argv: {append: [--more]}}}",
        "x: {plan: {method: per-gpu, n: '2'}, weight: '2.5', num_machines: 2.0, max_duration: 1.5}",
        "x: {argv: {'train.py': true, --lr: 0.1, --list: [1, a], --gone: null, --: [-x, 1], repo_id=\"a/b\": true}}",
        "x: {matrix: {a: 1, b: [true, null, [1, 2]], include: {a: 2}}, exclude: [{a: 1}], job: {name: 'x{a}'}}",
        "_t: {x-anything: [1], weight: null}",
        "x-notes: {who: me}\nx-list: [1]\nx-word: hello\nx-none:",
        "'*': {enabled: false}",
        "x: {capabilities: {nodes: 1}, docker_image: old, <<<: _p}",
        "include: [base.yaml, other.yaml]",
    ],
)
def test_what_the_language_allows_is_taken(text: str) -> None:
    assert mistakes(text) == []


WRONG = {
    "wieght: 2": "x",
    "name: other": "x",
    "weight: heavy": "x.weight",
    "weight: -1": "x.weight",
    "enabled: maybe": "x.enabled",
    "enabled: 1": "x.enabled",
    "tags: {a: 1}": "x.tags",
    "group: [a]": "x.group",
    "group: ''": "x.group",
    "num_machines: 0": "x.num_machines",
    "num_machines: 1.5": "x.num_machines",
    "max_duration: 3 parsec": "x.max_duration",
    "max_duration: 0": "x.max_duration",
    "max_duration: [1]": "x.max_duration",
    "plan: {method: per_gpus}": "x.plan",
    "plan: {methode: per_gpu}": "x.plan",
    "plan: {method: njobs, n: 0}": "x.plan",
    "plan: per_gpu": "x.plan",
    "voir: {stop: 3}": "x.voir",
    "voir: {options: {stop: 0}}": "x.voir",
    "voir: {options: {stop: {steps: 3}}}": "x.voir",
    "voir: {options: {interval: fast}}": "x.voir",
    "validation: {usage: {gpu_load_threshold: 50}}": "x.validation",
    "validation: {usage: {gpu_load_threshold: high}}": "x.validation",
    "argv: {--x: false}": "x.argv",
    "argv: {--x: {a: 1}}": "x.argv",
    "argv: 3": "x.argv",
    "argv: {--: x}": "x.argv",
    "env: {A: [1]}": "x.env",
    "env: [A]": "x.env",
    "requires_capabilities: {a: 1}": "x.requires_capabilities",
    "gradient_accumulation_steps: 0": "x.gradient_accumulation_steps",
    "use_deepspeed: 2": "x.use_deepspeed",
    "url: {a: 1}": "x.url",
    "dirs: 3": "x.dirs",
    "inherits: 3": "x.inherits",
    "definition: 3": "x.definition",
    "definition: [bench]": "x.definition",
    "command: sh": "x.command",
    "command: {argv: sh}": "x.command",
    "command: {argv: []}": "x.command",
    "command: {argv: [a], folder: .}": "x.command",
}


@pytest.mark.parametrize(("written", "place"), WRONG.items())
def test_what_an_editor_points_at_is_refused_by_the_reader_too(written: str, place: str, tmp_path: Path) -> None:
    assert mistakes(f"x: {{{written}}}") == [place]
    (tmp_path / "bench").mkdir()
    rest = "" if written.startswith("definition") else "definition: bench, "
    rest += "" if written.startswith("plan") else "plan: {method: per_gpu}, "
    (tmp_path / "suite.yaml").write_text(f"x: {{{rest}{written}}}")
    with pytest.raises(ConfigurationError):
        resolve(tmp_path / "suite.yaml")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("x: 3", "x"),
        ("x: [a]", "x"),
        ("include: 3", "include"),
        ("system: {arch: cpu}", "system"),
        ("x: {job: {nme: x}}", "x.job"),
    ],
)
def test_a_file_that_holds_something_else_is_refused(text: str, place: str) -> None:
    assert mistakes(text) == [place]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("sytem: {}", ""),
        ("system: {arch: gpu}", "system"),
        ("system: {ach: cuda}", "system"),
        ("system: {nodes: {name: a}}", "system"),
        ("system: {nodes: [{nme: a}]}", "system"),
        ("system: {nodes: [{name: a, port: 0}]}", "system"),
        ("system: {nodes: [{name: a, main: 1}]}", "system"),
        ("system: {gpu: {count: -1}}", "system"),
        ("system: {gpu: {capacity: lots}}", "system"),
        ("system: {docker: {name: x}}", "system"),
        ("system: {dirs: {foo: x}}", "system"),
        ("multirun: {run: []}", "multirun"),
        ("system: {options: {sizer: {multiple: many}}}", "system"),
        ("system: {options: {torchrun: {port: 0}}}", "system"),
        ("system: {options: {cpu: 3}}", "system"),
    ],
)
def test_a_system_that_an_editor_points_at(text: str, place: str) -> None:
    assert mistakes(text, SYSTEM) == [place]


@pytest.mark.parametrize(
    "written",
    [
        "sizer: {auto: 1, multiple: 8, capacity: 64Go, save: here.yaml}",
        "sizer: {auto: 'yes', capacity: All, add: -8, mult: 0.5}",
        "sizer.auto: true",
        "cpu: {enabled: '${oc.env:ENABLED,0}', max: null}",
        "mine: 3",
    ],
)
def test_options_are_taken_as_the_system_takes_them(written: str) -> None:
    assert mistakes(f"system: {{options: {{{written}}}}}", SYSTEM) == []


def test_an_option_says_its_variable_and_whether_it_has_an_effect() -> None:
    options = schema.system()["properties"]["system"]["anyOf"][0]["properties"]["options"]["anyOf"][0]["properties"]
    assert "MILABENCH_CPU_MAX" in options["cpu"]["properties"]["max"]["description"]
    assert options["cpu"]["properties"]["max"]["default"] == 16
    assert options["pip"]["properties"]["avoid_newer"]["deprecated"] is True


def test_a_key_says_all_an_editor_shows() -> None:
    method = schema.suite()["$defs"]["plan"]["anyOf"][0]["properties"]["method"]
    assert method["title"] == "plan.method"
    assert method["description"].startswith("per_gpu: one process per device")
    assert method["examples"] == ["per_gpu"]
    assert method["anyOf"][0] == {"enum": ["per_gpu", "njobs", "per_node", "per-gpu", "per-node"]}
    assert schema.suite()["$defs"]["max_duration"]["default"] == 600


@pytest.mark.parametrize("removed", ["", "'*': {max_duration: null, voir: null, enabled: null}"])
def test_the_built_in_defaults_are_those_described(tmp_path: Path, removed: str) -> None:
    (tmp_path / "suite.yaml").write_text(f"x: {{inherits: _defaults, command: {{argv: [a]}}}}\n{removed}\n")
    (benchmark,) = resolve(tmp_path / "suite.yaml").benchmarks
    assert benchmark.enabled == KEYS["enabled"].default
    assert benchmark.max_duration_s == KEYS["max_duration"].default
    assert (benchmark.limit.observations, benchmark.limit.skip) == (VOIR["stop"].default, VOIR["skip"].default)
    assert benchmark.config.get("voir", {}).get("options", {}).get("interval", "1s") == VOIR["interval"].default
