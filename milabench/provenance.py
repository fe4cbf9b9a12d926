"""Where values come from: the places that set each, read off the nodes they were merged and worked out from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from milabench.document import Node, plain
from milabench.errors import Mark, UsageError
from milabench.overrides import dotted
from milabench.problems import nearest

Path = tuple[str, ...]


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
    """A value at a path; the first of ``steps`` counts, each other one was replaced by the one before it.

    ``value`` None: the key was removed. Without steps it is written nowhere, and ``default`` says what holds then.
    """

    path: Path
    value: Any
    steps: tuple[Step, ...] = ()
    default: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Templates:
    """How texts with holes were written, and what fills them here: what a matrix adds to the history of a value."""

    written: Callable[[str], str] = str
    filling: Callable[[str], Iterator[Node]] = lambda _: iter(())


def below(node: Node, path: Path) -> Node:
    """Return what stands at a path, the first key of which names the node. Raises UsageError where nothing does."""
    for depth, key in enumerate(path[1:], 1):
        inside = node.value if isinstance(node.value, dict) else {}
        if key not in inside:
            near = nearest(key, inside)
            hint = f" (did you mean {near!r}?)" if near else f": it has {', '.join(inside)}" if inside else ""
            raise UsageError(f"{dotted(path[:depth])} has no {key!r}{hint}")
        node = inside[key]
    return node


def settings(node: Node, path: Path, templates: Templates | None = None) -> Iterator[Setting]:
    """Yield every value at and below a node that stands at a path, in the order written."""
    if isinstance(node.value, dict) and node.value:
        for key, inner in node.value.items():
            yield from settings(inner, (*path, key), templates)
    else:
        yield Setting(path=path, value=plain(node), steps=tuple(_steps(node, templates or Templates())))


def _steps(node: Node, templates: Templates) -> Iterator[Step]:
    """Yield the places that set a value, the one that counts first."""
    following: Node | None = node
    while following is not None:
        step, inserted = following, _origin(following)
        while step.before is not None and step.before.mark == step.mark:  # the text this was worked out from
            step = step.before
            inserted += _origin(step)
        if isinstance(step.value, str):
            inserted += templates.filling(step.value)
        sources = (_source(each, templates) for each in inserted)
        yield Step(source=_source(step, templates), inserted=tuple(sources))
        following = step.before


def _origin(node: Node) -> list[Node]:
    return [] if node.origin is None else [node.origin]


def _source(node: Node, templates: Templates) -> Source:
    value = plain(node)
    return Source(value=templates.written(value) if isinstance(value, str) else value, mark=node.mark)
