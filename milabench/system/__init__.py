"""A system: the machines, from a file, variables and the command line, and from what was probed of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from milabench.errors import Problem, UsageError
from milabench.options import MOST_DEVICES
from milabench.problems import Problems, nearest
from milabench.system import allocation, layers
from milabench.system.explain import explain
from milabench.system.file import NodeEntry, SystemFile, read
from milabench.system.nodes import Maker
from milabench.system.types import ARCHES, Allocation, Arch, Device, Node, Operator, System

__all__ = [
    "ARCHES",
    "Arch",
    "Device",
    "Node",
    "Operator",
    "System",
    "asked_arch",
    "explain",
    "recorded",
    "resolve",
    "values",
    "values_from",
    "written",
]

OVERRIDES = ("arch", "gpus", "nodes", "gpu_memory", "cpus")
_MOST = {"gpus": MOST_DEVICES, "nodes": 10_000}
_NOTHING: Mapping[str, Any] = MappingProxyType({})
_NOBODY = Operator()


def resolve(
    file: Path | None,
    facts: Mapping[str, Any],
    overrides: Mapping[str, Any] = _NOTHING,
    operator: Operator = _NOBODY,
    remote: Mapping[str, Mapping[str, Any]] = _NOTHING,
) -> System:
    """Return the system that a file describes; where none names nodes the Slurm allocation, else this machine alone.

    Over the file counts what the ``operator`` says: variables of options, and over these changes of the system.
    ``facts`` are what was probed on this machine: hostname, ips, arch, cpus, cpu_name, memory_bytes, devices, environ;
    ``remote`` has the same of other machines by the name of their node, and may say of each python, python_version,
    machine, shares_base, interface and clock_offset_ns (see ``Node``). A node of neither is taken to be like
    this machine. The architecture is that of the main node.
    ``overrides`` win over the file and the file over what was probed: arch, gpus and cpus of each node, nodes, and
    gpu_memory in bytes; None is not given. Devices and nodes that are asked for and not known are made up.
    ``${oc.env:NAME}`` in the file looks into the operator's environment too; without it, into the probed one.
    Raises ConfigurationError with every mistake of what is said, UsageError for an override that cannot be.
    """
    asked = {key: value for key, value in overrides.items() if value is not None}
    _check(asked)
    problems = Problems(lenient=operator.lenient)
    seen = facts.get("environ", {}) if operator.environ is None else operator.environ
    said = _said(file, seen, operator, problems)
    within = None if said.nodes else allocation.read(operator.environ or {})
    entries = _entries(said.nodes or (allocation.entries(within) if within else ()), asked.get("nodes"))
    of_main = remote.get(entries[0].name, facts)
    arch = cast(Arch, asked.get("arch") or said.arch or of_main.get("arch") or "cpu")
    _check_devices(arch, asked)
    maker = Maker(arch=arch, facts=facts, remote=remote, said=said, asked=asked, allocated=within is not None)
    return _made(maker, entries, within, tuple(problems.warnings))


def written(file: Path, operator: Operator = _NOBODY) -> SystemFile:
    """Return what a system file says, under what the ``operator`` does. Raises ConfigurationError."""
    return _said(file, operator.environ or {}, operator, Problems(lenient=operator.lenient))


def _said(file: Path | None, seen: Mapping[str, str], operator: Operator, problems: Problems) -> SystemFile:
    node = layers.read(file, seen, operator.changes, problems)
    said = SystemFile() if node is None else read(node, problems)
    problems.raise_errors()
    return said


def _made(
    maker: Maker, entries: Sequence[NodeEntry], within: Allocation | None, warnings: tuple[Problem, ...] = ()
) -> System:
    nodes = tuple(maker.node(entry, main=index == 0) for index, entry in enumerate(entries))
    asked = [node for node in nodes if node.local or node.name in maker.remote]
    return System(
        arch=maker.arch,
        nodes=nodes,
        container=maker.said.container,
        options=maker.said.options,
        facts=maker.remote.get(nodes[0].name, maker.facts),
        probed={node.name: maker.remote.get(node.name, maker.facts) for node in asked},
        allocation=within,
        warnings=warnings,
    )


def recorded(
    said: SystemFile,
    facts: Mapping[str, Any],
    remote: Mapping[str, Mapping[str, Any]] = _NOTHING,
    within: Allocation | None = None,
) -> System:
    """Return the system that a run was begun on, its main node first, as it is now: with all that its nodes show."""
    arch = cast(Arch, said.arch or remote.get(said.nodes[0].name, facts).get("arch") or "cpu")
    maker = Maker(arch=arch, facts=facts, remote=remote, said=said, asked={}, allocated=within is not None)
    return _made(maker, said.nodes, within)


def asked_arch(environ: Mapping[str, str], changes: Sequence[str]) -> str | None:
    """Return the architecture that a variable or an override names, None where none does (or it cannot be)."""
    written = layers.read(None, environ, changes, Problems())
    return None if written is None else read(written, Problems()).arch


def values(system: System, node: Node | None = None) -> Mapping[str, Any]:
    """Return what conditions and benchfiles call a system: ``arch``, ``nodes``, ``gpu``, ``cpu``, ``options``.

    ``gpu`` has the count and the least capacity (bytes, 0 where unknown) of one node, the main one where none is given,
    and ``cpu`` its cores and memory; a CPU-only node has no accelerators. Each of ``nodes`` has its own of both.
    """
    return {
        "arch": system.arch,
        "nodes": [_node_values(system.arch, each) for each in system.nodes],
        **_hardware(system.arch, node or system.main),
        "docker_image": system.container,
        "sshkey": system.options["sshkey"],
        "options": system.options.nested(),
    }


def values_from(known: Mapping[str, Any], system: System, node: Node) -> Mapping[str, Any]:
    """Return the ``values`` of a system, known as from one node, as from another: what is said of all is the same."""
    return {**known, **_hardware(system.arch, node)}


def _node_values(arch: Arch, node: Node) -> dict[str, Any]:
    return {
        "name": node.name,
        "ip": node.address,
        "user": node.user,
        "port": node.port,
        "main": node.main,
        "devices": [device.id for device in node.devices],
        "interface": node.interface,
        **_hardware(arch, node),
    }


def _hardware(arch: Arch, node: Node) -> dict[str, Any]:
    devices = () if arch == "cpu" else node.devices
    memory = [device.memory_bytes or 0 for device in devices]
    return {
        "gpu": {"arch": arch, "count": len(devices), "capacity": min(memory, default=0)},
        "cpu": {"count": node.cpus, "memory": node.memory_bytes or 0},
    }


def _check(asked: Mapping[str, Any]) -> None:
    for key, value in asked.items():
        if key not in OVERRIDES:
            near = nearest(key, OVERRIDES)
            raise UsageError(f"there is no system option {key!r}" + (f"; did you mean {near!r}?" if near else ""))
        if key == "arch":
            if value not in ARCHES:
                raise UsageError(f"--arch {value}: needs one of {', '.join(ARCHES)}")
            continue
        least = 0 if key == "gpus" else 1
        if value < least:
            raise UsageError(f"--{key.replace('_', '-')} {value}: needs at least {least}")
        if value > _MOST.get(key, value):
            raise UsageError(f"--{key.replace('_', '-')} {value}: needs at most {_MOST[key]}")


def _check_devices(arch: Arch, asked: Mapping[str, Any]) -> None:
    for key in ("gpus", "gpu_memory"):
        if arch == "cpu" and asked.get(key):
            others = ", ".join(other for other in ARCHES if other != "cpu")
            raise UsageError(f"--{key.replace('_', '-')}: the system has no accelerators: give --arch ({others})")


def _entries(known: Sequence[NodeEntry], count: int | None) -> list[NodeEntry]:
    """Return as many nodes as are asked for: those that are known first, then made-up ones."""
    if not known and count in (None, 1):
        return [NodeEntry(name="local", address="localhost", main=True)]
    if count is None:
        return list(known)
    made_up = (f"node{number}" for number in range(count + len(known)))
    names = {entry.name for entry in known}
    fresh = [NodeEntry(name=name, address=name) for name in made_up if name not in names]
    return [*known, *fresh][:count]
