"""Where the values of an entry come from, through every layer, parent and matrix."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from milabench.document import Node
from milabench.errors import UsageError
from milabench.keys import Key
from milabench.merge import items
from milabench.overrides import fitting, keys
from milabench.problems import nearest
from milabench.provenance import Path as Keys
from milabench.provenance import Provenance, Templates, below, provenances
from milabench.suite import matrix
from milabench.suite.language import KEYS
from milabench.suite.resolution import NO_ENVIRON, Resolution, resolution


def explain(
    path: Path,
    target: str,
    changes: Sequence[str] = (),
    environ: Mapping[str, str] = NO_ENVIRON,
    *,
    lenient: bool = False,
) -> list[Provenance]:
    """Return every value at ``target`` (``resnet50``, ``resnet50.argv.--lr``) with all places that set it.

    What is written nowhere is told with its default.

    A target is a benchmark or a private entry, and keys below it; the other arguments are those of ``resolve``.
    Raises ConfigurationError with every mistake of the suite, UsageError for a target that is not there.
    """
    found = resolution(path, changes, environ, lenient=lenient)
    name, under = _target(target, found)
    where = (name, *under)
    if name in found.templates:
        return _as_read(provenances(below(found.templates[name], where), where), found.templates[name])
    draft = found.drafts[name]
    templates = _templates(found.entries[draft.entry], draft.cell or {})
    benchmark = next(each for each in found.suite.benchmarks if each.name == name)
    unwritten = list(_unwritten(KEYS, draft.node, benchmark.config, _Asked(path=(name,), target=where)))
    try:
        return [*_as_read(provenances(below(draft.node, where), where, templates), draft.node), *unwritten]
    except UsageError:
        if unwritten:
            return unwritten
        raise


def _as_read(found: Iterable[Provenance], entry: Node) -> list[Provenance]:
    """Return what is told of an entry with its tags as a benchmark has them: sorted, each once."""
    tags = entry.value.get("tags") if isinstance(entry.value, dict) else None
    if tags is None or tags.value is None:
        return list(found)
    words = sorted({tag.spelled for tag in items(tags)})
    return [replace(each, value=words) if each.path[1:] == ("tags",) else each for each in found]


def _target(target: str, found: Resolution) -> tuple[str, list[str]]:
    """Return the name and the keys of a target; names may have dots themselves."""
    names = [*found.drafts, *found.templates]
    known = fitting(target, names)
    if known:
        return known
    wanted = next(iter(keys(target)), target)
    cells = [name for name, draft in found.drafts.items() if draft.entry == wanted]
    if cells:
        shown = ", ".join(cells[:5]) + (", …" if len(cells) > 5 else "")
        raise UsageError(f"{wanted} is a matrix of {len(cells)} benchmarks: name one of {shown}")
    near = nearest(wanted, names)
    raise UsageError(f"the suite has no entry {wanted!r}" + (f" (did you mean {near!r}?)" if near else ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """A path, and the one that is asked for."""

    path: Keys
    target: Keys

    def inside(self, key: str) -> _Asked:
        return replace(self, path=(*self.path, key))

    @property
    def leads_there(self) -> bool:
        """Whether what is asked for is below the path."""
        return len(self.path) < len(self.target) and self.target[: len(self.path)] == self.path

    def is_told(self, value: Any, key: Key) -> bool:
        """Return whether the path is what is asked for, or has a value and is below that."""
        if self.path == self.target:
            return value is not None or bool(key.otherwise)
        return value is not None and self.path[: len(self.target)] == self.target


def _unwritten(keys: Mapping[str, Key], written: Node | None, seen: Any, asked: _Asked) -> Iterator[Provenance]:
    """Yield what holds for keys that are written nowhere; ``seen`` is the value that a benchmark has of all of them.

    Below the target, keys without a value, and those of maps that it does not have, are left out.
    """
    content = written.value if written and isinstance(written.value, dict) else {}
    values = seen if isinstance(seen, Mapping) else {}
    for name, key in keys.items():
        node, here, value = content.get(name), asked.inside(name), values.get(name, key.default)
        if isinstance(value, Mapping) or (key.inside and here.leads_there):
            yield from _unwritten(key.inside, node, value, here)
        elif (node is None or node.value is None) and here.is_told(value, key):
            yield Provenance(path=here.path, value=value, default=key.otherwise or "nothing sets it")


def _templates(entry: Node, cell: Mapping[str, Any]) -> Templates:
    def filling(text: str) -> Iterator[Node]:
        for key in matrix.holes(text):
            node = matrix.place(entry, key, cell.get(key))
            if node is not None:
                yield node

    return Templates(written=matrix.written, filling=filling)
