"""The conditions of a node, as its agent tells them (``agent/conditions.py``); None is not known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """The file system of a folder; ``device`` is its number, ``kind`` its type."""

    path: str
    kind: str | None
    total_bytes: int
    free_bytes: int
    free_files: int | None
    device: int
    writable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Cpu:
    """The cores there are, those that may be used, and how their clocks are kept; ``limited_khz``: allowed of most."""

    cores: int | None = None
    usable_cores: int | None = None
    quota_cores: float | None = None
    governors: Mapping[str, int] = field(default_factory=dict)
    driver: str | None = None
    boost: bool | None = None
    limited_khz: Pair | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """The machine's memory; ``limit_bytes`` is what a control group allows, ``left_bytes`` what is left of it."""

    total_bytes: int | None = None
    available_bytes: int | None = None
    swap_bytes: int | None = None
    swap_used_bytes: int | None = None
    limit_bytes: int | None = None
    left_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What others do: cores at work now, running processes, and the shares of time in which some waited."""

    busy_cores: float | None = None
    mean_1min: float | None = None
    waiting: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """Settings of the kernel."""

    clock: str | None = None
    clock_is_kept_right: bool | None = None
    huge_pages: str | None = None
    numa_nodes: int | None = None
    numa_balancing: bool | None = None
    core_pattern: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceState:
    """The state of a device as its vendor's tool tells it; ``gpu`` is the tool's number."""

    gpu: int
    uuid: str | None = None
    memory_bytes: int | None = None
    used_bytes: int | None = None
    busy: float | None = None
    persistence: bool | None = None
    compute_mode: str | None = None
    performance_level: str | None = None
    errors: int | None = None
    power_w: float | None = None
    power_default_w: float | None = None
    clock_mhz: float | None = None
    clock_default_mhz: float | None = None
    slowed: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()
    divided: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process on a device that is none of ours; ``kind`` is ``C`` for one that computes, ``G`` for graphics."""

    pid: int
    gpu: int | None = None
    name: str | None = None
    user: str | None = None
    memory_bytes: int | None = None
    kind: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """An environment as it is: made; made of something else (``base``); ``parts`` not as asked; packages changed."""

    made: bool
    base: Mapping[str, tuple[str | None, str | None]] = field(default_factory=dict)
    parts: tuple[str, ...] = ()
    changed: Mapping[str, tuple[str | None, str | None]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """All of it; ``processes`` is None where it is not known which there are. ``no_shared_memory``: there is none.

    ``absent`` are folders that processes start in and that are not there.
    """

    disks: Mapping[str, Disk] = field(default_factory=dict)
    shared_memory: Disk | None = None
    no_shared_memory: bool = False
    files: frozenset[str] = frozenset()
    absent: frozenset[str] = frozenset()
    limits: Mapping[str, tuple[int | None, int | None]] = field(default_factory=dict)
    cpu: Cpu = Cpu()
    memory: Memory = Memory()
    load: Load = Load()
    kernel: Kernel = Kernel()
    accelerators: tuple[DeviceState, ...] = ()
    processes: tuple[Process, ...] | None = None
    environments: Mapping[str, Environment] = field(default_factory=dict)
    data: frozenset[str] = frozenset()

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Conditions:
        """Return what an agent has told."""
        devices = told.get("accelerators") or {}
        using = devices.get("processes")
        limited = (told.get("cpu") or {}).get("limited_khz")
        return cls(
            disks={name: Disk(**each) for name, each in told.get("disks", {}).items() if each},
            shared_memory=Disk(**told["shared_memory"]) if told.get("shared_memory") else None,
            no_shared_memory="shared_memory" in told and told["shared_memory"] is None,
            files=frozenset(told.get("files", ())),
            absent=frozenset(told.get("absent", ())),
            limits={name: (soft, hard) for name, (soft, hard) in told.get("limits", {}).items()},
            cpu=Cpu(**{**told.get("cpu", {}), "limited_khz": tuple(limited) if limited else None}),
            memory=Memory(**told.get("memory", {})),
            load=Load(**told.get("load", {})),
            kernel=Kernel(**told.get("kernel", {})),
            accelerators=tuple(_device(each) for each in devices.get("devices", ())),
            processes=None if using is None else tuple(Process(**each) for each in using),
            environments={name: _environment(each) for name, each in told.get("environments", {}).items()},
            data=frozenset(told.get("data", ())),
        )


def _device(told: Mapping[str, Any]) -> DeviceState:
    several = {name: tuple(told[name]) for name in ("slowed", "pending", "broken")}
    return DeviceState(**{**told, **several})


def _environment(told: Mapping[str, Any]) -> Environment:
    return Environment(
        made=told["made"],
        base={name: (was, now) for name, (was, now) in told["base"].items()},
        parts=tuple(told["parts"]),
        changed={name: (was, now) for name, (was, now) in (told["changed"] or {}).items()},
    )
