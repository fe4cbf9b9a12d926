"""Nodes of a system, made of what a file says of them and of what each told of itself."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from milabench.system.addresses import bare, is_loopback, spelled
from milabench.system.file import SSH_PORT, NodeEntry, SystemFile
from milabench.system.types import Arch, Device, Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Maker:
    """Make nodes; one that was not probed is taken to have as much of everything as this machine.

    ``facts`` are those of this machine, ``remote`` those of others by the name of their node. ``allocated``: Slurm says
    which nodes there are, by names that need not be of this machine's domain.
    """

    arch: Arch
    facts: Mapping[str, Any]
    remote: Mapping[str, Mapping[str, Any]]
    said: SystemFile
    asked: Mapping[str, Any]
    allocated: bool = False

    def node(self, entry: NodeEntry, *, main: bool) -> Node:
        local = self.is_local(entry)
        facts = self.remote.get(entry.name, self.facts)
        own = facts if local or entry.name in self.remote else {}
        return Node(
            name=entry.name,
            address=entry.address,
            port=entry.port,
            user=entry.user,
            main=main,
            devices=tuple(self._devices(entry, facts, known=own is facts)),
            cpus=self.asked.get("cpus") or entry.cpus or facts.get("cpus") or 1,
            memory_bytes=facts.get("memory_bytes"),
            environ=own.get("environ", {}),
            local=local,
            namesake=not local and self._is_namesake(entry),
            python=own.get("python") or entry.python,
            hostkey=entry.hostkey,
            interface=entry.interface or own.get("interface"),
            **{name: own[name] for name in _TOLD if name in own},
        )

    def is_local(self, entry: NodeEntry) -> bool:
        """Return whether a node is this machine: by its address, its name where no other is given.

        One that was probed as another is that one.
        """
        if entry.name in self.remote:
            return False
        here = is_here(entry.address, self.facts, whole=self.allocated)
        return entry.local or (here and not self._is_behind(entry))

    def _is_namesake(self, entry: NodeEntry) -> bool:
        hostname = self.facts.get("hostname")
        return hostname is not None and bare(entry.name) == bare(hostname)

    def _is_behind(self, entry: NodeEntry) -> bool:
        """Return whether a port of this machine leads to another one: a tunnel's end, a container or a virtual machine.

        A port of its own is that of this machine's sshd, unless it is on the loopback or others have the same address.
        """
        if entry.port == SSH_PORT:
            return False
        alike = [each for each in self.said.nodes if spelled(each.address) == spelled(entry.address)]
        return is_loopback(entry.address) or len(alike) > 1

    def _devices(self, entry: NodeEntry, facts: Mapping[str, Any], *, known: bool) -> Iterator[Device]:
        if self.arch == "cpu":
            yield Device(id=0, name=facts.get("cpu_name") or "cpu", memory_bytes=facts.get("memory_bytes"))
            return
        count = self._first("gpus", entry.gpu_count, self.said.options["gpu.count"])
        memory = self._first("gpu_memory", entry.gpu_capacity_bytes, self.said.options["gpu.capacity"])
        probed = _probed(facts) if facts.get("arch") == self.arch else ()
        for device in (*probed, *self._made_up(probed, (count or 0) - len(probed)))[:count]:
            own = device if known else replace(device, uuid=None, numa=None)
            yield own if memory is None else replace(own, memory_bytes=memory)

    def _made_up(self, probed: Sequence[Device], count: int) -> Iterator[Device]:
        """Yield devices with the lowest numbers that none of those probed has: some may be hidden from milabench."""
        used = {device.id for device in probed}
        free = (number for number in itertools.count() if number not in used)
        for number in itertools.islice(free, max(count, 0)):
            yield Device(id=number, name=f"{self.arch}:{number}")

    def _first(self, option: str, *said: int | None) -> int | None:
        """Return what the command line asks for, else the first that the file says."""
        return next((value for value in (self.asked.get(option), *said) if value is not None), None)


# What a node's facts have under the names of its own fields.
_TOLD = ("python_version", "machine", "shares_base", "clock_offset_ns")


def is_here(address: str, facts: Mapping[str, Any], *, whole: bool = False) -> bool:
    """Return whether an address, be it a host's name, is that of the machine with these facts.

    A name without a domain is this host's also where that one has a domain, unless names count as a ``whole``. The
    other way round nobody knows which domain this host is of.
    """
    own, hostname = {spelled(each) for each in facts.get("ips", ())}, (facts.get("hostname") or "").casefold()
    named = address.casefold().removesuffix(".")
    names = {hostname} if whole else {hostname, bare(hostname)}
    return is_loopback(address) or spelled(address) in own or named in names - {""}


def _probed(facts: Mapping[str, Any]) -> tuple[Device, ...]:
    return tuple(
        Device(
            id=device["id"],
            name=device["name"],
            uuid=device.get("uuid"),
            memory_bytes=device.get("memory_bytes"),
            numa=device.get("numa"),
            parent=device.get("parent"),
        )
        for device in facts.get("devices", ())
    )
