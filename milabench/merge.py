"""How values merge, by name and in one place: child over parent, upper layer over lower one.

Maps merge by key. Scalars and lists replace. ``{append: [...]}`` onto a list appends. ``tags`` are the sorted union
along ``inherits``. ``null`` removes a key (it stays as null until all is merged). A map over a list is an error.
"""

from __future__ import annotations

from milabench.document import Node
from milabench.problems import Code, Problems

APPEND = "append"
UNITED_BY_INHERITANCE = ("tags",)
NEVER_INHERITED = ("inherits", "matrix", "job")
KEPT_AS_NULL = ("stop",)  # null is a value of it: nothing stops a measurement


def merge(lower: Node, upper: Node, problems: Problems, path: str) -> Node:
    """Return ``upper`` over ``lower``; neither is changed, what they do not both have is shared.

    A value that takes the place of another knows it (``Node.before``).
    """
    below, above = lower.value, upper.value
    if not isinstance(above, dict):
        return upper.over(lower)
    added = appended(upper)
    if added is not None:
        if isinstance(below, list):
            return upper.over(lower).made([*below, *added])
        pending = appended(lower)
        if pending is not None:
            return upper.over(lower).made({APPEND: upper.replaced([*pending, *added])})
        if isinstance(below, dict) and below:
            problems.add(Code.MAP_OVER_LIST, f"append needs a list, {path} is a map so far", upper.mark, path=path)
            return lower
        return upper.over(lower)
    if isinstance(below, list) or appended(lower) is not None:
        message = f"{path} is a list so far and a map cannot be merged over it: write a list, or {{append: [...]}}"
        problems.add(Code.MAP_OVER_LIST, message, upper.mark, path=path)
        return lower
    if not isinstance(below, dict):
        return upper.over(lower)
    merged = dict(below)
    for key, node in above.items():
        existing = merged.get(key)
        merged[key] = node if existing is None else merge(existing, node, problems, f"{path}.{key}")
    return upper.replaced(merged)


def inherit(parent: Node, child: Node, problems: Problems, path: str) -> Node:
    """Return an entry over its parent: a merge in which some keys are united and some stay behind."""
    if not isinstance(parent.value, dict) or not isinstance(child.value, dict):
        return child
    base = {key: node for key, node in parent.value.items() if key not in NEVER_INHERITED}
    merged = merge(parent.replaced(base), child, problems, path)
    for key in UNITED_BY_INHERITANCE:
        above, below = child.value.get(key), base.get(key)
        if above is not None and below is not None and above.value is not None and isinstance(merged.value, dict):
            merged.value[key] = above.over(below, united=True).made([*items(below), *items(above)])
    return merged


def settled(node: Node) -> Node:
    """Return a value in which every ``append`` that met no list has become the list it would have appended."""
    value = node.value
    if isinstance(value, dict):
        added = appended(node)
        if added is not None:
            return node.made(added)
        entries = {key: settled(entry) for key, entry in value.items()}
        return node.replaced(entries) if any(entries[key] is not value[key] for key in entries) else node
    return node


def items(node: Node) -> list[Node]:
    """Return the items of a list, of an ``append``, or the one value written instead of a list."""
    if isinstance(node.value, list):
        return node.value
    added = appended(node)
    if added is not None:
        return added
    return [] if node.value is None else [node]


def appended(node: Node) -> list[Node] | None:
    """Return what ``{append: [...]}`` appends, None for anything else."""
    if not isinstance(node.value, dict) or len(node.value) != 1 or APPEND not in node.value:
        return None
    content = node.value[APPEND].value
    return content if isinstance(content, list) else None
