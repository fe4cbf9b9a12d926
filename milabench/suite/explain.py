"""Where the values of an entry come from: every place that set them, through every layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

from milabench.document import Node, plain
from milabench.errors import Mark, UsageError
from milabench.overrides import dotted, keys
from milabench.problems import nearest
from milabench.suite import matrix
from milabench.suite.resolution import NO_ENVIRON, Resolution, resolution
from milabench.suite.types import Benchmark

Path = tuple[str, ...]
DEFAULTS = {
    "group": "its own name",
    "install_group": "its group",
    "weight": "1 where no benchmark of the suite has a weight, else 0",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A value as it is written somewhere."""

    value: Any
    mark: Mark


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A place that set a value, what is written there, and what was put into that text (references, cells)."""

    source: Source
    inserted: tuple[Source, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A value of an entry; the first of ``steps`` counts, each other one was replaced by the one before it.

    ``value`` None: the key was removed. Without steps it is written nowhere, and ``default`` says what holds then.
    """

    path: Path
    value: Any
    steps: tuple[Step, ...] = ()
    default: str = ""


def explain(
    path: FilePath,
    target: str,
    changes: Sequence[str] = (),
    environ: Mapping[str, str] = NO_ENVIRON,
    *,
    lenient: bool = False,
) -> list[Setting]:
    """Return every value at ``target`` (``resnet50``, ``resnet50.argv.--lr``) with all places that set it.

    A target is a benchmark or a private entry, and keys below it; the other arguments are those of ``resolve``.
    Raises ConfigurationError with every mistake of the suite, UsageError for a target that is not there.
    """
    found = resolution(path, changes, environ, lenient=lenient)
    name, below = _target(target, found)
    where = (name, *below)
    if name in found.templates:
        return list(_settings(_below(found.templates[name], where), where))
    draft = found.drafts[name]
    said = list(_settings(_below(draft.node, where), where, found.entries[draft.entry], draft.cell))
    benchmark = next(each for each in found.suite.benchmarks if each.name == name)
    return said if below else [*said, *_defaults(benchmark, draft.node)]


def _target(target: str, found: Resolution) -> tuple[str, list[str]]:
    """Return the name and the keys of a target; names may have dots themselves."""
    names = [*found.drafts, *found.templates]
    fitting = [name for name in names if target == name or target.startswith((f"{name}.", f"{name}["))]
    if fitting:
        name = max(fitting, key=len)
        return name, keys(target[len(name) :])
    wanted = next(iter(keys(target)), target)
    cells = [name for name, draft in found.drafts.items() if draft.entry == wanted]
    if cells:
        shown = ", ".join(cells[:5]) + (", …" if len(cells) > 5 else "")
        raise UsageError(f"{wanted} is a matrix of {len(cells)} benchmarks: name one of {shown}")
    near = nearest(wanted, names)
    raise UsageError(f"the suite has no entry {wanted!r}" + (f" (did you mean {near!r}?)" if near else ""))


def _below(node: Node, path: Path) -> Node:
    """Return what stands at a path below an entry. Raises UsageError where nothing does."""
    for depth, key in enumerate(path[1:], 1):
        inside = node.value if isinstance(node.value, dict) else {}
        if key not in inside:
            near = nearest(key, inside)
            hint = f" (did you mean {near!r}?)" if near else f": it has {', '.join(inside)}" if inside else ""
            raise UsageError(f"{dotted(path[:depth])} has no {key!r}{hint}")
        node = inside[key]
    return node


def _settings(
    node: Node, path: Path, entry: Node | None = None, cell: Mapping[str, Any] | None = None
) -> Iterator[Setting]:
    """Yield every value at and below a path, in the order written; ``entry`` and ``cell`` are those of a matrix."""
    if isinstance(node.value, dict) and node.value:
        for key, inner in node.value.items():
            yield from _settings(inner, (*path, key), entry, cell)
    else:
        yield Setting(path=path, value=plain(node), steps=tuple(_steps(node, entry, cell or {})))


def _defaults(benchmark: Benchmark, node: Node) -> Iterator[Setting]:
    """Yield the values that a benchmark has without their being written anywhere."""
    content = node.value if isinstance(node.value, dict) else {}
    for key, said in DEFAULTS.items():
        if key not in content or content[key].value is None:
            yield Setting(path=(benchmark.name, key), value=getattr(benchmark, key), default=said)


def _steps(node: Node, entry: Node | None, cell: Mapping[str, Any]) -> Iterator[Step]:
    """Yield the places that set a value, the one that counts first."""
    following: Node | None = node
    while following is not None:
        step, inserted = following, list(_inserted(following))
        while step.before is not None and step.before.mark == step.mark:  # the text this was worked out from
            step = step.before
            inserted += _inserted(step)
        if isinstance(step.value, str) and entry is not None:
            inserted += _of_cell(step.value, entry, cell)
        yield Step(source=_source(step), inserted=tuple(inserted))
        following = step.before


def _inserted(node: Node) -> Iterator[Source]:
    if node.origin is not None:
        yield _source(node.origin)


def _of_cell(text: str, entry: Node, cell: Mapping[str, Any]) -> Iterator[Source]:
    for key in matrix.holes(text):
        node = matrix.place(entry, key, cell.get(key))
        if node is not None:
            yield _source(node)


def _source(node: Node) -> Source:
    value = plain(node)
    return Source(value=matrix.written(value) if isinstance(value, str) else value, mark=node.mark)
