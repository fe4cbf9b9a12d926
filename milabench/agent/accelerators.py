"""The state of a node's accelerators: who uses them, how their clocks and limits stand, what they say of themselves.

Asked of the vendors' own tools, which are never told to change anything; not yet run on hardware. What a tool does not
say is None: not known, which is not the same as none.
"""

from __future__ import annotations

import math
import os
import pwd
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from milabench.agent import processes
from milabench.agent.tools import amount, answer, json_object, known, printed, rocm_cards, rows

State = dict[str, Any]
_MIB = 2**20
_LONGEST = 64  # characters of a name: a process calls itself as it likes
_TOOLS = ("nvidia-smi", "rocm-smi", "xpu-smi", "hl-smi")  # they show themselves, or one another
_SLOWED = ("hw_slowdown", "hw_thermal_slowdown", "sw_thermal_slowdown", "hw_power_brake_slowdown")
_SAID = (
    *("uuid", "memory_bytes", "used_bytes", "busy", "persistence", "compute_mode", "performance_level", "errors"),
    *("power_w", "power_default_w", "clock_mhz", "clock_default_mhz"),
)
_TABLE_ROW = re.compile(r"\|\s+(\d+)\s+(\d+)\s+(\S+)\s+(\S.*?)\s+(\d+)\s*MiB\s*\|")


def state(arch: str) -> State | None:
    """Return the devices of an architecture and the processes on them; None where no tool tells."""
    reader = READERS.get(arch)
    try:
        found = reader() if reader else None
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError):
        return None  # a tool that prints something else than it is known to print tells nothing
    if found is None:
        return None
    devices, using = found
    own = {os.getpid(), *processes.descendants(os.getpid())}
    foreign = None if using is None else [each for each in using if each["pid"] not in own and not _is_tool(each)]
    return {"devices": devices, "processes": foreign}


def _is_tool(process: State) -> bool:
    return process["name"] in _TOOLS


def _device(gpu: int, **said: Any) -> State:
    """Return a device of which all is unknown but what is given. ``gpu`` is the vendor's number of the whole GPU."""
    return {"gpu": gpu, **dict.fromkeys(_SAID), "slowed": [], "pending": [], "broken": [], "divided": False, **said}


def _process(pid: int, gpu: int | None, name: str | None, memory_bytes: int | None, kind: str | None) -> State:
    """Return a process on a device; in a container those of others have no name here, and no user."""
    name = known(name)
    if name is None:
        with suppress(OSError):
            name = Path(f"/proc/{pid}/comm").read_text(errors="replace")
    using = {"pid": pid, "gpu": gpu, "name": _short(name or "")}
    return {**using, "user": _user(pid), "memory_bytes": memory_bytes, "kind": kind}


def _short(name: str) -> str | None:
    """Return the program in a name: some tools tell whole command lines, and those of others are not to be kept."""
    word = next(iter(name.split()), "").rpartition("/")[2][:_LONGEST]
    return "".join(each if each.isprintable() else "?" for each in word) or None


def _user(pid: int) -> str | None:
    try:
        number = Path(f"/proc/{pid}").stat().st_uid
    except OSError:
        return None
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


# NVIDIA --------------------------------------------------------------------------------------------------------------


def _cuda() -> tuple[list[State], list[State] | None] | None:
    document = answer("nvidia-smi", "-q", "-x")
    if document is None:
        return None
    try:
        gpus = list(ElementTree.fromstring(document).iter("gpu"))
    except ElementTree.ParseError:
        return None
    # They stand in the order of their numbers, which the document itself does not have.
    using = [process for number, gpu in enumerate(gpus) for process in _cuda_processes(number, gpu)]
    told = any(gpu.find("processes") is not None for gpu in gpus)
    return [_cuda_device(number, gpu) for number, gpu in enumerate(gpus)], using if told else None


def _cuda_device(number: int, gpu: ElementTree.Element) -> State:
    power = _first(gpu, "gpu_power_readings", "power_readings", "module_power_readings")
    busy = _number(gpu, "utilization/gpu_util")
    return _device(
        number,
        uuid=gpu.findtext("uuid"),
        memory_bytes=_bytes(gpu, "fb_memory_usage/total"),
        used_bytes=_bytes(gpu, "fb_memory_usage/used"),
        busy=None if busy is None else busy / 100,
        persistence=_switch(gpu, "persistence_mode"),
        compute_mode=gpu.findtext("compute_mode"),
        power_w=_number(power, "current_power_limit", "power_limit"),
        power_default_w=_number(power, "default_power_limit"),
        clock_mhz=_number(gpu, "applications_clocks/graphics_clock"),
        clock_default_mhz=_number(gpu, "default_applications_clocks/graphics_clock"),
        errors=_errors(gpu),
        slowed=[reason for reason in _SLOWED if _is_active(gpu, reason)],
        pending=list(_pending(gpu)),
        broken=["a memory row could not be remapped"] if _says(gpu, "remapped_rows/remapped_row_failure") else [],
        divided=_switch(gpu, "mig_mode/current_mig") is True,
    )


def _cuda_processes(number: int, gpu: ElementTree.Element) -> Iterator[State]:
    for each in gpu.iterfind("processes/process_info"):
        pid = amount(each.findtext("pid", ""))
        if pid is not None:
            memory = _bytes(each, "used_memory")
            yield _process(pid, number, each.findtext("process_name"), memory, each.findtext("type"))


def _first(gpu: ElementTree.Element, *paths: str) -> ElementTree.Element:
    """Return the element of the first of several names that is there: drivers have renamed some."""
    found = (gpu.find(path) for path in paths)
    return next((each for each in found if each is not None), ElementTree.Element("nothing"))


def _number(element: ElementTree.Element, *paths: str) -> float | None:
    """Return the number of ``700.00 W``, ``1980 MHz`` or ``3 %``, at the first path that has one."""
    for path in paths:
        with suppress(ValueError, IndexError):
            number = float(element.findtext(path, "").split()[0])
            if math.isfinite(number):
                return number
    return None


def _bytes(element: ElementTree.Element, path: str) -> int | None:
    number = _number(element, path)
    return None if number is None else int(number * _MIB)


def _switch(element: ElementTree.Element, path: str) -> bool | None:
    return {"Enabled": True, "Disabled": False}.get(element.findtext(path, ""))


def _says(element: ElementTree.Element, path: str) -> bool:
    return element.findtext(path) == "Yes"


def _is_active(gpu: ElementTree.Element, reason: str) -> bool:
    paths = (f"clocks_{word}_reasons/clocks_{word}_reason_{reason}" for word in ("event", "throttle"))
    return any(gpu.findtext(path) == "Active" for path in paths)


def _errors(gpu: ElementTree.Element) -> int | None:
    """Return the memory errors since the driver was loaded that ECC could not correct."""
    volatile = gpu.find("ecc_errors/volatile")
    counts = [] if volatile is None else [amount(each.text or "") for each in volatile if "uncorrect" in each.tag]
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def _pending(gpu: ElementTree.Element) -> Iterator[str]:
    if _says(gpu, "remapped_rows/remapped_row_pending"):
        yield "remapping of memory rows"
    if _says(gpu, "retired_pages/pending_retirement") or _says(gpu, "retired_pages/pending_blacklist"):
        yield "retirement of memory pages"
    if (gpu.findtext("ecc_mode/current_ecc"), gpu.findtext("ecc_mode/pending_ecc")) in (
        ("Enabled", "Disabled"),
        ("Disabled", "Enabled"),
    ):
        yield "change of the ECC mode"


# AMD -----------------------------------------------------------------------------------------------------------------


def _rocm() -> tuple[list[State], list[State] | None] | None:
    wanted = ("--showuniqueid", "--showmeminfo", "vram", "--showuse", "--showperflevel", "--showpids", "--json")
    document = json_object(printed("rocm-smi", *wanted))
    cards = rocm_cards(document)
    if not cards:
        return None
    using = (
        _rocm_process(int(name.removeprefix("PID")), str(text).split(", "))
        for name, text in document.get("system", {}).items()
        if name.startswith("PID")
    )
    return [_rocm_device(number, card) for number, card in cards.items()], list(using)


def _rocm_device(number: int, card: Mapping[str, str]) -> State:
    busy = amount(card.get("GPU use (%)", ""))
    return _device(
        number,
        uuid=known(card.get("Unique ID")),
        memory_bytes=amount(card.get("VRAM Total Memory (B)", "")),
        used_bytes=amount(card.get("VRAM Total Used Memory (B)", "")),
        busy=None if busy is None else busy / 100,
        performance_level=card.get("Performance Level"),
    )


def _rocm_process(pid: int, fields: list[str]) -> State:
    """Read ``name, number of GPUs, bytes of VRAM, SDMA use, CU occupancy``: on which GPUs it is not said."""
    name, memory = (fields[0], fields[2]) if len(fields) >= 5 else (fields[0], "")
    return _process(pid, None, name, amount(memory), None)


# Intel ---------------------------------------------------------------------------------------------------------------


def _xpu() -> tuple[list[State], list[State] | None] | None:
    listed = json_object(printed("xpu-smi", "discovery", "-j")).get("device_list", [])
    if not listed:
        return None
    devices = [_device(int(each["device_id"]), uuid=each.get("uuid")) for each in listed]
    document = json_object(printed("xpu-smi", "ps", "-j"))
    using = document.get("device_util_by_proc_list")
    if using is None:
        return devices, None
    return devices, [
        _process(int(each["process_id"]), int(each["device_id"]), each.get("process_name"), _kilobytes(each), None)
        for each in using
    ]


def _kilobytes(process: Mapping[str, Any]) -> int | None:
    return amount(str(process.get("mem_size", "")), 1000)


# Habana --------------------------------------------------------------------------------------------------------------


def _hpu() -> tuple[list[State], list[State] | None] | None:
    wanted = "index,uuid,memory.total,memory.used,utilization.aip"
    devices = [
        _device(
            int(index),
            uuid=uuid,
            memory_bytes=amount(total, _MIB),
            used_bytes=amount(used, _MIB),
            busy=None if (load := amount(busy)) is None else load / 100,
        )
        for index, uuid, total, used, busy in rows(printed("hl-smi", "-Q", wanted, "-f", "csv,noheader,nounits"), 5)
    ]
    if not devices:
        return None
    table = printed("hl-smi").partition("Compute Processes")
    using = [
        _process(int(pid), int(index), name, int(memory) * _MIB, kind)
        for index, pid, kind, name, memory in _TABLE_ROW.findall(table[2])
    ]
    return devices, using if table[1] else None


READERS: Mapping[str, Callable[[], tuple[list[State], list[State] | None] | None]] = {
    "cuda": _cuda,
    "rocm": _rocm,
    "xpu": _xpu,
    "hpu": _hpu,
}
