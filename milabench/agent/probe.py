"""What a node is: its processor, memory and accelerators, asked of the vendors' own tools; each optional and quiet.

The tools' output formats are those of nvidia-smi, rocm-smi, xpu-smi and hl-smi; not yet run on hardware, nor on MIG.
"""

from __future__ import annotations

import os
import platform
import re
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from milabench.agent.tools import amount, json_object, known, printed, rocm_cards, rows

_REACH_TIMEOUT_S = 2.0
Device = dict[str, Any]
_LISTED_GPU = re.compile(r"GPU (\d+): ")
_LISTED_SLICE = re.compile(r"\s+MIG (\S+)\s+Device\s+(\d+): \(UUID: (MIG-[^)]+)\)")


def facts(arch: str | None, reach: Mapping[str, list[str]]) -> dict[str, Any]:
    """Return the facts of this node; ``arch`` limits the search for devices, ``reach`` has indexes to try."""
    found, devices, driver = _accelerators(arch)
    return {
        "hostname": socket.gethostname(),
        "platform": platform.platform(),
        "cpus": len(os.sched_getaffinity(0)),
        "cpu_name": _cpu_name(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "arch": found,
        "devices": devices,
        "driver": driver,
        "environ": dict(os.environ),
        "indexes": [url for url in reach.get(found, ()) if _reachable(url)],
    }


def _accelerators(arch: str | None) -> tuple[str, list[Device], str | None]:
    for name, probe in PROBES.items():
        if arch in (None, name):
            try:
                devices, driver = probe()
            except (ValueError, KeyError, IndexError, TypeError, AttributeError):
                continue  # a tool that prints something else than it is known to print tells nothing
            if devices:
                return name, devices, driver
    return arch or "cpu", [], None


def _cuda() -> tuple[list[Device], str | None]:
    fields = ["index", "uuid", "name", "memory.total", "driver_version", "serial", "pci.bus_id", "vbios_version"]
    output = printed("nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits")
    found = [dict(zip(fields, row, strict=True)) for row in rows(output, len(fields))]
    devices = [
        {
            "id": int(row["index"]),
            "uuid": row["uuid"],
            "name": row["name"],
            "memory_bytes": amount(row["memory.total"], 2**20),
            "numa": _numa(row["pci.bus_id"]),
            "serial": row["serial"],
            "firmware": row["vbios_version"],
        }
        for row in found
    ]
    modes = rows(printed("nvidia-smi", "--query-gpu=index,mig.mode.current", "--format=csv,noheader"), 2)
    if divided := {int(index) for index, mode in modes if mode == "Enabled"}:
        devices = _divided(devices, divided)
    return _visible(devices, "CUDA_VISIBLE_DEVICES"), found[0]["driver_version"] if found else None


def _divided(gpus: list[Device], divided: set[int]) -> list[Device]:
    """Return the MIG slices instead of the GPUs that are divided, numbered with the other GPUs as they are listed."""
    slices: dict[int, list[tuple[str, int, str]]] = {}
    gpu = -1
    for line in printed("nvidia-smi", "-L").splitlines():
        if found := _LISTED_GPU.match(line):
            gpu = int(found[1])
        elif found := _LISTED_SLICE.match(line):
            slices.setdefault(gpu, []).append((found[1], int(found[2]), found[3]))
    memory = _slice_memory(printed("nvidia-smi", "-q", "-x"))
    devices: list[Device] = []
    for each in gpus:
        number = each["id"]
        whole = {**each, "gpu": number, "gpu_uuid": each["uuid"]}
        if number not in divided:
            devices.append(whole)
        for profile, index, uuid in slices.get(number, ()) if number in divided else ():
            own = {"uuid": uuid, "name": f"{each['name']} MIG {profile}", "parent": number}
            devices.append({**whole, **own, "memory_bytes": memory.get((each["uuid"], index))})
    return [{**each, "id": number} for number, each in enumerate(devices)]


def _slice_memory(document: str) -> dict[tuple[str, int], int | None]:
    """Return the memory of MIG slices, in bytes, by the UUID of their GPU and their number on it."""
    from xml.etree import ElementTree

    try:
        root = ElementTree.fromstring(document)
    except ElementTree.ParseError:
        return {}
    return {
        (gpu.findtext("uuid", ""), int(each.findtext("index", ""))): amount(
            each.findtext("fb_memory_usage/total", "").removesuffix(" MiB"), 2**20
        )
        for gpu in root.iter("gpu")
        for each in gpu.iter("mig_device")
    }


def _rocm() -> tuple[list[Device], str | None]:
    arguments = ("--showproductname", "--showmeminfo", "vram", "--showuniqueid", "--showdriverversion", "--json")
    document = json_object(printed("rocm-smi", *arguments))
    devices = [
        {
            "id": number,
            "uuid": known(card.get("Unique ID")),
            "name": card.get("Card Series") or card.get("Card series") or "AMD GPU",
            "memory_bytes": amount(card.get("VRAM Total Memory (B)", "")),
        }
        for number, card in rocm_cards(document).items()
    ]
    return _visible(devices, "ROCR_VISIBLE_DEVICES"), document.get("system", {}).get("Driver version")


def _xpu() -> tuple[list[Device], str | None]:
    listed = json_object(printed("xpu-smi", "discovery", "-j")).get("device_list", [])
    devices: list[Device] = []
    driver: str | None = None
    for entry in listed:
        index = int(entry["device_id"])
        details = json_object(printed("xpu-smi", "discovery", "-d", str(index), "-j"))
        driver = details.get("driver_version") or driver
        memory = amount(str(details.get("memory_physical_size_byte", "")))
        devices.append(
            {
                "id": index,
                "uuid": entry.get("uuid"),
                "name": entry.get("device_name", "Intel GPU"),
                "memory_bytes": memory,
            }
        )
    return _visible(devices, "ZE_AFFINITY_MASK"), driver


def _hpu() -> tuple[list[Device], str | None]:
    output = printed("hl-smi", "-Q", "index,uuid,name,memory.total,driver_version", "-f", "csv,noheader,nounits")
    found = rows(output, 5)
    devices = [
        {"id": int(index), "uuid": uuid, "name": name, "memory_bytes": amount(memory, 2**20)}
        for index, uuid, name, memory, _ in found
    ]
    return _visible(devices, "HABANA_VISIBLE_MODULES"), found[0][4] if found else None


PROBES: Mapping[str, Callable[[], tuple[list[Device], str | None]]] = {
    "cuda": _cuda,
    "rocm": _rocm,
    "xpu": _xpu,
    "hpu": _hpu,
}


def _visible(devices: list[Device], variable: str) -> list[Device]:
    """Keep the devices that the operator's own selection variable shows, by number or by the beginning of a UUID.

    A number or UUID of a GPU that is divided shows its slices.
    """
    shown = os.environ.get(variable)
    if shown is None:
        return devices
    names = {name.strip() for name in shown.split(",") if name.strip()}
    numbers = {name for name in names if name.isdigit()}
    prefixes = tuple(names - numbers)
    return [
        each
        for each in devices
        if str(each.get("gpu", each["id"])) in numbers
        or any(str(uuid).startswith(prefixes) for uuid in (each["uuid"], each.get("gpu_uuid")))
    ]


def _numa(bus_id: str) -> int | None:
    """Return the NUMA node of a PCI device; nvidia-smi writes the domain with eight digits, the kernel with four."""
    domain, _, rest = bus_id.lower().partition(":")
    with suppress(OSError, ValueError):
        node = int(Path(f"/sys/bus/pci/devices/{domain[-4:]}:{rest}/numa_node").read_text())
        return node if node >= 0 else None
    return None


def _cpu_name() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def _reachable(url: str) -> bool:
    """Say whether a server answers at an address, whatever it says; through the proxies that the environment names."""
    import urllib.error
    import urllib.request

    if urlsplit(url).scheme not in ("http", "https"):
        return False
    try:
        request = urllib.request.Request(url, method="HEAD")
        with urllib.request.urlopen(request, timeout=_REACH_TIMEOUT_S):
            return True
    except urllib.error.HTTPError:
        return True
    except (OSError, ValueError):
        return False
