"""``resolve`` and ``schema``: what they print is what they say it is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from harness import OBSERVED, Project

SHAPE = ("--arch", "cuda", "--gpus", "8", "--cpus", "64", "--gpu-memory", "80GiB")
SUITE = """
    include: low.yaml

    '*': {max_duration: 3m, env: {EVERYWHERE: '1'}}

    copy:
      plan: {method: njobs, n: 2, share: true}
      command: {argv: [sh, -c, 'echo $HOME {cpu_count}'], cwd: folder}
      x-note: '\\${HOME} of ${.plan.n}'
      tags: [memory]
      argv: null

    sweep:
      matrix: {size: [8, 16], fast: [true, null], exclude: [{size: 16, fast: null}]}
      job:
        name: 'sweep-{size}-{fast}'
        inherits: [_train, _tagged]
        tags: [sweep]
        argv: {--size: '{size}', --fast: '{fast}', --workers: '{n_worker}', --data: '{milabench_data}'}

    far:
      inherits: _train
      num_machines: 2
      weight: 2
      requires_capabilities: ['len(nodes) >= ${..num_machines}']

    off: {inherits: _train, enabled: false}
"""
LOW = """
    _train: {definition: folder, install_group: torch, plan: {method: per_gpu}, voir: {options: {stop: null}}}
    _tagged: {tags: [low], group: sweeps}
"""


@pytest.fixture
def small(project: Project) -> Project:
    project.write("suite.yaml", SUITE)
    project.write("low.yaml", LOW)
    project.write("folder/main.py", OBSERVED)
    return project


def planned(project: Project, config: str, *options: str) -> tuple[str, Any]:
    """Return the plan as a script, and as data."""
    script = project.milabench("plan", "--config", config, *SHAPE, "--format", "sh", *options)
    data = project.milabench("plan", "--config", config, *SHAPE, "--json", *options)
    assert (script.code, script.err, data.code, data.err) == (0, "", 0, "")
    return script.out, data.json


@pytest.mark.parametrize("config", ["suite.yaml", "quickstart", "smoke", "standard"])
def test_the_plan_of_a_resolved_suite_is_that_of_the_suite(small: Project, config: str) -> None:
    done = small.milabench("resolve", "--config", config)
    assert (done.code, done.err) == (0, "")
    small.write("elsewhere/flat.yaml", done.out)
    assert planned(small, "elsewhere/flat.yaml") == planned(small, config)


def test_overrides_and_names_hold_in_it(small: Project) -> None:
    done = small.verb("resolve", "far", "--override", "far.num_machines=1", "--override", "far.argv.--lr=0.5")
    small.write("flat.yaml", done.out)
    options = ("--override", "far.num_machines=1", "--override", "far.argv.--lr=0.5", "--select", "far")
    assert planned(small, "flat.yaml") == planned(small, "suite.yaml", *options)


def test_resolving_twice_changes_nothing(small: Project) -> None:
    once = small.verb("resolve").out
    small.write("flat.yaml", once)
    assert small.milabench("resolve", "--config", "flat.yaml").out == once


def test_the_json_form_is_the_same_suite(small: Project) -> None:
    found = small.verb("resolve", "--json").json
    assert list(found) == ["copy", "sweep-8-True", "sweep-8-None", "sweep-16-True", "far", "off"]
    assert found["sweep-8-None"]["matrix"] == {"size": [8], "fast": [None]}
    assert found["copy"]["command"]["argv"] == ["sh", "-c", "echo $HOME {cpu_count}"]
    assert found["copy"]["x-note"] == "\\${HOME} of 2"


def test_a_name_that_is_none_is_refused(small: Project) -> None:
    done = small.verb("resolve", "fra")
    assert (done.code, done.out) == (2, "")
    assert "'fra' is no benchmark of suite.yaml: did you mean 'far'?" in done.err


@pytest.mark.parametrize(("options", "title"), [((), "milabench suite"), (("--system",), "milabench system")])
def test_the_schema_is_printed_as_json(project: Project, options: tuple[str, ...], title: str) -> None:
    found = json.loads(project.milabench("schema", *options).out)
    assert (found["title"], found["$schema"]) == (title, "https://json-schema.org/draft/2020-12/schema")
