"""Profiles: named lists of sbatch's arguments, in YAML."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from milabench import document, resources
from milabench.document import Node
from milabench.errors import Mark, UsageError
from milabench.problems import Code, Problems, nearest

# What a profile cannot say, with the reason; and short forms of these.
_OURS: Final = "milabench says that itself"
_REFUSED: Final[Mapping[str, str]] = {
    **dict.fromkeys(("--parsable", "--chdir", "--output", "--error", "--input", "--open-mode"), _OURS),
    **dict.fromkeys(("--wrap", "--test-only", "--wait", "--help", "--usage", "--version"), "a run has to be submitted"),
    "--array": "a run is one job: --split makes a job for each benchmark",
    "--clusters": "set SLURM_CLUSTERS, which all of Slurm's commands follow",
}
_SHORT: Final[Mapping[str, str]] = {
    "-D": "--chdir",
    "-o": "--output",
    "-e": "--error",
    "-i": "--input",
    "-W": "--wait",
    "-h": "--help",
    "-V": "--version",
    "-a": "--array",
    "-M": "--clusters",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Arguments of sbatch by a name, and the place they are written at."""

    name: str
    arguments: tuple[str, ...]
    mark: Mark


def find(name: str, own: Path | None) -> Profile:
    """Return a profile of the user's file, else one that milabench brings.

    Raises ConfigurationError with all mistakes of a file, UsageError where no file has such a profile.
    """
    files = [*([own] if own is not None else []), *sorted((resources.data_root() / "config/profiles").glob("*.yaml"))]
    known: dict[str, Profile] = {}
    for file in reversed(files):
        known |= read(file)
    if name in known:
        return known[name]
    near = nearest(name, known)
    hint = f" (did you mean {near!r}?)" if near else ""
    where = f"{own} has none of that name" if own else "give --profiles with a file of yours that has it"
    raise UsageError(f"no profile {name!r}{hint}: {where}, and milabench brings {_listed(known, own)}")


def read(path: Path) -> dict[str, Profile]:
    """Return the profiles of a file by name. Raises ConfigurationError with all its mistakes."""
    problems = Problems()
    root = document.read(path, problems)
    assert isinstance(root.value, dict)
    found = {name: _profile(name, node, problems) for name, node in root.value.items()}
    problems.raise_errors()
    return found


def _profile(name: str, node: Node, problems: Problems) -> Profile:
    arguments: list[str] = []
    if not isinstance(node.value, list):
        problems.add(
            Code.WRONG_TYPE, f"{name} needs a list of sbatch's arguments, not {node.shown}", node.mark, path=name
        )
    else:
        for index, item in enumerate(node.value):
            arguments += _words(item, f"{name}[{index}]", problems)
    return Profile(name=name, arguments=tuple(arguments), mark=node.key_mark)


def _words(item: Node, path: str, problems: Problems) -> list[str]:
    """Return the arguments of an item, which is written as it would be after ``#SBATCH``."""
    if not isinstance(item.value, str):
        problems.add(Code.WRONG_TYPE, f"{path} needs text, such as --nodes=2, not {item.shown}", item.mark, path=path)
        return []
    try:
        return words(item.value)
    except ValueError as error:
        problems.add(Code.SBATCH, f"{path}: {error}", item.mark, path=path)
        return []


def words(text: str) -> list[str]:
    """Return the arguments of a text as it would stand after ``#SBATCH``. Raises ValueError with what is wrong."""
    try:
        found = shlex.split(text)
    except ValueError as error:
        raise ValueError(f"{text!r} cannot be read: {str(error).lower()}") from None
    if found and not found[0].startswith("-"):
        raise ValueError(f"{found[0]!r} is no argument of sbatch: they begin with -")
    for word in found:
        if (reason := _refusal(word)) is not None:
            raise ValueError(f"{word.partition('=')[0]} cannot be given: {reason}")
    return found


def _refusal(word: str) -> str | None:
    """Return why a word cannot be given; sbatch takes a long option by any beginning that no other has."""
    if not word.startswith("--"):
        return _REFUSED.get(_SHORT.get(word[:2], ""))
    option = word.partition("=")[0]
    if option == "--":
        return "arguments are milabench's own after it"
    return next((reason for refused, reason in _REFUSED.items() if refused.startswith(option)), None)


def _listed(known: Mapping[str, Profile], own: Path | None) -> str:
    brought = sorted(each.name for each in known.values() if own is None or each.mark.file != str(own))
    return ", ".join(brought) or "none"
