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
    """One machine; ``environ`` is its probed environment, ``python`` the interpreter environments are made from."""

    name: str
    address: str = "localhost"
    port: int = 22
    user: str | None = None
    main: bool = False
    devices: tuple[Device, ...] = ()
    cpus: int = 1
    memory_bytes: int | None = None
    environ: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """The nodes of a system, the main one first; ``facts`` are what was probed, as they are recorded in ``run.json``.

    ``options`` are the values of milabench's options, of whatever layer has the say.
    """

    arch: Arch
    nodes: tuple[Node, ...]
    container: str | None = None
    options: Options = field(default_factory=Options)
    facts: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[Problem, ...] = ()

    @property
    def main(self) -> Node:
        return self.nodes[0]
