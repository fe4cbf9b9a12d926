"""Every mistake of a user's is told with its code, at its place, with the word that was meant: a corpus.

``mistakes/*.txt`` hold small suites. ``=== title`` starts one, ``--- name`` another of its files: ``system.yaml`` is
given with ``--system``, ``--override`` holds overrides, one a line. Such a line as

    ^ E201 'wieght' has no meaning in x (did you mean 'weight'?)

is no part of the file (nor are empty lines): it stands under the place of a mistake in the line above it and says what
is told of it: the code, parts of the message divided by ``…``, and the suggestion (none where it says none). Nothing
else may be told.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from milabench import suite, system
from milabench.errors import ConfigurationError, Problem, UsageError
from milabench.problems import Code

CORPUS = Path(__file__).with_name("mistakes")
# The codes that such files cannot bring about, or not at a place under which a line can stand.
NO_CASE = {
    *(Code.UNREADABLE, Code.NO_BENCHMARKS),  # of a whole file: test_suite_layers.py
    *(Code.LAST_COUNTS, Code.LITERAL),  # with --legacy only
    *(Code.NO_PACKAGE, Code.NOTHING_TO_RUN, Code.REFUSED, Code.BENCHFILE),  # of benchfiles
    Code.SBATCH,  # of profiles: test_slurm_profiles.py
    Code.SECRET,  # of the operator's environment
}
_EXPECTED = re.compile(r"^( *)\^ ([EW]\d{3}) (.*?)(?: \(did you mean '(.*)'\?\))?$")


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """What is to be told: of a place in a file, or of none (line 0)."""

    file: str
    line: int
    column: int
    code: str
    words: tuple[str, ...]
    suggestion: str | None


@dataclass(kw_only=True)
class Case:
    """Files without the lines that say what is to be told of them."""

    title: str
    files: dict[str, list[str]] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)

    def text(self, name: str) -> str:
        return "".join(f"{line}\n" for line in self.files[name])


def cases() -> Iterator[Case]:
    for path in sorted(CORPUS.glob("*.txt")):
        yield from _cases(path.read_text().splitlines())


def _cases(lines: list[str]) -> Iterator[Case]:
    case: Case | None = None
    file = "suite.yaml"
    for line in lines:
        expected = _EXPECTED.match(line)
        if line.startswith("=== "):
            if case:
                yield case
            case, file = Case(title=line[4:]), "suite.yaml"
        elif case is None:
            continue
        elif line.startswith("--- "):
            file = line[4:]
            case.files[file] = []
        elif expected:
            case.mistakes.append(_mistake(expected, file, len(case.files.get(file, ()))))
        elif line:
            case.files.setdefault(file, []).append(line)
    if case:
        yield case


def _mistake(found: re.Match[str], file: str, line: int) -> Mistake:
    indent, code, words, suggestion = found.groups()
    parts = tuple(part.strip() for part in words.split("…"))
    return Mistake(file=file, line=line, column=len(indent) + 1, code=code, words=parts, suggestion=suggestion)


def told(case: Case, folder: Path) -> list[Problem]:
    """Return all that ``milabench check`` says of a case."""
    (folder / "bench").mkdir()
    for name in case.files:
        if name != "--override":
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(case.text(name))
    problems: list[Problem] = []
    try:
        if "system.yaml" in case.files:
            problems += system.resolve(folder / "system.yaml", {}).warnings
        else:
            found = suite.resolve(folder / "suite.yaml", case.files.get("--override", ()))
            problems += found.warnings
    except ConfigurationError as error:
        problems += error.problems
    return sorted(problems, key=lambda each: (each.mark.file, each.mark.line, each.mark.column) if each.mark else ())


CASES = list(cases())
PARAMETERS = [pytest.param(case, id=case.title) for case in CASES]


@pytest.mark.parametrize("case", PARAMETERS)
def test_a_mistake_is_told_at_its_place_with_what_was_meant(case: Case, tmp_path: Path) -> None:
    problems = told(case, tmp_path)
    assert [_place(problem, tmp_path) for problem in problems] == [
        (each.code, each.file, each.line, each.column, each.suggestion) for each in case.mistakes
    ], [str(problem) for problem in problems]
    for problem, expected in zip(problems, case.mistakes, strict=True):
        assert all(part in problem.message for part in expected.words), problem.message


def _place(problem: Problem, folder: Path) -> tuple[str, str, int, int, str | None]:
    mark = problem.mark
    assert mark is not None, problem
    return (problem.code, mark.file.removeprefix(f"{folder}/"), mark.line, mark.column, problem.suggestion)


def test_every_code_has_a_case() -> None:
    told = {mistake.code for case in CASES for mistake in case.mistakes}
    assert {code for code in Code if code.code not in told} == NO_CASE


@pytest.mark.parametrize(
    ("option", "text", "message"),
    [
        ("--select", "resnte50", "has the name, tag or group 'resnte50'; did you mean 'resnet50'?"),
        ("--select", "visoin and not nlp", "has the name, tag or group 'visoin'; did you mean 'vision'?"),
        ("--select", "bert*", "has the name, tag or group 'bert*'; 'milabench list' shows what there is"),
        ("--select", "vision and", "a name, a glob, a tag or a group is missing\n  vision and\n            ^"),
        ("--select", "(vision", "')' is missing\n  (vision\n         ^"),
        ("--select", "vision nlp", "'nlp' is not expected here\n  vision nlp\n         ^"),
        ("--select", "off", "nothing to run: off is disabled; set enabled: true"),
        ("--select", "vision and nlp", "nothing is left by --select 'vision and nlp'; enabled are resnet50, gpt"),
        ("--exclude", "gtp", "has the name, tag or group 'gtp'; did you mean 'gpt'?"),
        ("--exclude", "gpt, resnet50", "nothing is left by --exclude 'gpt, resnet50'; enabled are resnet50, gpt"),
    ],
)
def test_a_selection_that_means_nothing_is_told_with_what_was_meant(
    suites: Any, option: str, text: str, message: str
) -> None:
    found = suites.resolve(
        "resnet50: {inherits: _base, tags: [vision]}\ngpt: {inherits: _base, tags: [nlp]}\n"
        "off: {inherits: _base, enabled: false}\n"
    )
    with pytest.raises(UsageError) as raised:
        suite.select(found, **{"include" if option == "--select" else "exclude": [text]})
    assert str(raised.value).endswith(message)
    assert option in str(raised.value) or "disabled" in str(raised.value)
