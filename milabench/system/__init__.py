"""A system: the machines, from a file, variables and the command line, and from what was probed here."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from milabench.errors import UsageError
from milabench.options import MOST_DEVICES
from milabench.problems import Problems, nearest
from milabench.system import layers
from milabench.system.explain import explain
from milabench.system.file import NodeEntry, SystemFile, read
from milabench.system.types import ARCHES, Arch, Device, Node, Operator, System

__all__ = [
    "ARCHES",
    "Arch",
    "Device",
    "Node",
    "Operator",
    "System",
    "asked_arch",
    "explain",
    "is_local",
    "resolve",
    "values",
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
) -> System:
    """Return the system that a file describes, or this machine alone when there is no file.

    Over the file counts what the ``operator`` says: variables of options, and over these changes of the system.
    ``facts`` are what was probed on this machine: hostname, ips, arch, cpus, cpu_name, memory_bytes, devices, environ.
    ``overrides`` win over the file and the file over what was probed: arch, gpus and cpus of each node, nodes, and
    gpu_memory in bytes; None is not given. Devices and nodes that are asked for and not known are made up.
    ``${oc.env:NAME}`` in the file looks into the operator's environment too; without it, into the probed one.
    Raises ConfigurationError with every mistake of what is said, UsageError for an override that cannot be.
    """
    asked = {key: value for key, value in overrides.items() if value is not None}
    _check(asked)
    problems = Problems(lenient=operator.lenient)
    seen = facts.get("environ", {}) if operator.environ is None else operator.environ
    written = layers.read(file, seen, operator.changes, problems)
    said = SystemFile() if written is None else read(written, problems)
    problems.raise_errors()
    arch = cast(Arch, asked.get("arch") or said.arch or facts.get("arch") or "cpu")
    _check_devices(arch, asked)
    maker = _Maker(arch, facts, said, asked)
    entries = _entries(said, asked.get("nodes"))
    return System(
        arch=arch,
        nodes=tuple(maker.node(entry, main=index == 0) for index, entry in enumerate(entries)),
        container=said.container,
        options=said.options,
        facts=facts,
        warnings=tuple(problems.warnings),
    )


def asked_arch(environ: Mapping[str, str], changes: Sequence[str]) -> str | None:
    """Return the architecture that a variable or an override names, None where none does (or it cannot be)."""
    written = layers.read(None, environ, changes, Problems())
    return None if written is None else read(written, Problems()).arch


def is_local(node: Node, facts: Mapping[str, Any]) -> bool:
    """Return whether a node is the machine that was probed, by its address or its name."""
    return _is_here(node.name, node.address, facts)


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


def _node_values(arch: Arch, node: Node) -> dict[str, Any]:
    return {
        "name": node.name,
        "ip": node.address,
        "user": node.user,
        "port": node.port,
        "main": node.main,
        "devices": [device.id for device in node.devices],
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


def _entries(said: SystemFile, count: int | None) -> list[NodeEntry]:
    """Return as many nodes as are asked for: those of the file first, then made-up ones."""
    known = list(said.nodes)
    if not known and count in (None, 1):
        return [NodeEntry(name="local", address="localhost", main=True)]
    if count is None:
        return known
    made_up = (f"node{number}" for number in range(count + len(known)))
    names = {entry.name for entry in known}
    fresh = [NodeEntry(name=name, address=name) for name in made_up if name not in names]
    return [*known, *fresh][:count]


def _is_here(name: str, address: str, facts: Mapping[str, Any]) -> bool:
    here = {"localhost", "127.0.0.1", "::1", *facts.get("ips", ())}
    hostname = facts.get("hostname")
    return address in here or (hostname is not None and hostname in (name, address))


class _Maker:
    """Make nodes; one that is not this machine is taken to have as much of everything where nothing else is said."""

    def __init__(self, arch: Arch, facts: Mapping[str, Any], said: SystemFile, asked: Mapping[str, Any]) -> None:
        self._arch = arch
        self._facts = facts
        self._said = said
        self._asked = asked

    def node(self, entry: NodeEntry, *, main: bool) -> Node:
        facts = self._facts
        here = _is_here(entry.name, entry.address, facts)
        return Node(
            name=entry.name,
            address=entry.address,
            port=entry.port,
            user=entry.user,
            main=main,
            devices=tuple(self._devices(entry, here=here)),
            cpus=self._asked.get("cpus") or entry.cpus or facts.get("cpus") or 1,
            memory_bytes=facts.get("memory_bytes"),
            environ=facts.get("environ", {}) if here else {},
        )

    def _devices(self, entry: NodeEntry, *, here: bool) -> Iterator[Device]:
        if self._arch == "cpu":
            name = self._facts.get("cpu_name") or "cpu"
            yield Device(id=0, name=name, memory_bytes=self._facts.get("memory_bytes"))
            return
        count = self._first("gpus", entry.gpu_count, self._said.options["gpu.count"])
        memory = self._first("gpu_memory", entry.gpu_capacity_bytes, self._said.options["gpu.capacity"])
        probed = self._probed() if self._facts.get("arch") == self._arch else ()
        for device in (*probed, *self._made_up(probed, (count or 0) - len(probed)))[:count]:
            known = device if here else replace(device, uuid=None, numa=None)
            yield known if memory is None else replace(known, memory_bytes=memory)

    def _made_up(self, probed: Sequence[Device], count: int) -> Iterator[Device]:
        """Yield devices with the lowest numbers that none of those probed has: some may be hidden from milabench."""
        used = {device.id for device in probed}
        free = (number for number in itertools.count() if number not in used)
        for number in itertools.islice(free, max(count, 0)):
            yield Device(id=number, name=f"{self._arch}:{number}")

    def _first(self, option: str, *said: int | None) -> int | None:
        """Return what the command line asks for, else the first that the file says."""
        return next((value for value in (self._asked.get(option), *said) if value is not None), None)

    def _probed(self) -> tuple[Device, ...]:
        return tuple(
            Device(
                id=device["id"],
                name=device["name"],
                uuid=device.get("uuid"),
                memory_bytes=device.get("memory_bytes"),
                numa=device.get("numa"),
                parent=device.get("parent"),
            )
            for device in self._facts.get("devices", ())
        )
