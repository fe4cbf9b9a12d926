"""What is found of nodes beside each other: what they have not in common, and whether they reach each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from milabench.amounts import GIB, size
from milabench.plan.types import Plan
from milabench.preflight.nodes import MOST_NAMED
from milabench.preflight.types import Finding, Severity, Wanted
from milabench.system.addresses import is_loopback
from milabench.system.types import System

CLOCK_S = 0.5  # more than that no network with a time server has
MEMORY_SHARE = 0.05  # kernels keep another part of the same memory for themselves

Facts = Mapping[str, Any]
_TOLD: Mapping[str, tuple[str, Callable[[Facts], object]]] = {
    "driver": ("driver", lambda facts: facts.get("driver")),
    "devices": ("devices", lambda facts: _devices(facts.get("devices") or ())),
    "processor": ("processor", lambda facts: facts.get("cpu_name")),
    "cores": ("cores", lambda facts: facts.get("cpus")),
    "kernel": ("kernel", lambda facts: facts.get("platform")),
    "python": ("Python", lambda facts: facts.get("python_version")),
}
_NOTES = ("kernel", "python")


def findings(system: System, wanted: Wanted | None) -> Iterator[Finding]:
    """Yield what is found of a system of several nodes that were asked."""
    if len(system.probed) < 2:
        return
    for subject, (label, read) in _TOLD.items():
        known = {name: value for name, facts in system.probed.items() if (value := read(facts)) is not None}
        if len({str(value) for value in known.values()}) > 1:
            yield _differ(subject, label, {name: str(value) for name, value in known.items()})
    yield from _memory(system)
    yield from _clocks(system)
    yield from _ways(system, together=wanted is None or _works_together(wanted.plan))
    if wanted is not None:
        yield from _idle(system, wanted.plan)


def packages(group: str, by_node: Mapping[str, Sequence[str]]) -> Finding | None:
    """Return that an environment does not hold the same on all nodes, with the packages that differ."""
    several = {node: {*lines} for node, lines in by_node.items()}
    common = set.intersection(*several.values()) if several else set()
    differing = {node: sorted(lines - common) for node, lines in several.items()}
    if not any(differing.values()):
        return None
    told = {node: ", ".join(lines[:MOST_NAMED]) + (", …" if len(lines) > MOST_NAMED else "") or "nothing else"
            for node, lines in differing.items()}  # fmt: skip
    return Finding(
        code="environments-differ",
        severity="warning",
        subject=group,
        what=f"environment {group} is not the same on all nodes: {_by_value(told)}",
        consequence="numbers of different nodes are of different packages",
        remedy="lock its requirements (milabench pin), and install again",
        nodes=tuple(by_node),
    )


def _differ(subject: str, label: str, values: Mapping[str, str]) -> Finding:
    severity: Severity = "note" if subject in _NOTES else "warning"
    return Finding(
        code="nodes-differ",
        severity=severity,
        subject=subject,
        what=f"nodes differ in their {label}: {_by_value(values)}",
        consequence="their numbers are of different set-ups, and what runs on several goes at the pace of the slowest",
        remedy="make them alike, or choose nodes that are",
        nodes=tuple(values),
    )


def _by_value(values: Mapping[str, str]) -> str:
    """Return values with the nodes that have them, those of most nodes first."""
    nodes: dict[str, list[str]] = {}
    for node, value in values.items():
        nodes.setdefault(value, []).append(node)
    most = sorted(nodes.items(), key=lambda each: -len(each[1]))
    told = [f"{value} on {_names(names)}" for value, names in most[:MOST_NAMED]]
    return "; ".join([*told, *([f"and {len(most) - MOST_NAMED} more"] if len(most) > MOST_NAMED else [])])


def _names(nodes: Sequence[str]) -> str:
    if len(nodes) <= MOST_NAMED:
        return ", ".join(nodes)
    return f"{', '.join(nodes[: MOST_NAMED - 1])} and {len(nodes) - MOST_NAMED + 1} more"


def _devices(devices: Sequence[Mapping[str, Any]]) -> str:
    names = [str(each.get("name")) for each in devices]
    return ", ".join(f"{names.count(name)} × {name}" for name in dict.fromkeys(names)) or "none"


def _memory(system: System) -> Iterator[Finding]:
    known = {name: facts["memory_bytes"] for name, facts in system.probed.items() if facts.get("memory_bytes")}
    if known and max(known.values()) - min(known.values()) > MEMORY_SHARE * max(known.values()):
        yield _differ("memory", "memory", {name: size(round(value / GIB) * GIB) for name, value in known.items()})


def _clocks(system: System) -> Iterator[Finding]:
    """Yield whose clock is far from the others': of this machine's by which it was measured, be it a node or not."""
    offsets = {node.name: node.clock_offset_ns for node in system.nodes if node.clock_offset_ns is not None}
    far = {name: offset / 1e9 for name, offset in offsets.items() if abs(offset) / 1e9 > CLOCK_S}
    if far:
        told = [f"{name} {abs(by):.1f} s {'ahead' if by > 0 else 'behind'}" for name, by in far.items()]
        more = f" and {len(told) - MOST_NAMED} more" if len(told) > MOST_NAMED else ""
        yield Finding(
            code="clocks-differ",
            severity="warning",
            subject="clock",
            what=f"clocks are not this machine's: {', '.join(told[:MOST_NAMED])}{more}",
            consequence="times in the files of nodes cannot be compared; reports set right what monitors saw, by this",
            remedy="have a time service (chrony, ntpd) keep all clocks right",
            nodes=tuple(far),
        )


def _main_is_not_found(system: System) -> tuple[str, str, str] | None:
    """Return what keeps processes from finding the main node by its address, what that does, and what helps."""
    main = system.main
    if is_loopback(main.address):
        return (
            f"has the address {main.address}, which is each machine itself",
            "processes on other nodes look for it on their own node, and wait until they give up",
            "give it the address that other nodes reach it by (ip: of the node in the system file)",
        )
    if why := (system.probed.get(main.name, {}).get("route") or {}).get("itself"):
        return (
            f"does not find itself: {why}",
            "its own ranks look for the main node by that name, and all wait for them",
            "give it an IP address (ip: in the system file), or have its /etc/hosts know the name",
        )
    return None


def _ways(system: System, *, together: bool) -> Iterator[Finding]:
    """Yield who does not reach the main node, which is where processes of several nodes meet."""
    main = system.main
    severity: Severity = "blocking" if together else "note"
    if told := _main_is_not_found(system):
        what, consequence, remedy = told
        yield Finding(
            code="main-address",
            severity=severity,
            subject=main.name,
            what=f"the main node {main.name} {what}",
            consequence=consequence,
            remedy=remedy,
            nodes=(main.name,),
        )
    if is_loopback(main.address):
        return
    for node in system.nodes[1:]:
        way = system.probed.get(node.name, {}).get("route") or {}
        if why := way.get("error"):
            yield Finding(
                code="no-route",
                severity=severity,
                subject=node.name,
                what=f"node {node.name} does not reach the main node: {why}",
                consequence="processes of one benchmark on both nodes do not find each other",
                remedy="give nodes addresses that all of them can reach (ip: in the system file)",
                nodes=(node.name,),
            )


def _idle(system: System, plan: Plan) -> Iterator[Finding]:
    """Yield the nodes that a run starts nothing on: who names several expects to measure all."""
    used = {command.node for trial in plan.trials for command in trial.commands}
    idle = [node.name for node in system.nodes if node.name not in used]
    if not used or not idle:
        return
    yield Finding(
        code="nodes-idle",
        severity="warning",
        subject="plan",
        what=(
            f"nothing of this run is on {_names(idle)}: without num_machines, benchmarks that are not per_node run on"
            f" the main node ({system.main.name}) alone"
        ),
        consequence="they are not measured, whatever nodes the report names",
        remedy="say plan: {method: per_node} or num_machines of what is to run there, or leave them out of the system",
        nodes=tuple(idle),
    )


def _works_together(plan: Plan) -> bool:
    """Say whether processes of several nodes belong together in any job."""
    return any(len({each.node for each in job.commands}) > 1 for trial in plan.trials for job in trial.jobs)
