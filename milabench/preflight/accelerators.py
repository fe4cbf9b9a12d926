"""What is found of the devices that a run uses: other processes on them, clocks, limits, faults. Nothing is changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmate.verdict import percent
from milabench.amounts import GIB, size
from milabench.preflight.conditions import Conditions, DeviceState, Process
from milabench.preflight.types import Finding, Wanted
from milabench.preflight.vendors import VENDORS, Vendor
from milabench.system.types import Device, System

BUSY = 0.05
# What a driver holds by itself, and the small contexts of services, are less.
UNEXPLAINED_BYTES, UNEXPLAINED_SHARE = 2 * GIB, 0.03
SERVICES = (
    "nvidia-cuda-mps-server",
    "gpuagent",
    "dcgm",
    "nv-hostengine",
    "xpumd",
    "dcgm-exporter",
    "nvidia-persistenced",
)
_SLOWED = {
    "hw_slowdown": "the hardware holds its clocks down",
    "hw_thermal_slowdown": "it is too hot",
    "sw_thermal_slowdown": "it is too hot",
    "hw_power_brake_slowdown": "its power supply holds it down",
}


def findings(conditions: Conditions, system: System, wanted: Wanted | None) -> Iterator[Finding]:
    """Yield what is found of the devices that are used: those of the run, or all of the system's."""
    devices = devices_of(system, wanted)
    found = used(conditions, system, wanted)
    numbers = {each.gpu for each in found}
    on_them = [each for each in conditions.processes or () if each.gpu is None or each.gpu in numbers]
    undivided = {each.gpu for each in found if not each.divided}
    vendor = VENDORS.get(system.arch)
    if not found or vendor is None:
        return
    for process in on_them:
        yield _foreign(process, vendor, is_used=process.gpu in undivided)
    for each in found:
        if not each.divided:  # of slices that are not used nothing is known
            yield from _unexplained(each, [it for it in on_them if it.gpu in (None, each.gpu)], vendor)
        yield from _faults(each, vendor)
        yield from _clocks(each, vendor)
        yield from _modes(each, shares=wanted is not None and wanted.processes > len(devices))


def devices_of(system: System, wanted: Wanted | None) -> list[Device]:
    """Return the accelerators that are used: those of the run, or all of the system's."""
    known = () if system.arch == "cpu" else system.main.devices
    shown = None if wanted is None else wanted.devices
    return [each for each in known if shown is None or each.id in shown]


def used(conditions: Conditions, system: System, wanted: Wanted | None) -> list[DeviceState]:
    """Return the state of the GPUs that these are, or are slices of."""
    devices = devices_of(system, wanted)
    return [each for each in conditions.accelerators if _is_used(each, devices)]


def _is_used(found: DeviceState, devices: Sequence[Device]) -> bool:
    """Say whether a GPU is one of the devices, or has a slice that is."""
    if any(device.parent is not None for device in devices):  # then all are numbered anew
        parents = {device.parent for device in devices}
        return found.gpu in parents or found.uuid in {device.uuid for device in devices if device.parent is None}
    return any(
        found.uuid == device.uuid if found.uuid and device.uuid else found.gpu == device.id for device in devices
    )


# Other processes -----------------------------------------------------------------------------------------------------


def _foreign(process: Process, vendor: Vendor, *, is_used: bool) -> Finding:
    """Return what is found of a process; ``is_used``: the device that it is on is certainly one of the run's."""
    name, kind = process.name or "a process without a name here", process.kind or "C"
    where, unknown = (f"device {process.gpu}", "") if process.gpu is not None else ("a device", ", which is not told")
    memory = f", {size(process.memory_bytes)}" if process.memory_bytes else ""
    who = f"user {process.user}" if process.user else "whose it is cannot be seen from here"
    serves = kind == "G" or process.memory_bytes == 0 or name.startswith(SERVICES)
    certain = not serves and is_used and kind != "C+G"
    return Finding(
        code="foreign-process" if not serves else "foreign-service",
        severity="blocking" if certain else "note" if serves else "warning",
        subject=where,
        what=f"on {where}{unknown}: pid {process.pid}, {name} ({who}{memory})",
        consequence="it draws pictures, or watches" if serves else "it takes memory and time: rates would be lower",
        remedy="nothing to do" if serves else _wait(process, vendor),
    )


def _wait(process: Process, vendor: Vendor) -> str:
    yours = f"end it if it is yours (kill {process.pid})" if process.user else "ask who it belongs to"
    return f"wait for it, {yours}, or leave the device out ({vendor.selection} …): milabench does not touch it"


def _unexplained(device: DeviceState, processes: Sequence[Process], vendor: Vendor) -> Iterator[Finding]:
    """Yield that a device is in use though no process is seen: in a container those of others are not."""
    if any(process.kind != "G" for process in processes):
        return
    used, total = device.used_bytes, device.memory_bytes
    if used is not None and used > max(UNEXPLAINED_BYTES, UNEXPLAINED_SHARE * (total or 0)):
        held = f"{size(used)} of its memory are held"
    elif device.busy is not None and device.busy > BUSY:
        held = f"it is at work ({percent(device.busy)})"
    else:
        return
    yield Finding(
        code="device-in-use",
        severity="warning",
        subject=f"device {device.gpu}",
        what=f"device {device.gpu}: {held}, by no process that is seen from here",
        consequence="what uses it takes memory and time: rates would be lower",
        remedy=f"look from outside the container; what died without letting go is shown by: fuser -v {vendor.files}",
    )


# What devices say of themselves --------------------------------------------------------------------------------------


def _faults(device: DeviceState, vendor: Vendor) -> Iterator[Finding]:
    where = f"device {device.gpu}"
    for broken in device.broken:
        yield Finding(
            code="device-broken",
            severity="blocking",
            subject=where,
            what=f"{where}: {broken}",
            consequence="its memory has faults left: results may be wrong, and processes are ended in mid-run",
            remedy=f"leave it out ({vendor.selection}), and have it replaced",
        )
    for pending in device.pending:
        yield Finding(
            code="device-needs-reset",
            severity="warning",
            subject=where,
            what=f"{where}: a {pending} waits for a reset",
            consequence="until then it works in its old state, faulty memory included",
            remedy=f"when nothing uses it, {vendor.to_reset(device.gpu)}, or restart the machine",
        )
    if device.errors:
        yield Finding(
            code="device-errors",
            severity="warning",
            subject=where,
            what=f"{where}: {device.errors} memory errors that ECC could not correct, since the driver was loaded",
            consequence="processes that met them were ended; there may be more",
            remedy=f"see the kernel's log (dmesg | grep -i {vendor.logged}); have it tested",
        )


def _clocks(device: DeviceState, vendor: Vendor) -> Iterator[Finding]:
    where = f"device {device.gpu}"
    for reason in dict.fromkeys(_SLOWED.get(each, each) for each in device.slowed):
        yield Finding(
            code="device-slowed",
            severity="warning",
            subject=where,
            what=f"{where} is slowed down: {reason}",
            consequence="rates are those of lower clocks",
            remedy=f"see to its cooling and power ({vendor.state}), and look again",
        )
    if device.power_w and device.power_default_w and device.power_w < device.power_default_w:
        yield Finding(
            code="device-power-limited",
            severity="warning",
            subject=where,
            what=f"{where} may draw {device.power_w:g} W, not the {device.power_default_w:g} W it is made for",
            consequence="rates are those of lower clocks",
            remedy=f"{vendor.to_set_power(device.gpu, device.power_default_w)}; or say so with the results",
        )
    if device.clock_mhz and device.clock_default_mhz and device.clock_mhz < device.clock_default_mhz:
        yield Finding(
            code="device-clock-limited",
            severity="warning",
            subject=where,
            what=f"{where} is set to {device.clock_mhz:g} MHz; its own are {device.clock_default_mhz:g}",
            consequence="rates are those of lower clocks",
            remedy=f"{vendor.to_reset_clocks(device.gpu)}; or say so with the results",
        )
    if device.performance_level not in (None, "auto", "high"):
        yield Finding(
            code="device-clock-limited",
            severity="warning",
            subject=where,
            what=f"{where} is set to the performance level {device.performance_level}",
            consequence="its clocks do not follow the load",
            remedy=f"as root: rocm-smi -d {device.gpu} --setperflevel auto",
        )


def _modes(device: DeviceState, *, shares: bool) -> Iterator[Finding]:
    where = f"device {device.gpu}"
    if device.compute_mode == "Prohibited" or (device.compute_mode == "Exclusive_Process" and shares):
        alone = "one process at a time" if device.compute_mode != "Prohibited" else "no process"
        yield Finding(
            code="device-mode",
            severity="blocking" if device.compute_mode == "Prohibited" else "warning",
            subject=where,
            what=f"{where} takes {alone} (compute mode {device.compute_mode})",
            consequence="processes that would use it fail: all CUDA-capable devices are busy or unavailable",
            remedy=f"as root: nvidia-smi -i {device.gpu} -c DEFAULT",
        )
    if device.persistence is False:
        yield Finding(
            code="device-persistence",
            severity="note",
            subject=where,
            what=f"{where}: persistence mode is off",
            consequence="each first process waits seconds for the driver, and settings of clocks are lost",
            remedy=f"as root: nvidia-smi -i {device.gpu} -pm 1, or the service nvidia-persistenced",
        )
