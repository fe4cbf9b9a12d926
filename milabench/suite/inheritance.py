"""Entries with their parents merged under them, once all layers are merged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from milabench.document import Node
from milabench.merge import inherit, items, merge, settled
from milabench.problems import Code, Problems, nearest
from milabench.suite.layers import Layer

EVERY = "*"
DEFAULTS = "_defaults"
MAX_PARENTS = 50


def is_private(name: str) -> bool:
    """Return whether an entry is a template that is never run."""
    return name.startswith("_") or name == EVERY


def is_note(name: str, entry: Node) -> bool:
    """Return whether what stands under ``x-…`` is a note of the user's, and no benchmark of such a name."""
    content = entry.value if isinstance(entry.value, dict) else {}
    return name.startswith("x-") and {"command", "definition", "inherits", "matrix"}.isdisjoint(content)


def merge_layers(layers: Sequence[Layer], problems: Problems) -> dict[str, Node]:
    """Return the entries of all layers, each later layer over those before, marked where they were first written.

    An entry that a later layer sets to null is gone.
    """
    entries: dict[str, Node] = {}
    for layer in layers:
        for name, node in layer.entries.items():
            known = entries.get(name)
            if node.value is None:
                if known is None and not is_note(name, node):
                    message = f"{name} is null here, and no file below has such an entry: this does nothing"
                    problems.add(Code.IDLE_NULL, message, node.key_mark, path=name, suggestion=nearest(name, entries))
                entries.pop(name, None)
            elif known is None:
                entries[name] = node
            else:
                merged = merge(known, node, problems, name)
                entries[name] = Node(merged.value, known.file, known.line, known.column, known.key)
    return entries


class Inheritance:
    """Work out entries with all they inherit, each once.

    ``broken`` names those that lack a parent, near or far: what they then miss need not be told.
    """

    def __init__(self, entries: Mapping[str, Node], limits: Node, problems: Problems) -> None:
        """``limits`` is what holds under every entry, also those that inherit nothing."""
        self.entries = entries
        self.broken: set[str] = set()
        self._limits = limits
        self._problems = problems
        self._done: dict[str, Node] = {}
        self._open: list[str] = []
        self._near: dict[str, str | None] = {}

    def entry(self, name: str) -> Node:
        """Return a named entry over all its parents."""
        if name not in self._done:
            self._open.append(name)
            self._done[name] = self.over_parents(self.entries[name], name)
            self._open.pop()
        return self._done[name]

    def over_parents(self, node: Node, path: str) -> Node:
        """Return any entry (a matrix's job too) over its parents; of several, the later has the say."""
        content = node.value if isinstance(node.value, dict) else {}
        parents = content.get("inherits")
        base: Node | None = None
        for parent in items(parents) if parents else []:
            found = self._parent(parent, path)
            if found is None or parent.value in self.broken:
                self.broken.add(path)
            if found is not None:
                base = found if base is None else inherit(base, found, self._problems, path)
        own = node.replaced({key: value for key, value in content.items() if key != "inherits"})
        return own if base is None else inherit(base, own, self._problems, path)

    def finished(self, node: Node, path: str) -> Node:
        """Return an entry as a benchmark has it: with what holds under every entry, and ``'*'`` over it."""
        if not _holds_all(node, self._limits):  # else a merge would copy it, and what entries share is read once
            node = merge(self._limits, node, self._problems, path)
        if EVERY in self.entries:
            every = self.entry(EVERY)
            node = Node(merge(node, every, self._problems, path).value, node.file, node.line, node.column, node.key)
        return settled(node)

    def _nearest(self, name: str, path: str) -> str | None:
        """Return the entry most like a name, for all that inherit it; thousands may."""
        if name not in self._near:
            self._near[name] = nearest(name, self.entries)
        near = self._near[name]
        return nearest(name, (other for other in self.entries if other != path)) if near == path else near

    def _parent(self, reference: Node, path: str) -> Node | None:
        name, where = reference.value, f"{path}.inherits"
        if not isinstance(name, str):
            message = f"inherits needs a name, or a list of names, not {reference.kind}"
            self._problems.add(Code.WRONG_TYPE, message, reference.mark, path=where)
        elif name not in self.entries:
            near = self._nearest(name, path)
            message = f"{path} inherits {name}, and there is no such entry"
            self._problems.add(Code.UNKNOWN_PARENT, message, reference.mark, path=where, suggestion=near)
        elif name in self._open:
            circle = " → ".join([*self._open[self._open.index(name) :], name])
            self._problems.add(Code.INHERIT_CYCLE, f"entries inherit each other: {circle}", reference.mark, path=where)
        elif len(self._open) > MAX_PARENTS:
            message = f"{path} inherits through more than {MAX_PARENTS} others"
            self._problems.add(Code.INHERIT_CYCLE, message, reference.mark, path=where)
        elif "matrix" in (self.entries[name].value or {}):  # type: ignore[operator]
            message = f"{path} inherits {name}, which is a matrix: write what they share in an entry of its own"
            self._problems.add(Code.UNKNOWN_PARENT, message, reference.mark, path=where)
        else:
            return self.entry(name)
        return None


def limits(defaults: Node) -> Node:
    """Return the part of ``_defaults``, the built-in one and that of files, that holds for all entries."""
    content = defaults.value if isinstance(defaults.value, dict) else {}
    return defaults.replaced({key: content[key] for key in ("max_duration", "voir") if key in content})


def _holds_all(node: Node, lower: Node) -> bool:
    """Return whether a value has every key of another one: merged under it, that would add nothing."""
    if not isinstance(lower.value, dict) or not isinstance(node.value, dict):
        return True
    return all(key in node.value and _holds_all(node.value[key], part) for key, part in lower.value.items())
