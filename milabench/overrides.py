"""Values given on the command line: ``name.key.key=value``, merged over all files; a key with dots in brackets."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
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
    """One override: its text, the dotted path that it names, and the value it gives."""

    text: str
    path: str
    value: Node

    @property
    def name(self) -> str:
        """The first key, which is the entry's name where it has no dots."""
        return keys(self.path)[0]

    @property
    def node(self) -> Node:
        """What is merged over the entry of that name."""
        return self.below(keys(self.path)[1:])

    def below(self, path: Sequence[str]) -> Node:
        """Return the value as it stands below some keys."""
        node, at = self.value, self.value
        for key in reversed(path):
            node = Node({key: node}, at.file, at.line, at.column, at.key)
        return node


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
    path = found[1].strip()
    if len(keys(path)) < 2:
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
    return Override(text=text, path=path, value=value)


def fitting(path: str, names: Collection[str]) -> tuple[str, list[str]] | None:
    """Return the longest name (it may have dots itself) that a dotted path begins with, and the keys after it."""
    found = [name for name in names if path == name or path.startswith((f"{name}.", f"{name}["))]
    if found:
        name = max(found, key=len)
        return name, keys(path[len(name) :])
    first, *rest = keys(path) or [""]
    return (first, rest) if first in names else None


def keys(path: str) -> list[str]:
    """Return the keys of a dotted path; one that has dots itself stands in brackets: ``argv[train.lr]``."""
    return [bracket or word for bracket, word in _KEYS.findall(path)]


def dotted(path: Sequence[str]) -> str:
    """Return the dotted path of keys: what ``keys`` reads."""
    first, *rest = path
    return first + "".join(f"[{key}]" if "." in key else f".{key}" for key in rest)
