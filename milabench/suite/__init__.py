"""A suite: YAML in, frozen benchmarks out.

``resolve`` in order: read all layers, merge them, and then for each entry merge its parents, replace references, expand
a matrix into its cells, and read what it says. All mistakes are told at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from milabench import overrides
from milabench.document import Node
from milabench.interpolation import Interpolator
from milabench.problems import Code, Problems
from milabench.suite import layers, matrix
from milabench.suite.inheritance import DEFAULTS, EVERY, Inheritance, is_private, limits, merge_layers
from milabench.suite.schema import Schema
from milabench.suite.select import select
from milabench.suite.types import Benchmark, Limit, Placement, Program, Suite

__all__ = ["Benchmark", "Limit", "Placement", "Program", "Suite", "resolve", "select"]


def resolve(
    path: Path,
    changes: Sequence[str] = (),
    environ: Mapping[str, str] = MappingProxyType({}),
    *,
    lenient: bool = False,
) -> Suite:
    """Return the suite a file describes, with all it includes and with ``name.key=value`` changes over it.

    ``environ`` is what ``${oc.env:NAME}`` looks into. ``lenient`` makes warnings of what older releases of milabench
    took without a word (keys that stand twice, unknown placeholders). Disabled benchmarks are part of it, private
    entries are not. Configs of benchmarks share what they have in common: they are to be read, not changed.
    Raises ConfigurationError with every mistake.
    """
    problems = Problems(lenient=lenient)
    built_in = layers.built_in()
    files = layers.read(path, problems)
    problems.raise_errors()
    known = {name for layer in files for name in layer.entries} | {DEFAULTS, EVERY}
    asked = [override for override in overrides.read(changes, problems) if override.name != overrides.SYSTEM]
    entries = merge_layers([built_in, *files, *layers.overriding(asked, known, problems)], problems)
    inheritance = Inheritance(entries, limits(built_in.entries[DEFAULTS]), problems)
    drafts = list(_Drafts(entries, inheritance, environ, problems).all())
    schema = Schema(problems, default_weight=0.0 if any(_has_weight(draft[2]) for draft in drafts) else 1.0)
    benchmarks: dict[str, Benchmark] = {}
    for name, origin, node, cell in drafts:
        benchmark = schema.benchmark(name, node, cell, complete=origin not in inheritance.broken)
        if name in benchmarks:
            message = f"two benchmarks are called {name}: the name of a job must differ from cell to cell"
            problems.add(Code.EQUAL_NAMES, message, node.key_mark, path=name)
        benchmarks[name] = benchmark
    for name in entries:
        if is_private(name):
            schema.check(name, inheritance.entry(name))
    if not benchmarks:
        problems.add(Code.NO_BENCHMARKS, f"{path} describes no benchmark")
    problems.raise_errors()
    sources = tuple(layer.file for layer in files)
    return Suite(benchmarks=tuple(benchmarks.values()), sources=sources, warnings=tuple(problems.warnings))


Draft = tuple[str, str, Node, Mapping[str, Any] | None]


class _Drafts:
    """Entries with all they inherit and refer to, and the cells of matrices: what benchmarks are made from."""

    def __init__(
        self, entries: Mapping[str, Node], inheritance: Inheritance, environ: Mapping[str, str], problems: Problems
    ) -> None:
        self._entries = entries
        self._inheritance = inheritance
        self._problems = problems
        self._finished: dict[str, Node] = {}
        self._references = Interpolator(entries, self._finish, problems, environ=environ, keep=("system",))

    def all(self) -> Iterator[Draft]:
        """Yield name, name of the entry, entry and cell of every benchmark, in the order they are written."""
        for name, entry in self._entries.items():
            content = entry.value if isinstance(entry.value, dict) else {}
            if is_private(name):
                continue
            if "matrix" in content or "job" in content:
                yield from self._cells(name, entry)
            elif not _is_stub(name, content, self._problems):
                yield name, name, self._references.resolve(name), None

    def _finish(self, name: str) -> Node:
        if name not in self._finished:
            entry = self._inheritance.entry(name)
            self._finished[name] = entry if is_private(name) else self._inheritance.finished(entry, name)
        return self._finished[name]

    def _cells(self, name: str, entry: Node) -> Iterator[Draft]:
        table = matrix.read(name, entry, self._problems)
        if table is None:
            return
        for job, cells in matrix.by_parents(table, name, self._problems):
            merged = self._inheritance.finished(self._inheritance.over_parents(job, name), name)
            self._finished[name] = Node(merged.value, entry.file, entry.line, entry.column, entry.key)
            filler = matrix.Filler(self._references.resolve(name), name, self._problems)
            for cell in cells:
                node = filler.fill(cell)
                content = dict(node.value) if isinstance(node.value, dict) else {}
                called = content.pop("name")
                yield str(called.value), name, node.replaced(content), cell


def _is_stub(name: str, content: Mapping[str, Node], problems: Problems) -> bool:
    """Return whether an entry only switches off what no file describes: old suites hold such, and they do nothing."""
    enabled = content.get("enabled")
    if enabled is None or enabled.value is not False or {"definition", "command", "inherits"} & set(content):
        return False
    message = f"{name} is switched off here and described nowhere: this does nothing"
    problems.add(Code.STUB, message, enabled.key_mark, path=name)
    return True


def _has_weight(node: Node) -> bool:
    weight = node.value.get("weight") if isinstance(node.value, dict) else None
    return weight is not None and weight.value is not None
