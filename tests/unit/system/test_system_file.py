"""What is wrong in a system file, and what of it does nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from system_files import FACTS, from_file

from milabench.errors import ConfigurationError
from milabench.system import Operator, resolve
from milabench.system.containers import arguments


def test_arguments_of_containers_that_do_nothing_are_told_and_left_out(tmp_path: Path) -> None:
    system = from_file(tmp_path, "system: {docker: {image: i, base: /b, args: [-it, --rm, --gpus=all]}}\n")
    assert [(each.code, each.path) for each in system.warnings] == [
        ("W111", "system.docker.base"),
        ("W111", "system.docker.args"),
        ("W111", "system.docker.args"),
    ]
    assert arguments(system.options["docker.args"]) == ("--gpus=all",)


@pytest.mark.parametrize(
    ("named", "image"),
    [
        ("~/root", "/home/me/root"),
        ("$HOME/root:O", "/home/me/root:O"),
        ("/root", "/root"),
        ("e.org/~/i:1", "e.org/~/i:1"),
    ],
)
@pytest.mark.parametrize("key", ["docker_image", "docker.image"])
def test_an_image_may_be_a_path_from_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, named: str, image: str
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    inner = f"docker_image: {named}" if key == "docker_image" else f"docker: {{image: {named}}}"
    assert from_file(tmp_path, f"system: {{{inner}}}\n").container == image


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("arch: cuda\nnodes: [{name: a, main: true}]\n", ["W109"]),
        ("system: {nodes: [{name: a}, {name: b}]}\n", ["W110"]),
        ("system: {arch: cuda, dash: true}\n", ["W111"]),
        ("system: {arch: cuda}\nmultirun: {runs: []}\n", []),
        ("system: {arch: cuda}\nmultirun: {cache: done.jsonl}\n", ["W111"]),
        ("system: null\n", []),
    ],
)
def test_what_is_old_or_does_nothing_is_a_warning(tmp_path: Path, text: str, codes: list[str]) -> None:
    assert [warning.code for warning in from_file(tmp_path, text).warnings] == codes


def test_a_lenient_reading_takes_the_last_of_doubled_keys_and_says_so(tmp_path: Path) -> None:
    text = "system: {arch: rocm, arch: cuda}\n"
    with pytest.raises(ConfigurationError, match="--legacy takes the last"):
        from_file(tmp_path, text)
    system = resolve(tmp_path / "system.yaml", FACTS, operator=Operator(lenient=True))
    assert (system.arch, [(each.code, str(each.mark)[-4:]) for each in system.warnings]) == ("cuda", [("W112", "1:22")])


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("base: /b", "system.base does nothing: it is an option of the command line"),
        ("dash: no", "system.dash does nothing: the terminal says what can be shown"),
        ("executor: {timeout: 3}", "system.executor does nothing: max_duration of a benchmark is it"),
    ],
)
def test_what_does_nothing_says_why(tmp_path: Path, key: str, why: str) -> None:
    assert [each.message for each in from_file(tmp_path, f"system: {{{key}}}\n").warnings] == [why]


@pytest.mark.parametrize(
    ("text", "code", "place", "suggestion"),
    [
        ("system: {arhc: cuda}\n", "E201", (1, 10), "arch"),
        ("sistem: {arch: cuda}\n", "E201", (1, 1), "system"),
        ("system:\n  nodes:\n    - {name: a, main: true, prot: 3}\n", "E201", (3, 29), "port"),
        ("system: {arch: cuda}\nx: 3\n", "E201", (2, 1), None),
        ("system: {arch: cdua}\n", "E306", (1, 16), "cuda"),
        ("system: {nodes: [{name: a, main: true}, {name: b, main: true}]}\n", "E215", (1, 41), None),
        ("system: {nodes: [{name: a, main: true}, {name: a}]}\n", "E208", (1, 41), None),
        ("system: {nodes: [{ip: a, main: true}]}\n", "E216", (1, 18), None),
        ("system: {nodes: {name: a}}\n", "E301", (1, 17), None),
        ("system: {nodes: [{name: a, main: yes}]}\n", "E301", (1, 34), None),
        ("system: {nodes: [{name: a, main: true, port: 99999}]}\n", "E302", (1, 46), None),
        ("system: {nodes: [{name: a, main: true, port: ssh}]}\n", "E301", (1, 46), None),
        ("system: {nodes: [{name: a/b, main: true}]}\n", "E209", (1, 25), None),
        ("system: {nodes: [{name: a, main: true, gpu: {cout: 3}}]}\n", "E201", (1, 46), "count"),
        ("system: {nodes: [{name: a, main: true, cpus: 0}]}\n", "E302", (1, 46), None),
        ("system: {gpu: {capacity: 10m}}\n", "E303", (1, 26), None),
        ("system: {gpu: {count: 3000000000}, arch: cuda}\n", "E302", (1, 23), None),
        ("system: {nodes: [{name: a, main: true, gpu: {count: 1001}}]}\n", "E302", (1, 53), None),
        ("system: {gpu: {count: many}}\n", "E301", (1, 23), None),
        ("system: {docker_image: 'm:${system.arhc}', arch: cuda}\n", "E205", (1, 24), "arch"),
        ("system: [1]\n", "E301", (1, 9), None),
        ("system: {options: 3}\n", "E301", (1, 19), None),
    ],
)
def test_what_is_wrong_in_a_file_is_one_mistake_with_its_place(
    tmp_path: Path, text: str, code: str, place: tuple[int, int], suggestion: str | None
) -> None:
    with pytest.raises(ConfigurationError) as raised:
        from_file(tmp_path, text)
    (problem,) = raised.value.problems
    assert problem.mark is not None
    assert (problem.code, (problem.mark.line, problem.mark.column), problem.suggestion) == (code, place, suggestion)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no such file"):
        resolve(tmp_path / "nowhere.yaml", FACTS)
