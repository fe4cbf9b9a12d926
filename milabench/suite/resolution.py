"""From a suite file to its benchmarks, and to the drafts they were made from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

from milabench.document import Node
from milabench.errors import Problem
from milabench.problems import Code, Problems
from milabench.suite.drafts import Draft, Drafts
from milabench.suite.schema import Schema
from milabench.suite.types import Benchmark, Suite

Judge: TypeAlias = Callable[[Sequence[Benchmark]], Iterable[Problem]]

NO_ENVIRON: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """A suite and what it was made from: a draft for each benchmark, by its name."""

    suite: Suite
    drafts: Mapping[str, Draft]
    entries: Mapping[str, Node]
    templates: Mapping[str, Node]


def resolve(
    path: Path,
    changes: Sequence[str] = (),
    environ: Mapping[str, str] = NO_ENVIRON,
    *,
    lenient: bool = False,
    judge: Judge | None = None,
) -> Suite:
    """Return the suite a file describes, with all it includes and with ``name.key=value`` changes over it.

    ``environ`` is what ``${oc.env:NAME}`` looks into. ``lenient`` makes warnings of what older releases of milabench
    took without a word (keys that stand twice, unknown placeholders). ``judge`` finds further mistakes of the
    benchmarks, to be told with all others. Disabled benchmarks are part of it, private
    entries are not. Configs of benchmarks share what they have in common: they are to be read, not changed.
    Raises ConfigurationError with every mistake.
    """
    return resolution(path, changes, environ, lenient=lenient, judge=judge).suite


def resolution(
    path: Path,
    changes: Sequence[str] = (),
    environ: Mapping[str, str] = NO_ENVIRON,
    *,
    lenient: bool = False,
    judge: Judge | None = None,
) -> Resolution:
    """Return the suite of ``resolve``, which says what the arguments are, and what it was made from."""
    problems = Problems(lenient=lenient)
    drafts = Drafts(path, changes, environ, problems)
    found = drafts.all()
    schema = Schema(problems, default_weight=0.0 if any(_has_weight(draft.node) for draft in found) else 1.0)
    benchmarks: dict[str, Benchmark] = {}
    for draft in found:
        benchmark = schema.benchmark(draft, complete=drafts.is_complete(draft))
        if draft.name in benchmarks:
            message = f"two benchmarks are called {draft.name}: the name of a job must differ from cell to cell"
            problems.add(Code.EQUAL_NAMES, message, draft.named_at, path=draft.name)
        benchmarks[draft.name] = benchmark
    templates = dict(drafts.templates())
    for name, node in templates.items():
        schema.check(name, node)
    if not benchmarks:
        problems.add(Code.NO_BENCHMARKS, f"{path} describes no benchmark")
    if judge:
        problems.extend(judge(list(benchmarks.values())))
    problems.raise_errors()
    suite = Suite(
        benchmarks=tuple(benchmarks.values()),
        sources=drafts.sources,
        lenient=lenient,
        warnings=tuple(problems.warnings),
    )
    by_name = {draft.name: draft for draft in found}
    return Resolution(suite=suite, drafts=by_name, entries=drafts.entries, templates=templates)


def _has_weight(node: Node) -> bool:
    weight = node.value.get("weight") if isinstance(node.value, dict) else None
    return weight is not None and weight.value is not None
