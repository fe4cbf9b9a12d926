"""A small file can ask for much, or for what never ends: it is told so, soon, and nothing is waited for."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import pytest

from milabench import document
from milabench.errors import MAX_TOLD, ConfigurationError
from milabench.suite import resolve

PROGRAM = "x: {command: {argv: [a]}, "
TEN = "&ten [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Return a folder of files that should not be read: a pipe, a device, links in a circle, a folder, a large file."""
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "zero.yaml").symlink_to("/dev/zero")
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    (tmp_path / "folder.yaml").mkdir()
    with (tmp_path / "large.yaml").open("wb") as file:
        file.truncate(document.MAX_BYTES + 1)
    return tmp_path


@pytest.mark.parametrize(
    ("include", "code"),
    [
        ("pipe.yaml", "E105"),
        ("zero.yaml", "E105"),
        ("loop.yaml", "E105"),
        ("folder.yaml", "E105"),
        ("large.yaml", "E101"),
        ("/dev/zero", "E105"),
        ("/dev/stdin", "E105"),
        ("/proc/self/mem", "E101"),
        ("~no-such-user/x.yaml", "E105"),
        ("a\\0b", "E105"),
        ("x" * 5000, "E105"),
    ],
)
def test_an_include_of_what_is_no_suite_is_told_and_not_waited_for(files: Path, include: str, code: str) -> None:
    path = files / "suite.yaml"
    path.write_text(f'include: "{include}"\n')
    with pytest.raises(ConfigurationError) as raised:
        resolve(path)
    assert [problem.code for problem in raised.value.problems] == [code]


@pytest.mark.parametrize("name", ["pipe.yaml", "zero.yaml", "loop.yaml", "folder.yaml", "large.yaml"])
def test_a_suite_that_is_no_plain_file_is_refused(files: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        resolve(files / name)


@pytest.mark.parametrize("folder", ["a\\0b", "x" * 5000, "~no-such-user", "/root/\\u0001", "\\uFFFF"])
def test_a_folder_that_cannot_be_looked_at_is_not_there(suites: Any, folder: str) -> None:
    (problem,) = suites.problems(f'x: {{definition: "{folder}", plan: {{method: per_gpu}}}}\n')
    assert problem.code == "E212"


CHAIN = 70
NUMBERS = range(CHAIN)
DOUBLED = ", ".join(f"A{n}: '${{.A{n + 1}}}${{.A{n + 1}}}'" for n in range(40))
ENDLESS = {
    "parents": "".join(f"x{n}: {{inherits: x{n + 1}}}\n" for n in NUMBERS) + f"x{CHAIN}: {{command: {{argv: [a]}}}}\n",
    "references": PROGRAM + "env: {" + ", ".join(f"A{n}: '${{.A{n + 1}}}'" for n in NUMBERS) + f", A{CHAIN}: 1}}}}\n",
    "references in texts": PROGRAM + "env: {" + ", ".join(f"A{n}: 'a${{.A{n + 1}}}'" for n in NUMBERS) + "}}\n",
    "texts that double": PROGRAM + f"env: {{{DOUBLED}, A40: aaaaaaaaaa}}}}\n",
    "maps that double": PROGRAM
    + "x-a: {"
    + ", ".join(f"A{n}: {{b: '${{x.x-a.A{n + 1}}}', c: '${{x.x-a.A{n + 1}}}'}}" for n in range(40))
    + ", A40: 1}}\n",
    "what contains itself": PROGRAM + "x-a: {b: '${oc.select:x}'}}\n",
    "a matrix": f"m: {{matrix: {{a: {TEN}, b: *ten, c: *ten, d: *ten, e: *ten, f: *ten, g: *ten, h: *ten, i: *ten}}, "
    "job: {name: '{a}{b}{c}{d}{e}{f}{g}{h}{i}', command: {argv: [a]}}}\n",
    "a cell's width": "m: {matrix: {a: 1}, job: {name: 'm{a}', command: {argv: ['{a:>999999999}']}}}\n",
    "copies": "x: {command: {argv: [a]}, plan: {method: njobs, n: 1000000000000}}\n",
    "a reference into a large tree": "big: {command: {argv: [a]}, x-a: ["
    + ", ".join(["[1, 2, 3, 4, 5, 6, 7, 8, 9]"] * 2000)
    + "]}\n"
    + PROGRAM
    + "env: {A: '${big.${oc.decode:url}}'}}\n",
    "a number in base 16": PROGRAM + "argv: [0x" + "f" * 5000 + "]}\n",
    "a number that is counted": PROGRAM + "weight: 0x" + "f" * 100 + "}\n",
    "a time": PROGRAM + f"max_duration: {'9' * 310}}}\n",
    "a time with a unit": PROGRAM + "max_duration: 1e999 d}\n",
    "a number of underscores": PROGRAM + "max_duration: '1__0'}\n",
}


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in ENDLESS.items()])
@pytest.mark.timeout(20)
def test_what_would_have_no_end_is_told(suites: Any, text: str) -> None:
    if "1__0" in text:
        assert suites.one(text).max_duration_s == 10.0
    else:
        assert suites.problems(text)


def test_includes_through_many_files_are_told(suites: Any) -> None:
    for number in range(CHAIN):
        suites.write(f"include: f{number + 1}.yaml\n", f"f{number}.yaml")
    (problem,) = suites.problems("include: f0.yaml\n")
    assert (problem.code, problem.mark.line) == ("E105", 1)


def test_a_message_is_short_whatever_a_file_holds(suites: Any) -> None:
    name = "x" * 100_000
    reference = PROGRAM + f"env: {{A: '${{{name}}}'}}}}\n"
    for text in (f"x: {{inherits: {name}}}\n", f"? {name}\n: {{inherits: _base}}\n", reference):
        assert all(len(problem.message) <= MAX_TOLD + 1 for problem in suites.problems(text))


def test_a_deprecation_of_omegaconf_is_no_output_of_ours(suites: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one = suites.one(PROGRAM + "url: new, x-a: '${oc.deprecated:x.url}'}\n")
    assert one.config["x-a"] == "new"


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ("x: é\ny: aé\xff".encode("latin-1"), (1, 4)),
        ("x: é\ny: aéz".encode() + b"\xe2\x82(\n", (2, 7)),
        ("é: é ".encode() + b"\xff\n", (1, 6)),
        (b"a: 1\rb: \x07\n", (2, 4)),
        ("\u2028é: ".encode() + b"\x07\n", (2, 4)),
    ],
)
def test_what_is_no_text_is_told_where_an_editor_shows_it(
    tmp_path: Path, content: bytes, place: tuple[int, int]
) -> None:
    path = tmp_path / "suite.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError) as raised:
        resolve(path)
    (problem,) = raised.value.problems
    assert problem.mark is not None
    assert (problem.code, (problem.mark.line, problem.mark.column)) == ("E102", place)


def test_a_key_without_value_is_unknown_as_well(suites: Any) -> None:
    (problem,) = suites.problems(PROGRAM + "wieght: null}\n")
    assert (problem.code, problem.suggestion) == ("E201", "weight")
