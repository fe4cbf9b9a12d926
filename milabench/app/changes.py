"""What has changed since a run was begun: its machines, environments and code, as they were recorded and as they are.

A node that is to take the place of another is held against that one: it may be another machine, but not another kind.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import milabench
from milabench import plan as planning
from milabench.app import containers
from milabench.app.facts import made_of, nodes
from milabench.app.options import Options
from milabench.app.phases import Operation
from milabench.app.places import Place
from milabench.console import Console
from milabench.errors import PreflightError
from milabench.plan import Image, Plan
from milabench.preflight.containers import short
from milabench.preflight.differences import MEMORY_SHARE
from milabench.system.types import Node, System

# What makes two numbers of one run those of two machines.
_OF_THE_MACHINE = ("hostname", "platform", "cpus", "cpu_name", "memory_bytes", "arch", "devices", "driver")
# What makes them those of two kinds of machine, and what a plan takes to be as it was.
_OF_THE_KIND = (*_OF_THE_MACHINE[1:], "interface")
Groups = Mapping[str, Mapping[str, list[str] | None]]


def is_new(place: Place, before: Mapping[str, Any]) -> bool:
    """Say whether the node of a place has not had it before."""
    return place.before is not None and place.node not in before["nodes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Continuation:
    """A run that is gone on with: what it recorded, who has its places, their system as it is now, what is left."""

    before: Mapping[str, Any]
    places: Sequence[Place]
    described: System
    left: Plan

    @property
    def new(self) -> list[str]:
        """The nodes that have a place for the first time."""
        return [place.node for place in self.places if is_new(place, self.before)]

    def is_alone(self, node: Node) -> bool:
        """Say whether a node is new to the run, and brings a base of its own."""
        return node.name in self.new and planning.keeper(self.described, node) is node

    def groups_on(self, node: Node) -> list[str]:
        """Return the install groups of what is left on a node that have an environment."""
        there = {trial.benchmark for trial in self.left.trials for each in trial.commands if each.node == node.name}
        groups = {str(self.left.configs.get(name, {}).get("install_group")) for name in there}
        return [group for group in self.before.get("environments", {}) if group in groups]


async def facts_now(work: Operation, run: Continuation, plan: Plan) -> Mapping[str, Any]:
    """Return the facts that a run of a plan recorded, as they are now."""
    before, described = run.before, run.described
    groups: dict[str, Collection[str]] = {name: [*each] for name, each in _made(run).items()}
    groups[planning.keeper(described, described.main).name] = before.get("environments", {})
    made = await made_of(work, described, groups, str(before.get("base")), plan)
    return {
        "milabench": milabench.__version__,
        "system": {**described.facts, "arch": described.arch},
        "nodes": nodes(described, made),
        "environments": made.environments,
        "code": made.code,
        "images": await containers.now(work.fleet.ask, run.left),
    }


def changes(run: Continuation, now: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what differs from what a run recorded, each with both values."""
    before, places = run.before, run.places
    if before.get("milabench") not in (None, now["milabench"]):
        yield "milabench", f"{before['milabench']} → {now['milabench']}"
    for place in places:
        yield from _of_machine(place, before, now, main=place is places[0])
    there = dict(_environments(now, _elsewhere(now)))
    for name, packages in _environments(before, _made(run)):
        found = there.get(name, [])
        if sorted(packages) != sorted(found):
            gone, new = sorted({*packages} - {*found}), sorted({*found} - {*packages})
            yield name, f"{', '.join(gone) or 'nothing'} → {', '.join(new) or 'nothing'}"
    yield from _of_images(before, now["images"])
    for source, digest in before.get("code", {}).items():
        now_digest = now["code"].get(source)
        if now_digest != digest:
            yield f"code {source}", f"{_short(digest)} → {_short(now_digest)}"


def tell(found: Mapping[str, str], console: Console, *, force: bool) -> None:
    """Tell what has changed where that is forced, else raise PreflightError with it."""
    told = "; ".join(f"{name}: {change}" for name, change in found.items())
    if not force:
        raise PreflightError(
            f"since the run was begun this has changed: {told}. Its numbers would be of two set-ups: restore it,"
            " start a new run, or give --force (the report then says so)"
        )
    console.note(f"warning: since the run was begun this has changed: {told}")


def _of_machine(
    place: Place, before: Mapping[str, Any], now: Mapping[str, Any], *, main: bool
) -> Iterator[tuple[str, str]]:
    """Yield what tells a node from what its place was recorded with: of the first main node by itself, else by name."""
    first = main and len(place.names) == 1
    recorded = before.get("system", {}) if first else _recorded(place, before)
    there = now["system"] if first else now["nodes"][place.node]
    new = is_new(place, before)
    of = "" if first else f" of {place.node}" + (f", for {place.before}" if new else "")
    known, found = _machine(recorded, kind=new), _machine(there, kind=new)
    for name, value in known.items():
        if value is not None and found[name] != value and not (new and _is_as_much(name, value, found[name])):
            yield f"{name}{of}", f"{value} → {found[name]}"


def _is_as_much(name: str, before: object, now: object) -> bool:
    """Say whether memory is as much, of which each kernel keeps another part for itself."""
    if name != "memory_bytes" or not isinstance(before, int) or not isinstance(now, int):
        return False
    return abs(now - before) <= MEMORY_SHARE * before


def _recorded(place: Place, before: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what was recorded of the node of a place, of the one before it where that is new."""
    told: Mapping[str, Any] = before.get("nodes", {}).get(place.before if is_new(place, before) else place.node, {})
    return told


def _machine(told: Mapping[str, Any], *, kind: bool) -> dict[str, Any]:
    devices = [(not kind and each.get("uuid")) or each.get("name") for each in told.get("devices") or ()]
    return {**{name: told.get(name) for name in (_OF_THE_KIND if kind else _OF_THE_MACHINE)}, "devices": devices}


def check_installed(run: Continuation, now: Mapping[str, Any], options: Options | None) -> None:
    """Raise PreflightError where a node that brings a base of its own has not what is left to run on it.

    ``options`` are those that make it, where they are known.
    """
    there = dict(_environments(now, _elsewhere(now)))
    for node in filter(run.is_alone, run.described.nodes):
        on = "" if node.main else f" on {node.name}"
        if lacking := [group for group in run.groups_on(node) if not there.get(f"environment {group}{on}")]:
            raise PreflightError(
                f"node {node.name} has a base of its own, without the environments {', '.join(lacking)}:"
                f" {_making(options)}"
            )


def _making(options: Options | None) -> str:
    if options is None:
        return "milabench install and prepare, with the run's suite and a system that has the node, make them there"
    return f"to make them there, type\n  {options.command('install')}\n  {options.command('prepare')}"


def _of_images(before: Mapping[str, Any], now: Mapping[str, Image]) -> Iterator[tuple[str, str]]:
    """Yield that the image of containers is none that nodes had, with the nodes where it is not that of all."""
    known = (before.get("container") or {}).get("images", {}).values()
    was = dict.fromkeys(str(each["digest"] or each["root"]) for each in known)
    others: dict[str, list[str]] = {}
    for node, image in now.items():
        if was and image.name not in was:
            others.setdefault(image.name, []).append(node)
    for name, there in others.items():
        on = f" on {', '.join(there)}" if len(there) < len(now) else ""
        yield f"container image{on}", f"{', '.join(map(short, was))} → {short(name)}"


def _elsewhere(facts: Mapping[str, Any]) -> Groups:
    return {name: each.get("environments", {}) for name, each in facts["nodes"].items()}


def _made(run: Continuation) -> Groups:
    """Return the environments that nodes made on bases of their own, by the node that has the place now.

    None: it is as that of the main node. A node that brings a base of its own has to have what its place had.
    """
    found: dict[str, Mapping[str, list[str] | None]] = {}
    for place, node in zip(run.places, run.described.nodes, strict=True):
        own = _recorded(place, run.before).get("environments", {})
        if not own and not node.main and run.is_alone(node):
            own = dict.fromkeys(run.groups_on(node))
        if own:
            found[place.node] = own
    return found


def _environments(facts: Mapping[str, Any], made: Groups) -> Iterator[tuple[str, list[str]]]:
    """Yield the packages of every environment: those of the main node's base, and those of others."""
    usual = facts.get("environments", {})
    for group, packages in usual.items():
        yield f"environment {group}", packages
    for name, node in made.items():
        for group, own in node.items():
            yield f"environment {group} on {name}", usual.get(group, []) if own is None else own


def _short(digest: str | None) -> str:
    return digest[:12] if digest else "nothing that can be read"
