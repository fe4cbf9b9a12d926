"""Entries of all layers as drafts of benchmarks: with all they inherit and refer to, a matrix as its cells."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from milabench import overrides
from milabench.document import Node, at, strings
from milabench.errors import Mark
from milabench.interpolation import Interpolator
from milabench.merge import NEVER_INHERITED, appended, merge, settled
from milabench.overrides import Override
from milabench.problems import UNREAD, Code, Problems, nearest
from milabench.suite import layers, matrix
from milabench.suite.inheritance import DEFAULTS, EVERY, Inheritance, is_note, is_private, limits, merge_layers
from milabench.suite.language import KEYS
from milabench.suite.layers import Layer


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What one benchmark is made from; ``entry`` is the name of its entry, ``cell`` its part of that one's matrix.

    ``named_at`` is where its name stands.
    """

    name: str
    named_at: Mark
    entry: str
    node: Node
    cell: Mapping[str, Any] | None = None


class Drafts:
    """The drafts of a suite file, in the order they are written; what is wrong is noted in ``problems``."""

    def __init__(self, path: Path, changes: Sequence[str], environ: Mapping[str, str], problems: Problems) -> None:
        """Read and merge the layers. Raises ConfigurationError where a file cannot be read."""
        built_in = layers.built_in()
        files = layers.read(path, problems)
        problems.raise_errors(UNREAD)
        known = {name for layer in files for name in layer.entries} | {DEFAULTS, EVERY}
        asked = [override for override in overrides.read(changes, problems) if override.name != overrides.SYSTEM]
        self.sources = tuple(layer.file for layer in files)
        self._late: list[Override] = []
        self._early: list[tuple[str, list[str], Override]] = []
        changed = list(self._changes(asked, known))
        self.entries = merge_layers([built_in, *files, *changed], problems)
        self._environ = environ
        self._problems = problems
        self._inheritance = Inheritance(
            self.entries, limits(self.entries.get(DEFAULTS, built_in.entries[DEFAULTS])), problems
        )
        self._finished: dict[str, Node] = {}

    def all(self) -> list[Draft]:
        """Return the draft of every benchmark, disabled ones too."""
        drafts = list(self._written())
        if EVERY in self.entries:
            drafts = [self._over_every(draft) for draft in drafts]
        return self._with_late_overrides(drafts) if self._late else drafts

    def _written(self) -> Iterator[Draft]:
        # Not kept in self, which it leads back to: all that is read would stay until Python looks for cycles.
        references = Interpolator(self.entries, self._finish, self._problems, environ=self._environ, keep=("system",))
        for name, entry in self.entries.items():
            content = entry.value if isinstance(entry.value, dict) else {}
            if is_private(name) or is_note(name, entry):
                continue
            if "matrix" in content or "job" in content:
                yield from self._cells(name, entry, references)
            elif not _is_stub(name, content, self._problems):
                node = references.resolve(name)
                yield Draft(name=name, named_at=node.key_mark, entry=name, node=node)

    def templates(self) -> Iterator[tuple[str, Node]]:
        """Yield name and value of every private entry; references in it stay as they are written."""
        yield from ((name, self._inheritance.entry(name)) for name in self.entries if is_private(name))

    def is_complete(self, draft: Draft) -> bool:
        """Return whether a draft has all its parents: what it misses otherwise need not be told."""
        return draft.entry not in self._inheritance.broken

    def _changes(self, asked: Sequence[Override], known: Collection[str]) -> Iterator[Layer]:
        """Yield the overrides of entries as layers; keep those that may mean a cell of a matrix, not known so far."""
        for each in asked:
            name, keys = overrides.fitting(each.path, known) or ("", [])
            if keys and (is_private(name) or keys[0] in KEYS or keys[0] in matrix.ROWS or keys[0].startswith("x-")):
                self._early.append((name, keys, each))
                yield Layer(file=each.value.file, entries={name: each.below(keys)})
            else:
                self._late.append(each)

    def _over_every(self, draft: Draft) -> Draft:
        """Return a draft with what overrides say of its entry and ``'*'`` says too: the command line wins."""
        for name, keys, override in self._early:
            inside = keys[1:] if keys[0] == "job" else keys
            if name == draft.entry and inside and at(self.entries[EVERY], inside) and not _is_template(override.value):
                node = merge(draft.node, override.below(inside), self._problems, draft.name)
                draft = replace(draft, node=draft.node.replaced(settled(node).value))
        return draft

    def _with_late_overrides(self, drafts: list[Draft]) -> list[Draft]:
        """Return the drafts with what overrides say of cells of a matrix, and what is no key of any entry."""
        by_name = {draft.name: draft for draft in drafts}
        for override in self._late:
            name, keys = overrides.fitting(override.path, {*self.entries, *by_name}) or (override.name, [])
            meant = [by_name[name]] if name in by_name else [each for each in by_name.values() if each.entry == name]
            wrong = _why_not(keys, meant)
            if wrong:
                here = Mark(file=override.value.file, line=override.value.line, column=1)
                near = None if meant else nearest(name, [*self.entries, *by_name])
                self._problems.add(Code.OVERRIDE, f"{override.text!r} {wrong}", here, suggestion=near)
                continue
            for draft in meant:
                node = merge(draft.node, override.below(keys), self._problems, draft.name)
                by_name[draft.name] = replace(draft, node=draft.node.replaced(settled(node).value))
        return [by_name[draft.name] for draft in drafts]

    def _finish(self, name: str) -> Node:
        if name not in self._finished:
            entry = self._inheritance.entry(name)
            self._finished[name] = entry if is_private(name) else self._inheritance.finished(entry, name)
        return self._finished[name]

    def _cells(self, name: str, entry: Node, references: Interpolator) -> Iterator[Draft]:
        table = matrix.read(name, entry, self._problems)
        if table is None:
            return
        for job, cells in matrix.by_parents(table, name, self._problems):
            merged = self._inheritance.finished(self._inheritance.over_parents(job, name), name)
            self._finished[name] = Node(merged.value, entry.file, entry.line, entry.column, entry.key)
            filler = matrix.Filler(references.resolve(name), name, self._problems)
            for cell in cells:
                node = filler.fill(cell)
                content = dict(node.value) if isinstance(node.value, dict) else {}
                called = content.pop("name")
                rest = node.replaced(content)
                yield Draft(name=str(called.value), named_at=called.mark, entry=name, node=rest, cell=cell)


def _is_template(value: Node) -> bool:
    """Return whether a value cannot be merged over drafts: it refers to others, or to a cell, or appends."""
    return any("{" in text for text in strings(value)) or appended(value) is not None


def _why_not(keys: Sequence[str], meant: Sequence[Draft]) -> str | None:
    """Return why an override of some keys cannot be merged over the drafts that it means, None where it can."""
    if not meant:
        return "names no benchmark of this suite"
    if not keys:
        return "names no key: write name.key=value"
    one = meant[0]
    if one.cell is not None and keys[0] in NEVER_INHERITED:
        return f"does nothing: {one.name} is a combination of the matrix {one.entry}, which alone has {keys[0]}"
    return None


def _is_stub(name: str, content: Mapping[str, Node], problems: Problems) -> bool:
    """Return whether an entry only switches off what no file describes: old suites hold such, and they do nothing."""
    enabled = content.get("enabled")
    if enabled is None or enabled.value is not False or {"definition", "command", "inherits"} & set(content):
        return False
    message = f"{name} is switched off here and described nowhere: this does nothing"
    problems.add(Code.STUB, message, enabled.key_mark, path=name)
    return True
