"""Where values come from: the places that set each, read off the nodes they were merged and worked out from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from milabench.document import Node, plain, strings
from milabench.errors import Mark, UsageError
from milabench.merge import KEPT_AS_NULL, appended
from milabench.overrides import dotted
from milabench.problems import nearest

Path = tuple[str, ...]
Relation: TypeAlias = Literal["replaced", "appended to", "united with"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A value as it is written somewhere."""

    value: Any
    mark: Mark


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A place that set a value, what is written there, and what was put into that text (references, cells).

    ``below`` is what it did to the value of the place below it, empty where there is none.
    """

    source: Source
    inserted: tuple[Source, ...] = ()
    below: Relation | Literal[""] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """A value at a path, and the places it comes from: the one that counts first, each over the one after it.

    ``removed``: the key was taken out. Without places it is written nowhere, and ``default`` says what holds then.
    """

    path: Path
    value: Any
    places: tuple[Place, ...] = ()
    removed: bool = False
    default: str = ""

    def shown(self, change: Callable[[Any], Any]) -> Provenance:
        """Return the same with every value changed for showing."""

        def changed(source: Source) -> Source:
            return replace(source, value=change(source.value))

        places = (
            replace(place, source=changed(place.source), inserted=tuple(map(changed, place.inserted)))
            for place in self.places
        )
        return replace(self, path=tuple(map(change, self.path)), value=change(self.value), places=tuple(places))


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


def provenances(node: Node, path: Path, templates: Templates | None = None) -> Iterator[Provenance]:
    """Yield every value at and below a node that stands at a path, in the order written."""
    if isinstance(node.value, dict) and node.value and appended(node) is None:
        for key, inner in node.value.items():
            yield from provenances(inner, (*path, key), templates)
    else:
        removed = node.value is None and path[-1] not in KEPT_AS_NULL
        places = tuple(_places(node, templates or Templates()))
        yield Provenance(path=path, value=plain(node), places=places, removed=removed)


def _places(node: Node, templates: Templates) -> Iterator[Place]:
    """Yield the places that set a value, the one that counts first."""
    following: Node | None = node
    while following is not None:
        written, inserted = following, _origin(following)
        while written.before is not None and written.before.mark == written.mark:  # what this was worked out from
            written = written.before
            inserted += _origin(written)
        for text in strings(written):
            inserted += templates.filling(text)
        following = written.before
        yield Place(
            source=_source(written, templates),
            inserted=tuple(_source(each, templates) for each in inserted),
            below="" if following is None else _relation(written, following),
        )


def _relation(upper: Node, lower: Node) -> Relation:
    """Return what a value as it is written did to the one below it."""
    if lower.value is None:
        return "replaced"
    if appended(upper) is not None:
        return "appended to"
    return "united with" if upper.united else "replaced"


def _origin(node: Node) -> list[Node]:
    return [] if node.origin is None else [node.origin]


def _source(node: Node, templates: Templates) -> Source:
    return Source(value=_written(plain(node), templates), mark=node.mark)


def _written(value: Any, templates: Templates) -> Any:
    """Return plain data with the holes of its texts as they were written."""
    match value:
        case str():
            return templates.written(value)
        case list():
            return [_written(item, templates) for item in value]
        case dict():
            return {templates.written(key): _written(item, templates) for key, item in value.items()}
        case _:
            return value
