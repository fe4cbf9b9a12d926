"""Read a suite file and all it includes, into layers: the first is merged under all others."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from milabench import document
from milabench.document import Node
from milabench.errors import ConfigurationError
from milabench.paths import expanded
from milabench.problems import Code, Problems, nearest
from milabench.suite.language import KEYS, VOIR

MAX_INCLUDES = 50
_SYSTEM_KEYS = ("system", "multirun")


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """The entries one file (or override) writes, by name."""

    file: str
    entries: dict[str, Node]


def built_in() -> Layer:
    """Return the layer under all files: defaults of the language that a suite may merge over."""
    options = {key: VOIR[key].default for key in ("stop", "skip", "interval")}
    defaults = {"enabled": KEYS["enabled"].default, "max_duration": KEYS["max_duration"].default}
    text = document.dump({"_defaults": {**defaults, "voir": {"options": options}}})
    node = document.parse(text, "built-in defaults")
    entries = node.value if node and isinstance(node.value, dict) else {}
    return Layer(file="built-in defaults", entries=entries)


def read(path: Path, problems: Problems) -> list[Layer]:
    """Return the layers of a file, what it includes first; a file that is included twice is one layer.

    Files that cannot be read are noted at the ``include`` that names them.
    """
    reader = _Reader(problems)
    reader.read(os.fspath(path), None)
    return reader.layers


class _Reader:
    def __init__(self, problems: Problems) -> None:
        self.layers: list[Layer] = []
        self._problems = problems
        self._known: set[str] = set()
        self._open: list[str] = []

    def read(self, file: str, include: Node | None) -> None:
        """Append the layers of ``file``; ``include`` is the value that names it, None for the first."""
        real = os.path.realpath(file)
        if real in self._open:
            circle = [os.path.relpath(step, Path(real).parent) for step in self._open[self._open.index(real) :]]
            message = f"files include each other: {' → '.join([*circle, circle[0]])}"
            self._problems.add(Code.INCLUDE_CYCLE, message, include.mark if include else None, path="include")
            return
        if real in self._known:
            return
        if len(self._open) > MAX_INCLUDES:
            message = f"files include each other through more than {MAX_INCLUDES} others"
            self._problems.add(Code.INCLUDE, message, include.mark if include else None, path="include")
            return
        self._known.add(real)
        if include is not None and not os.path.isfile(real):  # noqa: PTH113 - what cannot be looked at is none either
            message = f"there is no file {file} to include (paths are relative to the file that names them)"
            self._problems.add(Code.INCLUDE, message, include.mark, path="include")
            return
        try:
            root = document.read(file, self._problems)
        except ConfigurationError as error:
            self._problems.extend(error.problems)
            return
        entries = dict(root.value) if isinstance(root.value, dict) else {}
        self._open.append(real)
        for item in self._includes(entries.pop("include", None)):
            path = Path(file).parent / expanded(str(item.value))
            self.read(os.path.normpath(path), item)
        self._open.pop()
        self.layers.append(Layer(file=file, entries=self._entries(entries)))

    def _includes(self, node: Node | None) -> Iterator[Node]:
        items = node.value if node and isinstance(node.value, list) else [node] if node else []
        for item in items:
            if isinstance(item.value, str) and item.value and "\0" not in item.value:
                yield item
            elif item.value is not None:
                message = f"include needs the path of a file, or a list of paths, not {item.kind}"
                self._problems.add(Code.INCLUDE, message, item.mark, path="include")

    def _entries(self, entries: dict[str, Node]) -> dict[str, Node]:
        if "benchmarks" in entries and isinstance(entries["benchmarks"].value, dict) and _ancient(entries):
            message = (
                "the old form with 'defaults:' and 'benchmarks:' is not read: write each benchmark at the top level"
            )
            self._problems.add(Code.ANCIENT_FORM, message, entries["benchmarks"].key_mark, path="benchmarks")
            entries = {name: node for name, node in entries.items() if name not in ("defaults", "benchmarks")}
        kept = {}
        for name, node in entries.items():
            if name in _SYSTEM_KEYS:
                message = f"{name!r} belongs into a system file, which is given with --system"
                self._problems.add(Code.WRONG_FILE, message, node.key_mark, path=name)
            elif isinstance(node.value, dict) or node.value is None:
                kept[name] = node
            elif name.startswith("x-"):  # a note of the user's
                continue
            elif nearest(name, ["include"]):
                message = f"{name!r} has no meaning here"
                self._problems.add(Code.UNKNOWN_KEY, message, node.key_mark, path=name, suggestion="include")
            elif not self._problems.failed(node.mark):
                message = f"a benchmark is described by a map, this is {node.kind}"
                self._problems.add(Code.WRONG_TYPE, message, node.mark, path=name)
        return kept


def _ancient(entries: dict[str, Node]) -> bool:
    """Return whether ``benchmarks`` is a map of benchmarks, and no benchmark of that name."""
    inner = entries["benchmarks"].value
    return isinstance(inner, dict) and all(isinstance(node.value, dict) for node in inner.values())
