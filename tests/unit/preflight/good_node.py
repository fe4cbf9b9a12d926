"""A node where all is well, a run that is wanted there, and what is found of them: tests change one thing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from milabench.amounts import GIB, MIB
from milabench.plan import Command, Job, Once, Plan, Size, Trial
from milabench.preflight import Conditions, Finding, Wanted, judge
from milabench.preflight.conditions import Cpu, DeviceState, Disk, Environment, Kernel, Load, Memory
from milabench.system.types import Device, Node, System

DISK = Disk(
    path="/base",
    kind="ext4",
    total_bytes=900 * GIB,
    free_bytes=500 * GIB,
    free_files=10**7,
    device=1,
    writable=True,
)
GPU = DeviceState(
    gpu=0,
    uuid="GPU-0",
    memory_bytes=80 * GIB,
    used_bytes=500 * MIB,
    busy=0.0,
    persistence=True,
    compute_mode="Default",
    performance_level="auto",
    errors=0,
    power_w=700,
    power_default_w=700,
    clock_mhz=1980,
    clock_default_mhz=1980,
)
ONCE = Once(record="/base/venv/torch/record", folder="/base/venv/torch", base={}, parts={})
GOOD = Conditions(
    disks={name: replace(DISK, path=f"/base/{name}") for name in ("base", "runs", "data", "cache")}
    | {"tmp": replace(DISK, path="/tmp", device=2)},
    shared_memory=replace(DISK, path="/dev/shm", kind="tmpfs", free_bytes=60 * GIB, device=3),
    limits={"nofile": (65536, 65536), "nproc": (96365, 96365), "core": (0, None)},
    cpu=Cpu(cores=16, usable_cores=16, governors={"performance": 16}, driver="acpi-cpufreq", boost=True),
    memory=Memory(total_bytes=128 * GIB, available_bytes=120 * GIB, swap_bytes=0, swap_used_bytes=0),
    load=Load(busy_cores=0.1, mean_1min=9.0, waiting={"cpu": 0.9, "memory": 0.0, "io": 0.0}),
    kernel=Kernel(
        clock="tsc",
        clock_is_kept_right=True,
        huge_pages="always",
        numa_nodes=2,
        numa_balancing=False,
        core_pattern="core",
    ),
    accelerators=(GPU, replace(GPU, gpu=1, uuid="GPU-1")),
    processes=(),
    environments={"torch": Environment(made=True)},
    data=frozenset({"bert"}),
)
DEVICES = tuple(Device(id=n, name="GPU", uuid=f"GPU-{n}", memory_bytes=80 * GIB) for n in range(2))
SYSTEM = System(arch="cuda", nodes=(Node(name="local", devices=DEVICES, cpus=16),))
CPU = System(arch="cpu", nodes=(Node(name="local", devices=(Device(id=0, name="cpu"),), cpus=16),))


def trial(name: str, *devices: tuple[int, ...], secrets: tuple[str, ...] = ()) -> Trial:
    """Return a trial of a process for each group of devices."""
    commands = tuple(
        Command(tag=f"{name}.{n}", benchmark=name, node="local", argv=("x",), cwd="/", devices=group, env={})
        for n, group in enumerate(devices)
    )
    return Trial(benchmark=name, jobs=(Job(tag=name, commands=commands, deadline_s=60, secrets=secrets),))


def plan(*trials: Trial, sizes: tuple[Size, ...] = (), **configs: Mapping[str, Any]) -> Plan:
    return Plan(phase="run", trials=trials, configs=configs, sizes=sizes)


WANTED = Wanted(
    plan=plan(trial("bert", (0,), (1,)), bert={"argv": {"--batch-size": 64}, "tags": ["nlp"]}),
    environments={"torch": ONCE},
    data={"bert": ONCE},
    commands={"install": "milabench install -c s", "prepare": "milabench prepare -c s", "run": "milabench run -c s"},
    environ={"PATH": "/bin"},
    tokens=("/base/data/token", "/home/me/.cache/huggingface/token"),
)


def found(conditions: Conditions = GOOD, system: System = SYSTEM, wanted: Wanted | None = WANTED) -> list[Finding]:
    return list(judge(conditions, system, wanted))


def codes(findings: list[Finding]) -> list[tuple[str, str, str]]:
    return [(each.code, each.severity, each.subject) for each in findings]
