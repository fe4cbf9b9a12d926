"""Where the values of an entry come from, through every layer, parent and matrix."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from milabench.document import Node
from milabench.errors import UsageError
from milabench.overrides import keys
from milabench.problems import nearest
from milabench.provenance import Setting, Templates, below, settings
from milabench.suite import matrix
from milabench.suite.resolution import NO_ENVIRON, Resolution, resolution
from milabench.suite.types import Benchmark

DEFAULTS = {
    "group": "its own name",
    "install_group": "its group",
    "weight": "1 where no benchmark of the suite has a weight, else 0",
}


def explain(
    path: Path,
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
    name, under = _target(target, found)
    where = (name, *under)
    if name in found.templates:
        return list(settings(below(found.templates[name], where), where))
    draft = found.drafts[name]
    templates = _templates(found.entries[draft.entry], draft.cell or {})
    said = list(settings(below(draft.node, where), where, templates))
    benchmark = next(each for each in found.suite.benchmarks if each.name == name)
    return said if under else [*said, *_defaults(benchmark, draft.node)]


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


def _defaults(benchmark: Benchmark, node: Node) -> Iterator[Setting]:
    """Yield the values that a benchmark has without their being written anywhere."""
    content = node.value if isinstance(node.value, dict) else {}
    for key, said in DEFAULTS.items():
        if key not in content or content[key].value is None:
            yield Setting(path=(benchmark.name, key), value=getattr(benchmark, key), default=said)


def _templates(entry: Node, cell: Mapping[str, Any]) -> Templates:
    def filling(text: str) -> Iterator[Node]:
        for key in matrix.holes(text):
            node = matrix.place(entry, key, cell.get(key))
            if node is not None:
                yield node

    return Templates(written=matrix.written, filling=filling)
