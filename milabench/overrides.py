"""Values given on the command line: ``name.key.key=value``, merged over all files; a key with dots in brackets."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from milabench import document
from milabench.document import Node
from milabench.errors import ConfigurationError, Mark
from milabench.problems import Code, Problems

SYSTEM = "system"  # what begins with it changes the system and not the suite
_FORM = re.compile(r"((?:[^=\[\]]|\[[^\]]*\])+)=(.*)", re.DOTALL)
_KEYS = re.compile(r"\[([^\]]*)\]|([^.\[\]]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """One override: its text, the entry it changes, and what is merged over that entry."""

    text: str
    name: str
    node: Node


def read(texts: Sequence[str], problems: Problems, file: str = "--override") -> list[Override]:
    """Return the overrides of texts such as ``resnet50.argv[train.lr]=1``; values are read as YAML.

    Their marks have ``file``, the number of the text as line (from 1) and the value's place in it as column. What
    cannot be read is noted.
    """
    found = (_read(text, number, problems, file) for number, text in enumerate(texts, 1))
    return [override for override in found if override is not None]


def _read(text: str, number: int, problems: Problems, file: str) -> Override | None:
    here = Mark(file=file, line=number, column=1)
    found = _FORM.fullmatch(text)
    if not found:
        problems.add(Code.OVERRIDE, f"{text!r} is no override: write name.key=value", here)
        return None
    parts = keys(found[1].strip())
    if len(parts) < 2:
        problems.add(Code.OVERRIDE, f"{text!r} names no key: write name.key=value", here)
        return None
    column = found.start(2) + 1
    try:
        node = document.parse(found[2], file)
    except ConfigurationError as error:
        problems.add(Code.OVERRIDE, f"{text!r}: {error.problems[0].message}", here)
        return None
    value: Node = Node(node.value if node else None, file, number, column, (number, 1), node.text if node else None)
    if node is not None and isinstance(node.value, dict | list):
        value = document.annotate(document.plain(node), value)
    for key in reversed(parts[1:]):
        value = Node({key: value}, file, number, column, (number, 1))
    return Override(text=text, name=parts[0], node=value)


def keys(path: str) -> list[str]:
    """Return the keys of a dotted path; one that has dots itself stands in brackets: ``argv[train.lr]``."""
    return [bracket or word for bracket, word in _KEYS.findall(path)]


def dotted(path: Sequence[str]) -> str:
    """Return the dotted path of keys: what ``keys`` reads."""
    first, *rest = path
    return first + "".join(f"[{key}]" if "." in key else f".{key}" for key in rest)
