"""``explain``: the file and line of a value, through layers, a matrix, ``'*'``, a variable and an override."""

from __future__ import annotations

import json

from harness import Project

BASE = """
    _program:
      plan: {method: njobs}
      command: {argv: [sh, -c, exit], env: {SIZE: small, TOKEN_OF: "${oc.env:MY_API_KEY}"}}
"""
MIDDLE = """
    include: base.yaml
    _program:
      command: {env: {SIZE: middle}}
"""
TOP = """
    include: middle.yaml
    '*':
      weight: 3
    sweep:
      matrix:
        size: [8, 16]
      job:
        name: sweep-{size}
        inherits: _program
        command: {env: {SIZE: "{size}"}}
"""


def _project(project: Project) -> Project:
    for name, text in (("base.yaml", BASE), ("middle.yaml", MIDDLE), ("suite.yaml", TOP)):
        project.write(name, text)
    return project


def test_explain_names_every_place_that_set_a_value(project: Project) -> None:
    _project(project)
    key = ("explain", "sweep-16.command.env.SIZE", "--config", "suite.yaml")
    here, before = f"{project.folder}/", project.tree()
    done = project.milabench(*key, MY_API_KEY="k")
    assert done.code == 0, done.err
    below = [f"{here}middle.yaml:4:25 middle replaced", f"{here}base.yaml:4:47 small replaced"]
    assert [" ".join(line.split()) for line in done.out.splitlines()] == [
        "sweep-16.command.env.SIZE = 16",
        f"{here}suite.yaml:11:27 {{size}} ← 16 from {here}suite.yaml:7:15",
        *below,
    ]
    done = project.milabench(*key, "--override", "sweep.job.command.env.SIZE=9", MY_API_KEY="k")
    assert [" ".join(line.split()) for line in done.out.splitlines()] == [
        "sweep-16.command.env.SIZE = 9",
        "--override:1:28 9",
        f"{here}suite.yaml:11:27 {{size}} replaced",
        *below,
    ]
    assert project.tree() == before


def test_explain_as_json_and_without_the_values_of_secrets(project: Project) -> None:
    _project(project)
    secret = {"MY_API_KEY": "a-long-secret-value"}
    done = project.milabench("explain", "sweep-8", "--config", "suite.yaml", "--json", **secret)
    assert done.code == 0, done.err
    said = {value["path"]: value for value in json.loads(done.out)["values"]}
    assert said["sweep-8.weight"]["value"] == 3
    assert said["sweep-8.weight"]["places"][0]["line"] == 4
    assert said["sweep-8.command.env.TOKEN_OF"]["value"] == "${secret:MY_API_KEY}"
    assert "a-long-secret-value" not in done.out


def test_a_misspelt_target_is_one_line_with_what_is_meant(project: Project) -> None:
    _project(project)
    done = project.milabench("explain", "sweeep-8", "--config", "suite.yaml", MY_API_KEY="")
    assert (done.code, done.out) == (2, "")
    assert "did you mean 'sweep-8'?" in done.err


def test_a_secret_that_is_spelled_like_its_variable_is_no_trap(project: Project) -> None:
    project.write("suite.yaml", 'one: {command: {argv: [x]}, url: "${oc.env:OPENAI_API_KEY}"}')
    for verb in ("explain", "resolve"):
        done = project.milabench(verb, "one", "--config", "suite.yaml", OPENAI_API_KEY="OPENAI_API_KEY")
        assert (done.code, done.err) == (0, "")
        assert "${secret:OPENAI_API_KEY}" in done.out


def test_no_mistake_is_told_with_the_value_of_a_secret(project: Project) -> None:
    project.write("suite.yaml", 'one: {command: {argv: [x]}, weight: "${oc.env:MY_SECRET}"}')
    for words in (("check",), ("check", "--json"), ("plan",)):
        done = project.milabench(*words, "--config", "suite.yaml", MY_SECRET="it's \"a\\secret")
        assert done.code == 2
        assert "${secret:MY_SECRET}" in done.out + done.err
        assert "secret'" not in done.out + done.err
