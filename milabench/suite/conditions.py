"""Conditions on a system, in ``requires_capabilities``: what they may ask for, and what no system has."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from milabench import expression
from milabench.document import Node
from milabench.merge import items
from milabench.options import OPTIONS, place_of
from milabench.placeholders import SYSTEM_REFERENCE
from milabench.problems import Code, nearest
from milabench.suite.values import Reader
from milabench.tokens import ExpressionError

_QUOTED = re.compile(rf"""'[^']*'|"[^"]*"|{SYSTEM_REFERENCE.pattern}""")


def _options() -> dict[str, Any]:
    """Return the tree of the options, which have no parts themselves; the architecture stands beside it."""
    tree: dict[str, Any] = {}
    for name in OPTIONS:
        if place_of(name) == "system.arch":
            continue
        *parts, last = name.split(".")
        inside = tree
        for part in parts:
            inside = inside.setdefault(part, {})
        inside[last] = None
    return tree


_HARDWARE = {"gpu": dict.fromkeys(("arch", "capacity", "count")), "cpu": dict.fromkeys(("count", "memory"))}
NODE = {**dict.fromkeys(("name", "ip", "user", "port", "main", "devices", "interface")), **_HARDWARE}
# What conditions call a system (``system.values``): a map where it has parts with names, None where it has none.
NAMES: Mapping[str, Any] = {
    **dict.fromkeys(("arch", "docker_image", "nodes", "num_machines", "sshkey")), **_HARDWARE, "options": _options(),
}  # fmt: skip


def read_conditions(read: Reader, node: Node, path: str) -> tuple[str, ...]:
    """Return the conditions of a list, or the one that is written instead of a list."""
    conditions = tuple(_QUOTED.sub(_by_name, condition) for condition in read.words(node, path))
    for index, (condition, at) in enumerate(zip(conditions, items(node), strict=False)):
        where, inside = f"{path}[{index}]", SYSTEM_REFERENCE.search(condition)
        if inside:
            message = f"has {inside[0]} inside a text: compare with the bare name, as in arch == 'cuda'"
            read.wrong(at, where, message, Code.BAD_CAPABILITY)
            continue
        try:
            for message, near in _unknown(condition):
                read.wrong(at, where, message, Code.BAD_CAPABILITY, near)
        except ExpressionError as error:
            read.wrong(at, where, f"cannot be read: {error}", Code.BAD_CAPABILITY)
    return conditions


def _unknown(condition: str) -> Iterator[tuple[str, str | None]]:
    """Yield what a condition asks for that no system has, with what is most like it. Raises ExpressionError."""
    for name in expression.names(condition):
        if name not in NAMES:
            yield f"asks for {name!r}, which is not known", nearest(name, NAMES)
    for name, *parts in expression.lookups(condition):
        known, of = NAMES.get(str(name)), str(name)
        if name == "nodes" and parts and isinstance(parts[0], int):
            known, of = NODE, f"nodes[{parts.pop(0)}]"
        for part in parts:
            if not isinstance(known, Mapping):
                break
            if part not in known:
                yield f"asks for {part!r} of {of}, which is not known", nearest(str(part), known)
                break
            known, of = known[part], f"{of}.{part}"


def _by_name(found: re.Match[str]) -> str:
    """Return the name that a condition has for ``${system.gpu.count}``, in quotes or not; other text as it is."""
    reference = SYSTEM_REFERENCE.fullmatch(found[0].strip("'\""))
    return reference[1] if reference else found[0]
