"""What a system is: nodes, their devices, and the facts that were probed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from milabench.errors import Problem
from milabench.options import Options

Arch = Literal["cuda", "rocm", "xpu", "hpu", "cpu"]
ARCHES: tuple[Arch, ...] = ("cuda", "rocm", "xpu", "hpu", "cpu")


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """What the operator says besides a system file.

    ``environ`` has the options' variables, None where it is not known. ``changes`` are texts such as
    ``system.options.sizer.auto=1``; those of a suite are passed over. ``lenient`` makes a warning of a key that stands
    twice.
    """

    environ: Mapping[str, str] | None = None
    changes: Sequence[str] = ()
    lenient: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One accelerator; a CPU-only node has one device without uuid that stands for the whole CPU.

    ``parent`` is the number of the GPU that the device is a MIG slice of, None where it is a whole one.
    """

    id: int
    name: str
    uuid: str | None = None
    memory_bytes: int | None = None
    numa: int | None = None
    parent: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One machine, as it told of itself; what was not probed is None or empty.

    ``local``: it is the machine that milabench runs on, so that nothing travels; ``namesake``: it is not, though it has
    that one's name. ``environ`` is its probed environment, ``python`` the interpreter environments are made from (None:
    that of this machine), ``python_version`` its version and ``machine`` its kind of processor. ``shares_base`` names
    the first node that has the same ``$MILABENCH_BASE``, ``""`` says that the operator's machine has it, which is no
    node; None: it has one of its own.
    ``hostkey`` is the SSH key that it must have, ``interface`` the network interface that leads to the main node,
    ``clock_offset_ns`` how far its clock is ahead of the operator's.
    """

    name: str
    address: str = "localhost"
    port: int = 22
    user: str | None = None
    main: bool = False
    devices: tuple[Device, ...] = ()
    cpus: int = 1
    memory_bytes: int | None = None
    environ: Mapping[str, str] = field(default_factory=dict)
    local: bool = True
    namesake: bool = False
    python: str | None = None
    python_version: str = ""
    machine: str = ""
    shares_base: str | None = None
    hostkey: str | None = None
    interface: str | None = None
    clock_offset_ns: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """The Slurm job that milabench runs in: its number, its nodes, and the one that is this machine, if any is."""

    job: str
    nodes: tuple[str, ...]
    here: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """The nodes of a system, the main one first; ``facts`` are what that one told, as ``run.json`` records it.

    ``probed`` has the facts of every node that was asked. ``options`` are the values of milabench's options, of
    whatever layer has the say. ``allocation`` is where its nodes come from, if no file names them.
    """

    arch: Arch
    nodes: tuple[Node, ...]
    container: str | None = None
    options: Options = field(default_factory=Options)
    facts: Mapping[str, Any] = field(default_factory=dict)
    probed: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    allocation: Allocation | None = None
    warnings: tuple[Problem, ...] = ()

    @property
    def main(self) -> Node:
        return self.nodes[0]
