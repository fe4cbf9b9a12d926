"""From conditions to findings: each finding, what it says, and that it is not there without its cause."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from milabench import preflight
from milabench.amounts import GIB, MIB
from milabench.plan import Command, Job, Once, Plan, Size, Trial
from milabench.plan.scaling import Entry, Observation, Scaling
from milabench.preflight import Conditions, Finding, Wanted, judge
from milabench.preflight.conditions import (
    Cpu,
    DeviceState,
    Disk,
    Environment,
    Kernel,
    Load,
    Memory,
    Process,
)
from milabench.system.types import Arch, Device, Node, System

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


def test_where_all_is_well_nothing_is_found() -> None:
    assert found() == []
    assert found(wanted=None) == []
    assert found(system=CPU) == []


def test_what_is_not_known_is_no_finding() -> None:
    told: dict[str, Any] = {"accelerators": None, "shared_memory": None, "disks": {"base": None}, "limits": {}}
    assert found(Conditions.of({}), CPU, None) == []
    assert found(Conditions.of({}), SYSTEM, None) == []
    assert codes(found(Conditions.of(told), CPU, None)) == [("little-shared-memory", "note", "/dev/shm")]
    unknown = replace(GOOD, accelerators=(DeviceState(gpu=0), DeviceState(gpu=1)), processes=None)
    assert found(unknown) == []


# The machine -------------------------------------------------------------------------------------------------------


def disks(name: str, *, device: int = 9, **changes: Any) -> Conditions:
    """Return good conditions but for one folder, on a file system of its own."""
    changed = replace(GOOD.disks[name], device=device, **changes)
    return replace(GOOD, disks={**GOOD.disks, name: changed})


def limits(**changed: tuple[int | None, int | None]) -> Conditions:
    return replace(GOOD, limits={**GOOD.limits, **changed})


UNPREPARED: dict[str, Any] = {"data": frozenset()}
MACHINE: dict[str, tuple[Conditions, tuple[str, str, str], str]] = {
    "runs cannot be written": (
        disks("runs", writable=False),
        ("folder-not-writable", "blocking", "runs"),
        "another --base",
    ),
    "data cannot be written": (disks("data", writable=False), ("folder-not-writable", "warning", "data"), "writable"),
    "tmp cannot be written": (disks("tmp", writable=False), ("folder-not-writable", "warning", "tmp"), "TMPDIR"),
    "no room for a run": (disks("runs", free_bytes=2 * MIB), ("disk-full", "blocking", "runs"), "milabench clean"),
    "no room for files": (disks("runs", free_files=3), ("disk-full", "blocking", "runs"), "milabench clean"),
    "little room for a run": (disks("runs", free_bytes=500 * MIB), ("disk-low", "warning", "runs"), "milabench clean"),
    "little room in tmp": (disks("tmp", free_bytes=100 * MIB), ("disk-low", "warning", "tmp"), "set TMPDIR"),
    "a network file system": (disks("data", kind="nfs4"), ("disk-network", "note", "data"), "local disk"),
    "a file system in memory": (disks("runs", kind="tmpfs"), ("disk-in-memory", "note", "runs"), "on a disk"),
    "few open files": (limits(nofile=(256, 4096)), ("few-open-files", "warning", "ulimit -n"), "ulimit -n 4096"),
    "few open files, with a hard limit that is none": (
        limits(nofile=(256, None)),
        ("few-open-files", "warning", "ulimit -n"),
        "ulimit -n 65536",
    ),
    "few open files, for ever": (
        limits(nofile=(256, 256)),
        ("few-open-files", "warning", "ulimit -n"),
        "limits.conf",
    ),
    "so few open files that milabench must raise its own": (
        limits(nofile=(39, 4096)),
        ("few-open-files", "warning", "ulimit -n"),
        "ulimit -n 4096",
    ),
    "too few open files": (limits(nofile=(39, 39)), ("few-open-files", "blocking", "ulimit -n"), "limits.conf"),
    "too few open files, of which fewer are granted": (
        limits(nofile=(20, 39)),
        ("few-open-files", "blocking", "ulimit -n"),
        "limits.conf",
    ),
    "few processes": (limits(nproc=(500, 900)), ("few-processes", "warning", "ulimit -u"), "ulimit -u 900"),
    "core dumps": (limits(core=(None, None)), ("core-dumps", "note", "ulimit -c"), "ulimit -c 0"),
    "a quota": (
        replace(GOOD, cpu=replace(GOOD.cpu, quota_cores=2.5)),
        ("cpu-quota", "warning", "cpu"),
        "grant whole cores",
    ),
    "a governor": (
        replace(GOOD, cpu=replace(GOOD.cpu, governors={"powersave": 15, "performance": 1})),
        ("cpu-governor", "note", "cpu"),
        "cpupower frequency-set -g performance",
    ),
    "clocks held down": (
        replace(GOOD, cpu=replace(GOOD.cpu, limited_khz=(2_000_000, 3_500_000))),
        ("cpu-clock-limited", "warning", "cpu"),
        "frequency-set -u 3.50GHz",
    ),
    "others at work": (
        replace(GOOD, load=replace(GOOD.load, busy_cores=3.2)),
        ("machine-busy", "warning", "cpu"),
        "`top`",
    ),
    "others at work on few cores of many": (
        replace(GOOD, cpu=replace(GOOD.cpu, usable_cores=4), load=replace(GOOD.load, busy_cores=0.6)),
        ("machine-busy", "warning", "cpu"),
        "`top`",
    ),
    "memory waited for": (
        replace(GOOD, load=replace(GOOD.load, waiting={"memory": 0.3})),
        ("memory-pressure", "warning", "memory"),
        "`top`",
    ),
    "little memory": (
        replace(GOOD, memory=replace(GOOD.memory, available_bytes=100 * MIB)),
        ("little-memory", "warning", "memory"),
        "end what takes it",
    ),
    "little left of a limit": (
        replace(GOOD, memory=replace(GOOD.memory, left_bytes=100 * MIB)),
        ("little-memory", "warning", "memory"),
        "container's limit",
    ),
    "a limit": (
        replace(GOOD, memory=replace(GOOD.memory, limit_bytes=16 * GIB, left_bytes=15 * GIB)),
        ("memory-limit", "note", "memory"),
        "--memory",
    ),
    "a slow clock": (
        replace(GOOD, kernel=replace(GOOD.kernel, clock="hpet")),
        ("slow-clock", "warning", "clock"),
        "clocksource",
    ),
    "a clock that runs away": (
        replace(GOOD, kernel=replace(GOOD.kernel, clock_is_kept_right=False)),
        ("clock-not-kept", "note", "clock"),
        "chronyd",
    ),
    "memory that moves": (
        replace(GOOD, kernel=replace(GOOD.kernel, numa_balancing=True)),
        ("numa-balancing", "note", "memory"),
        "numa_balancing=0",
    ),
}


@pytest.mark.parametrize(("conditions", "wanted", "remedy"), MACHINE.values(), ids=MACHINE)
def test_what_is_found_of_a_machine(conditions: Conditions, wanted: tuple[str, str, str], remedy: str) -> None:
    (finding,) = found(conditions)
    assert codes([finding]) == [wanted]
    assert remedy in finding.remedy


def test_folders_on_one_file_system_are_one_finding() -> None:
    full = {name: replace(disk, free_bytes=2 * MIB, device=1) for name, disk in GOOD.disks.items()}
    assert codes(found(replace(GOOD, disks=full))) == [("disk-full", "blocking", "base, runs, data, cache, tmp")]


def test_room_is_held_against_what_the_processes_of_all_trials_leave() -> None:
    many = replace(WANTED, plan=plan(*(trial(f"b{n}", (0,), (1,)) for n in range(50))))
    (finding,) = found(disks("runs", free_bytes=27 * MIB - 1), wanted=many)
    assert finding.what == "only 27.0 MiB free where runs is kept (/base/runs), and the run's directory takes 27.0 MiB"
    (finding,) = found(disks("runs", free_files=815), wanted=many)
    assert "only room for 815 files where runs is kept" in finding.what
    enough = disks("runs", free_bytes=27 * MIB, free_files=816)
    assert codes(found(enough, wanted=many)) == [("disk-low", "warning", "runs")]


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, []),
        ({"data": frozenset()}, ["disk-low"]),
        ({"environments": {"torch": Environment(made=False)}}, ["disk-low"]),
    ],
)
def test_room_for_environments_and_data_is_asked_for_while_they_are_to_be_made(
    changes: dict[str, Any], wanted: list[str]
) -> None:
    little = {name: replace(disk, free_bytes=5 * GIB) for name, disk in GOOD.disks.items()}
    ahead = replace(WANTED, ahead=("install", "prepare"))
    assert [each.code for each in found(replace(GOOD, disks=little, **changes), wanted=ahead)] == wanted


def test_dumps_that_a_program_takes_are_not_told() -> None:
    piped = replace(GOOD.kernel, core_pattern="|/usr/bin/catch")
    assert found(replace(limits(core=(None, None)), kernel=piped)) == []


def test_on_one_numa_node_no_memory_is_moved() -> None:
    alone = replace(GOOD.kernel, numa_balancing=True, numa_nodes=1)
    assert found(replace(GOOD, kernel=alone)) == []


def loading(workers: Any, *devices: tuple[int, ...], group: str = "torch", **keys: Any) -> Wanted:
    config = {"argv": {"--num-workers": workers}, "install_group": group, **keys}
    return replace(WANTED, plan=plan(trial("bert", *devices), bert=config))


SHARED: dict[str, tuple[int | None, Wanted | None, str | None]] = {
    "enough for 16 workers": (GIB, loading(8, (0,), (1,)), None),
    "too little for 16 workers": (GIB - 1, loading(8, (0,), (1,)), "warning"),
    "workers and none at all": (None, loading("4", (0,)), "warning"),
    "workers that read and write files": (MIB, loading(64, (0,), tags=["io"]), None),
    "workers of something else": (MIB, loading(64, (0,), group="storage"), None),
    "workers of a torch for one machine": (MIB, loading(4, (0,), group="torch-nightly"), "warning"),
    "a thousand workers": (8 * GIB, loading(1000, (0,)), None),
    "a thousand workers, and less": (8 * GIB - 1, loading(1000, (0,)), "warning"),
    "no workers and none at all": (None, loading(0, (0,)), "note"),
    "no workers and little": (MIB, loading(0, (0,)), None),
    "workers that are not known": (MIB, loading("{n_worker}", (0,)), None),
    "ranks that work together and little": (64 * MIB, loading(0, (0, 1)), "warning"),
    "ranks that work together and some": (GIB, loading(0, (0, 1)), None),
    "what a container gets, and no run": (64 * MIB, None, "warning"),
}


@pytest.mark.parametrize(("free", "wanted", "severity"), SHARED.values(), ids=SHARED)
def test_shared_memory_is_held_against_what_uses_it(free: int | None, wanted: Wanted | None, severity: str) -> None:
    there = None if free is None else replace(GOOD.shared_memory, free_bytes=free)  # type: ignore[type-var]
    findings = found(replace(GOOD, shared_memory=there, no_shared_memory=there is None), wanted=wanted)
    assert codes(findings) == ([("little-shared-memory", severity, "/dev/shm")] if severity else [])
    assert all(re.search(r"--shm-size=[18]g", each.remedy) for each in findings)


def test_open_files_are_held_against_the_processes_at_the_same_time() -> None:
    many = replace(WANTED, plan=plan(trial("bert", *[(0,)] * 8)))
    (finding,) = found(limits(nofile=(63, 63)), wanted=many)
    assert (finding.severity, "needs 64 for 8 processes" in finding.consequence) == ("blocking", True)
    assert finding.what == "a process may have 63 files open"


def test_many_processes_need_more_open_files_than_are_few() -> None:
    many = replace(WANTED, plan=plan(trial("bert", *[(0,)] * 300)))
    (finding,) = found(limits(nofile=(1024, 1024)), wanted=many)
    assert (finding.severity, "needs 1232 for 300 processes" in finding.consequence) == ("blocking", True)
    assert found(limits(nofile=(1024, 1232)), wanted=many) == []


def test_trials_that_run_side_by_side_are_counted_together() -> None:
    trials = plan(*(trial(name, *[(n,)] * many) for name, n, many in (("a", 0, 3), ("b", 1, 5), ("c", 1, 4))))
    assert Wanted(plan=trials).processes == 5
    assert Wanted(plan=trials, side_by_side=True).processes == 8


def test_a_trial_on_several_devices_runs_beside_none_on_them() -> None:
    both = plan(trial("wide", (0, 1), (0, 1), (0, 1)), trial("narrow", (1,)), trial("host", (), ()))
    assert Wanted(plan=both, side_by_side=True).processes == 3
    assert Wanted(plan=plan(trial("host", (), ())), side_by_side=True).processes == 2


def test_workers_of_trials_side_by_side_are_counted_together() -> None:
    config = {"argv": {"--num-workers": 8}, "install_group": "torch"}
    two = plan(trial("a", (0,)), trial("b", (1,)), a=config, b=config)
    little = replace(GOOD, shared_memory=replace(GOOD.shared_memory, free_bytes=GIB - 1))  # type: ignore[type-var]
    assert found(little, wanted=replace(WANTED, plan=two)) == []
    (finding,) = found(little, wanted=replace(WANTED, plan=two, side_by_side=True))
    assert "16 workers that load data (a, b)" in finding.consequence


# Devices -----------------------------------------------------------------------------------------------------------


def gpu(**changes: Any) -> Conditions:
    """Return good conditions but for the first device."""
    return replace(GOOD, accelerators=(replace(GPU, **changes), GOOD.accelerators[1]))


def using(**changes: Any) -> Conditions:
    """Return good conditions but for a process."""
    known = Process(pid=4242, gpu=1, name="python3", user="ada", memory_bytes=40 * GIB, kind="C")
    return replace(GOOD, processes=(replace(known, **changes),))


STATES: dict[str, tuple[Conditions, tuple[str, str, str] | None, str]] = {
    "a process that computes": (using(), ("foreign-process", "blocking", "device 1"), "kill 4242"),
    "one whose device is not told": (using(gpu=None), ("foreign-process", "warning", "a device"), "kill 4242"),
    "one of another container": (
        using(user=None, name=None, memory_bytes=None),
        ("foreign-process", "blocking", "device 1"),
        "ask who it belongs to",
    ),
    "one that draws and computes": (using(kind="C+G"), ("foreign-process", "warning", "device 1"), "kill 4242"),
    "one that draws": (using(kind="G", name="Xorg"), ("foreign-service", "note", "device 1"), "nothing"),
    "a service": (using(name="nvidia-cuda-mps-server"), ("foreign-service", "note", "device 1"), "nothing"),
    "one that holds nothing": (using(memory_bytes=0, kind=None), ("foreign-service", "note", "device 1"), "nothing"),
    "memory that nobody is seen to hold": (
        gpu(used_bytes=10 * GIB),
        ("device-in-use", "warning", "device 0"),
        "fuser",
    ),
    "work that nobody is seen to do": (gpu(busy=0.97), ("device-in-use", "warning", "device 0"), "fuser"),
    "what a driver holds": (gpu(used_bytes=2 * GIB), None, ""),
    "heat": (
        gpu(slowed=("hw_slowdown", "hw_thermal_slowdown")),
        ("device-slowed", "warning", "device 0"),
        "cooling",
    ),
    "limited power": (gpu(power_w=500), ("device-power-limited", "warning", "device 0"), "-pl 700"),
    "limited clocks": (gpu(clock_mhz=900), ("device-clock-limited", "warning", "device 0"), "reset-applications"),
    "a performance level": (
        gpu(performance_level="low"),
        ("device-clock-limited", "warning", "device 0"),
        "setperflevel auto",
    ),
    "errors": (gpu(errors=3), ("device-errors", "warning", "device 0"), "xid"),
    "a reset that is waited for": (
        gpu(pending=("remapping of memory rows",)),
        ("device-needs-reset", "warning", "device 0"),
        "--gpu-reset -i 0",
    ),
    "a broken one": (
        gpu(broken=("a memory row could not be remapped",)),
        ("device-broken", "blocking", "device 0"),
        "replaced",
    ),
    "a mode that takes no process": (
        gpu(compute_mode="Prohibited"),
        ("device-mode", "blocking", "device 0"),
        "-c DEFAULT",
    ),
    "a mode that takes one, and one each": (gpu(compute_mode="Exclusive_Process"), None, ""),
    "persistence off": (gpu(persistence=False), ("device-persistence", "note", "device 0"), "-pm 1"),
}


@pytest.mark.parametrize(("conditions", "wanted", "remedy"), STATES.values(), ids=STATES)
def test_what_is_found_of_devices(conditions: Conditions, wanted: tuple[str, str, str] | None, remedy: str) -> None:
    findings = found(conditions)
    if conditions.accelerators[0].slowed:
        assert [each.what for each in findings] == [
            "device 0 is slowed down: the hardware holds its clocks down",
            "device 0 is slowed down: it is too hot",
        ]
        findings = findings[:1]
    assert codes(findings) == ([wanted] if wanted else [])
    assert all(remedy in each.remedy for each in findings)


def test_a_foreign_process_is_told_with_all_that_is_known_of_it() -> None:
    (finding,) = found(using())
    assert finding.what == "on device 1: pid 4242, python3 (user ada, 40.0 GiB)"
    assert "milabench does not touch it" in finding.remedy


def test_a_process_whose_device_is_not_told_may_be_on_one_that_is_not_used() -> None:
    alone = replace(WANTED, plan=plan(trial("bert", (1,))))
    (finding,) = found(using(gpu=None), replace(SYSTEM, arch="rocm"), alone)
    assert finding.severity == "warning"
    assert finding.what.startswith("on a device, which is not told: pid 4242")


REMEDIES: dict[str, tuple[Arch, Conditions, str]] = {
    "NVIDIA, a process": ("cuda", using(), "(CUDA_VISIBLE_DEVICES …)"),
    "AMD, a process": ("rocm", using(), "(ROCR_VISIBLE_DEVICES …)"),
    "Intel, a process": ("xpu", using(), "(ZE_AFFINITY_MASK …)"),
    "Habana, a process": ("hpu", using(), "(HABANA_VISIBLE_MODULES …)"),
    "NVIDIA, memory": ("cuda", gpu(used_bytes=10 * GIB), "fuser -v /dev/nvidia*"),
    "AMD, memory": ("rocm", gpu(used_bytes=10 * GIB), "fuser -v /dev/kfd /dev/dri/renderD*"),
    "Intel, memory": ("xpu", gpu(used_bytes=10 * GIB), "fuser -v /dev/dri/renderD*"),
    "Habana, memory": ("hpu", gpu(used_bytes=10 * GIB), "fuser -v /dev/accel/accel*"),
    "AMD, a broken one": ("rocm", gpu(broken=("x",)), "leave it out (ROCR_VISIBLE_DEVICES)"),
    "AMD, a reset": ("rocm", gpu(pending=("x",)), "as root: rocm-smi -d 0 --gpureset, or"),
    "Intel, a reset": ("xpu", gpu(pending=("x",)), "reset it with its vendor's tool, or"),
    "AMD, errors": ("rocm", gpu(errors=1), "grep -i amdgpu"),
    "Habana, heat": ("hpu", gpu(slowed=("hw_slowdown",)), "hl-smi -q"),
    "AMD, power": ("rocm", gpu(power_w=500), "rocm-smi -d 0 --resetpoweroverdrive"),
    "Habana, power": ("hpu", gpu(power_w=500), "set it with its vendor's tool"),
    "AMD, clocks": ("rocm", gpu(clock_mhz=900), "rocm-smi -d 0 --resetclocks"),
    "Intel, clocks": ("xpu", gpu(clock_mhz=900), "set them with its vendor's tool"),
}


@pytest.mark.parametrize(("arch", "conditions", "remedy"), REMEDIES.values(), ids=REMEDIES)
def test_what_helps_is_of_the_devices_vendor(arch: Arch, conditions: Conditions, remedy: str) -> None:
    (finding,) = found(conditions, replace(SYSTEM, arch=arch))
    assert remedy in finding.remedy
    assert arch == "cuda" or not re.search("nvidia|CUDA", finding.remedy)


def test_a_mode_that_takes_one_process_is_told_where_several_would_share() -> None:
    shared = replace(WANTED, plan=plan(trial("bert", (0, 1), (0, 1), (0, 1))))
    assert codes(found(gpu(compute_mode="Exclusive_Process"), wanted=shared)) == [
        ("device-mode", "warning", "device 0"),
    ]


def test_devices_that_are_not_used_are_left_out() -> None:
    alone = replace(WANTED, plan=plan(trial("bert", (1,))))
    assert found(gpu(errors=3), wanted=alone) == []
    assert found(using(gpu=0), wanted=alone) == []
    hidden = System(arch="cuda", nodes=(replace(SYSTEM.main, devices=DEVICES[1:]),))
    assert found(gpu(errors=3), hidden, None) == []


def test_without_uuids_devices_are_known_by_their_numbers() -> None:
    nameless = System(arch="hpu", nodes=(replace(SYSTEM.main, devices=(Device(id=0, name="HL-225"),)),))
    bad = replace(GOOD, accelerators=(DeviceState(gpu=0, errors=1), DeviceState(gpu=1, errors=1)))
    assert codes(found(bad, nameless, None)) == [("device-errors", "warning", "device 0")]


def test_on_a_gpu_with_slices_it_is_not_certain_whose_slice_a_process_is_on() -> None:
    slices = (
        Device(id=0, name="MIG", uuid="MIG-a", parent=1, memory_bytes=10 * GIB),
        Device(id=1, name="MIG", uuid="MIG-b", parent=1, memory_bytes=10 * GIB),
    )
    system = System(arch="cuda", nodes=(replace(SYSTEM.main, devices=slices),))
    divided = replace(using(), accelerators=(GPU, replace(GPU, gpu=1, uuid="GPU-1", divided=True)))
    assert codes(found(divided, system)) == [("foreign-process", "warning", "device 1")]
    assert found(replace(divided, processes=using(gpu=0).processes), system) == []


def test_what_a_gpu_with_slices_holds_may_be_on_slices_that_are_not_used() -> None:
    slices = (Device(id=0, name="MIG", uuid="MIG-a", parent=0, memory_bytes=10 * GIB),)
    system = System(arch="cuda", nodes=(replace(SYSTEM.main, devices=slices),))
    assert codes(found(gpu(used_bytes=40 * GIB, busy=0.9), system)) == [("device-in-use", "warning", "device 0")]
    assert found(gpu(used_bytes=40 * GIB, busy=0.9, divided=True), system) == []


# Memory of devices -------------------------------------------------------------------------------------------------


def scaling(*rows: tuple[int, float]) -> Scaling:
    seen = tuple(Observation(batch_size=size, memory_bytes=int(gib * GIB)) for size, gib in rows)
    return Scaling(file="s.yaml", entries={"bert": Entry(observations=seen)})


FITS: dict[str, tuple[Scaling | None, Conditions, str | None, str]] = {
    "nothing known": (None, GOOD, None, ""),
    "nothing seen": (scaling(), GOOD, None, ""),
    "seen, and it fits": (scaling((64, 79.0)), GOOD, None, ""),
    "seen, and it does not": (scaling((64, 81.0)), GOOD, "blocking", "takes 81.0 GiB at batch size 64 (seen), the"),
    "a smaller one does not either": (
        scaling((32, 81.0)),
        GOOD,
        "blocking",
        "takes 81.0 GiB at batch size 64 (seen at a smaller one)",
    ),
    "a larger one alone": (scaling((128, 99.0)), GOOD, None, ""),
    "a line that fits": (scaling((8, 10.0), (16, 18.0)), GOOD, None, ""),
    "a line that does not": (
        scaling((8, 20.0), (16, 30.0)),
        GOOD,
        "warning",
        "takes 90.0 GiB at batch size 64 (by a line through 2 points), the device has 80.0 GiB",
    ),
    "it fits, but not beside others": (
        scaling((64, 60.0)),
        replace(using(), accelerators=(GPU, replace(GPU, gpu=1, uuid="GPU-1", used_bytes=40 * GIB))),
        "warning",
        "of which 40.0 GiB are held already",
    ),
}


@pytest.mark.parametrize(("known", "conditions", "severity", "what"), FITS.values(), ids=FITS)
def test_memory_is_held_against_what_was_seen(
    known: Scaling | None, conditions: Conditions, severity: str | None, what: str
) -> None:
    findings = [
        each for each in found(conditions, wanted=replace(WANTED, scaling=known)) if each.code == "device-memory"
    ]
    assert codes(findings) == ([("device-memory", severity, "bert")] if severity else [])
    assert all(what in each.what for each in findings)


def test_the_planned_batch_size_is_the_one_that_counts() -> None:
    sized = replace(WANTED.plan, sizes=(Size(benchmark="bert", batch_size=8, default=64),))
    wanted = replace(WANTED, plan=sized, scaling=scaling((8, 10.0), (64, 200.0)))
    assert found(wanted=wanted) == []
    assert codes(found(wanted=replace(wanted, plan=WANTED.plan))) == [("device-memory", "blocking", "bert")]


def test_on_a_cpu_the_memory_of_devices_is_not_judged() -> None:
    assert found(system=CPU, wanted=replace(WANTED, scaling=scaling((64, 10**6)))) == []


# Environments, data, secrets ---------------------------------------------------------------------------------------


def environment(**changes: Any) -> Conditions:
    return replace(GOOD, environments={"torch": replace(Environment(made=True), **changes)})


SET_UP: dict[str, tuple[Conditions, tuple[str, str, str], str, str]] = {
    "not installed": (
        environment(made=False),
        ("not-installed", "blocking", "torch"),
        "not installed: torch",
        "type: milabench install -c s (or, all in one go: milabench run -c s --all)",
    ),
    "another interpreter": (
        environment(base={"python": ("3.10.1", "3.12.2")}),
        ("installed-otherwise", "blocking", "torch"),
        "not installed: torch as it is asked for now (python 3.10.1, asked for 3.12.2)",
        "milabench install -c s",
    ),
    "another milabench": (
        environment(parts=("benchmate", "benchmate[voir]")),
        ("installed-otherwise", "blocking", "torch"),
        "torch as it is asked for now (new or changed: benchmate of this milabench)",
        "milabench install -c s",
    ),
    "many other requirements": (
        environment(parts=tuple(f"b{n}/requirements.in" for n in range(9))),
        ("installed-otherwise", "blocking", "torch"),
        "b5/requirements.in, and 3 more)",
        "milabench install -c s",
    ),
    "changed by hand": (
        environment(changed={"numpy": ("1.26.4", "2.1.0"), "extra": (None, "1.0"), "old": ("1", None)}),
        ("environment-changed", "blocking", "torch"),
        "torch (numpy 1.26.4 → 2.1.0, extra 1.0 added, old 1 removed)",
        "type: rm -r /base/venv/torch && milabench install -c s",
    ),
    "added to by hand": (
        environment(changed={"extra": (None, "1.0")}),
        ("environment-changed", "warning", "torch"),
        "torch (extra 1.0 added)",
        "rm -r /base/venv/torch",
    ),
    "a command's folder": (
        replace(GOOD, absent=frozenset({"/", "/elsewhere"})),
        ("no-folder", "blocking", "/"),
        "the folder that bert runs in is not there: /",
        "let `cwd` name one that is on every node",
    ),
    "not prepared": (
        replace(GOOD, data=frozenset()),
        ("not-prepared", "blocking", "bert"),
        "not prepared, or with other arguments: bert",
        "type: milabench prepare -c s (or, all in one go: milabench run -c s --all)",
    ),
}


@pytest.mark.parametrize(("conditions", "wanted", "what", "remedy"), SET_UP.values(), ids=SET_UP)
def test_what_is_found_of_environments_and_data(
    conditions: Conditions, wanted: tuple[str, str, str], what: str, remedy: str
) -> None:
    (finding,) = found(conditions)
    assert codes([finding]) == [wanted]
    assert what in finding.what
    assert remedy in finding.remedy


def test_what_is_made_before_the_run_need_not_be_there() -> None:
    bare = replace(GOOD, environments={"torch": Environment(made=False)}, data=frozenset())
    assert found(bare, wanted=replace(WANTED, ahead=("install", "prepare"))) == []
    assert [each.code for each in found(bare, wanted=replace(WANTED, ahead=("prepare",)))] == ["not-installed"]


def test_a_secret_that_is_named_must_be_there() -> None:
    named = replace(WANTED, plan=plan(trial("bert", (0,), secrets=("WANDB_API_KEY", "PATH"))))
    (finding,) = found(wanted=named)
    assert codes([finding]) == [("secret-missing", "blocking", "WANDB_API_KEY")]
    assert finding.what == "not in your environment: WANDB_API_KEY"


# Gated -------------------------------------------------------------------------------------------------------------

PAGE = "https://huggingface.co/meta-llama/Llama-3.1-8B"
LOGIN = "/home/me/.cache/huggingface/token"


def gated(*, data: bool = True, url: Any = PAGE, offline: bool = False, **environ: str) -> Wanted:
    """Return a run of a gated benchmark; with ``data`` it has something to prepare."""
    config = {"tags": ["nlp", "gated"], **({"url": url} if url else {})}
    return Wanted(
        plan=plan(trial("llama", (0,)), llama=config),
        data={"llama": ONCE} if data else {},
        environ=environ,
        tokens=WANTED.tokens,
        ahead=("prepare",),
        offline=offline,
    )


GATED: dict[str, tuple[Conditions, Wanted, tuple[str, str] | None, str]] = {
    "no token": (GOOD, gated(), ("token-missing", "blocking"), "export HF_TOKEN=…"),
    "no token and nothing to prepare": (GOOD, gated(data=False), ("token-missing", "warning"), "export HF_TOKEN=…"),
    "an empty token": (GOOD, gated(HF_TOKEN=""), ("token-missing", "blocking"), "export HF_TOKEN=…"),
    "no token and no page": (GOOD, gated(url=None), ("token-missing", "blocking"), "export HF_TOKEN=…"),
    "the name it has elsewhere": (
        GOOD,
        gated(MILABENCH_HF_TOKEN="hf_x"),
        ("token-missing", "blocking"),
        'export HF_TOKEN="$MILABENCH_HF_TOKEN"',
    ),
    "a login that benchmarks do not see": (
        replace(GOOD, files=frozenset({LOGIN})),
        gated(),
        ("token-missing", "blocking"),
        f"export HF_TOKEN_PATH={LOGIN}",
    ),
    "a token": (GOOD, gated(HF_TOKEN="hf_x"), ("gated", "note"), "on these pages"),
    "a token by its old name": (GOOD, gated(HUGGING_FACE_HUB_TOKEN="hf_x"), ("gated", "note"), "on these pages"),
    "a token in the file that benchmarks look into": (
        replace(GOOD, files=frozenset({"/base/data/token"})),
        gated(),
        ("gated", "note"),
        "on these pages",
    ),
    "another site": (GOOD, gated(url=["https://example.org/model"]), ("gated", "note"), "on these pages"),
    "what is no address": (GOOD, gated(url="https://[x"), ("gated", "note"), "on these pages"),
    "prepared already": (replace(GOOD, data=frozenset({"llama"})), gated(), None, ""),
    "no network": (GOOD, gated(offline=True), None, ""),
}


@pytest.mark.parametrize(("conditions", "wanted", "expected", "remedy"), GATED.values(), ids=GATED)
def test_what_is_found_of_gated_benchmarks(
    conditions: Conditions, wanted: Wanted, expected: tuple[str, str] | None, remedy: str
) -> None:
    findings = found(conditions, wanted=wanted)
    assert codes(findings) == ([(*expected, "llama")] if expected else [])
    assert all(remedy in each.remedy for each in findings)


def test_gated_benchmarks_are_told_by_the_page_where_access_is_asked_for() -> None:
    names = ("a", "b", "c")
    configs = {name: {"tags": ["gated"], "url": PAGE if name != "c" else None} for name in names}
    several = replace(gated(), plan=plan(*(trial(name, (0,)) for name in names), **configs))
    (finding,) = found(wanted=several)
    assert finding.what == f"gated, and there is no token for it: a, b ({PAGE}); c (its entry names no url)"


# All ---------------------------------------------------------------------------------------------------------------


def test_the_worst_comes_first_and_nothing_twice() -> None:
    bad = replace(gpu(persistence=False, errors=1), data=frozenset(), processes=using().processes)
    severities = [each.severity for each in found(bad)]
    assert severities == ["blocking", "blocking", "warning", "note"]


def test_every_code_has_a_case() -> None:
    folder = Path(str(preflight.__file__)).parent
    written = {
        code
        for path in folder.glob("*.py")
        # of several nodes: test_preflight_nodes.py; of containers: test_preflight_containers.py
        if path.name not in ("differences.py", "containers.py")
        for line in re.findall(r"^ +code=(.*),$", path.read_text(), re.MULTILINE)
        for code in re.findall(r'"([a-z-]+)"', line)
    }
    tables = [*(case[1][0] for case in MACHINE.values()), *(case[1][0] for case in SET_UP.values())]
    tables += [case[1][0] for case in STATES.values() if case[1]]
    tables += [case[2][0] for case in GATED.values() if case[2]]
    assert written == {*tables, "little-shared-memory", "device-memory", "secret-missing"}
    assert len(written) > 30


def test_every_finding_says_what_will_follow_and_what_to_do() -> None:
    cases = [each[0] for table in (MACHINE, STATES, SET_UP) for each in table.values()]
    for conditions in cases:
        for finding in found(conditions):
            for text in (finding.what, finding.consequence, finding.remedy):
                assert text
                assert not text.endswith(".")
