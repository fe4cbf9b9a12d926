"""Which nodes share a base, and which of them installs and prepares for the others."""

from __future__ import annotations

from milabench.system.types import Node, System


def keeper(system: System, node: Node) -> Node:
    """Return the node that installs and prepares for a node: the first of those that share its base, or itself."""
    return first_of_bases(system).get(base_of(node), node)


def keepers(system: System) -> tuple[Node, ...]:
    """Return the nodes that install and prepare: one for each base that there is."""
    return tuple(first_of_bases(system).values())


def apart(system: System) -> tuple[Node, ...]:
    """Return the nodes that install and prepare for a base which is not this machine's."""
    return tuple(node for node in keepers(system) if not node.local and base_of(node))


def first_of_bases(system: System) -> dict[str, Node]:
    """Return the first node of each base."""
    found: dict[str, Node] = {}
    for node in system.nodes:
        found.setdefault(base_of(node), node)
    return found


def base_of(node: Node) -> str:
    """Return what tells bases apart: the name of the node whose base it is, nothing for the operator's own."""
    return node.name if node.shares_base is None else node.shares_base
