"""What is found of devices, of who else is on them, and of the memory that a run needs there."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from good_node import CPU, DEVICES, GOOD, GPU, SYSTEM, WANTED, codes, found, plan, trial

from milabench.amounts import GIB
from milabench.plan import Size
from milabench.plan.scaling import Entry, Observation, Scaling
from milabench.preflight import Conditions
from milabench.preflight.conditions import DeviceState, Process
from milabench.system.types import Arch, Device, System


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
