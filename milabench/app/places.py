"""The places of a run's nodes, and which nodes have them: those that it was begun on, or others by the user's choice.

A place is what a plan gives a node to do. Whoever has had it is recorded (``nodes`` and ``replaced`` of run.json), so
that what a node measured stays its own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from milabench.amounts import many
from milabench.errors import PreflightError
from milabench.plan import Plan
from milabench.plan.standins import Standin
from milabench.system.types import Device, Node, System


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The nodes that have had a place, by name, the one that has it now last."""

    names: tuple[str, ...]

    @property
    def node(self) -> str:
        return self.names[-1]

    @property
    def before(self) -> str | None:
        """The node that had it before, None where it is the first one's."""
        return self.names[-2] if len(self.names) > 1 else None


def of_run(facts: Mapping[str, Any], used: Collection[str] = ()) -> list[Place]:
    """Return the places of a run by what it recorded, the main node's first.

    ``used`` are the nodes of its plan: older runs recorded none, and are of this machine alone.
    """
    replaced: Sequence[Mapping[str, Any]] = facts.get("replaced", ())
    came: set[str] = set()
    gone: set[str] = set()
    for each in replaced:
        gone.add(each["node"])
        came |= {each["by"]} - gone
    names = dict.fromkeys((*facts.get("nodes", {}), *sorted(used)))
    places = [Place(names=(name,)) for name in names if name not in came]
    for each in replaced:
        places = [_taken(place, each["by"]) if place.node == each["node"] else place for place in places]
    return places


def _taken(place: Place, node: str) -> Place:
    return replace(place, names=(*place.names, node))


def assigned(places: Sequence[Place], there: Sequence[str]) -> list[Place]:
    """Return who has which place on other nodes: who is there keeps its place, the others take what is left, in order.

    A node that had a place before can have that one alone, so that its name means one place in all of the run. Raises
    PreflightError where a place is left without a node.
    """
    present = set(there)
    known = {name for place in places for name in place.names}
    back = [_back(place, present) for place in places]
    free = iter([name for name in there if name not in known])
    found = [place if place.node in present else _given(place, next(free, None)) for place in back]
    if lacking := sum(place is None for place in found):
        idle = [name for name in there if name in known and name not in {place.node for place in back}]
        why = f" ({', '.join(idle)} had a place before: it takes no other)" if idle else ""
        raise PreflightError(
            f"the run is on {many(len(places), 'node')}, and {', '.join(there)} {'are' if len(there) != 1 else 'is'}"
            f" {lacking} too few: it goes on on as many as it was begun on{why}"
        )
    return [place for place in found if place is not None]


def _back(place: Place, present: Collection[str]) -> Place:
    """Return a place with the latest of those that have had it and are there."""
    name = next((name for name in reversed(place.names) if name in present), place.node)
    return place if name == place.node else _taken(place, name)


def _given(place: Place, name: str | None) -> Place | None:
    return None if name is None else _taken(place, name)


def newly(before: Sequence[Place], after: Sequence[Place], time_s: float) -> list[dict[str, Any]]:
    """Return what run.json says of the places that have another node than before; ``time_s`` since 1970."""
    return [
        {"node": old.node, "by": new.node, "time": time_s}
        for old, new in zip(before, after, strict=True)
        if old.node != new.node
    ]


def standins(places: Sequence[Place], facts: Mapping[str, Any], described: System) -> Iterator[Standin]:
    """Yield the nodes that have a place for all that had it before, on a system whose nodes are in its places."""
    nodes = {node.name: node for node in described.nodes}
    for place in places:
        for name in dict.fromkeys(place.names):
            if name != place.node:
                yield Standin(gone=_as_recorded(name, facts["nodes"][name]), node=nodes[place.node])


def _as_recorded(name: str, told: Mapping[str, Any]) -> Node:
    """Return a node as run.json has it, with what a plan may have of it."""
    devices = [Device(id=each["id"], name=each["name"], uuid=each.get("uuid")) for each in told.get("devices", ())]
    return Node(
        name=name,
        address=told["address"],
        devices=tuple(devices),
        python=told.get("python"),
        interface=told.get("interface"),
    )


def check_devices(plan: Plan, described: System, nodes: Collection[str]) -> None:
    """Raise PreflightError where nodes that are new to a run lack devices that its plan has work for."""
    for node in described.nodes:
        if node.name not in nodes:
            continue
        commands = (command for trial in plan.trials for command in trial.commands if command.node == node.name)
        needed = {device for command in commands for device in command.devices}
        there = {device.id for device in node.devices}
        if needed - there:
            raise PreflightError(
                f"node {node.name} has {_devices(described, there)}, and is to have {_devices(described, needed)} for"
                " what is left of the run: ask for nodes with these"
            )


def _devices(described: System, ids: Collection[int]) -> str:
    what = f"{described.arch} device"
    return f"{many(len(ids), what)} ({', '.join(map(str, sorted(ids)))})" if ids else f"no {what}"
