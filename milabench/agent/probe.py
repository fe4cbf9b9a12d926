"""What a node is: its processor, memory and accelerators, asked of the vendors' own tools; each optional and quiet.

The tools' output formats are those of nvidia-smi, rocm-smi, xpu-smi and hl-smi; not yet run on hardware, nor on MIG.
"""

from __future__ import annotations

import csv
import json
import os
import platform
import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

_TOOL_TIMEOUT_S = 20.0
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
    output = _run("nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits")
    rows = [dict(zip(fields, row, strict=True)) for row in _rows(output, len(fields))]
    devices = [
        {
            "id": int(row["index"]),
            "uuid": row["uuid"],
            "name": row["name"],
            "memory_bytes": _bytes(row["memory.total"], 2**20),
            "numa": _numa(row["pci.bus_id"]),
            "serial": row["serial"],
            "firmware": row["vbios_version"],
        }
        for row in rows
    ]
    modes = _rows(_run("nvidia-smi", "--query-gpu=index,mig.mode.current", "--format=csv,noheader"), 2)
    if divided := {int(index) for index, mode in modes if mode == "Enabled"}:
        devices = _divided(devices, divided)
    return _visible(devices, "CUDA_VISIBLE_DEVICES"), rows[0]["driver_version"] if rows else None


def _divided(gpus: list[Device], divided: set[int]) -> list[Device]:
    """Return the MIG slices instead of the GPUs that are divided, numbered with the other GPUs as they are listed."""
    slices: dict[int, list[tuple[str, int, str]]] = {}
    gpu = -1
    for line in _run("nvidia-smi", "-L").splitlines():
        if found := _LISTED_GPU.match(line):
            gpu = int(found[1])
        elif found := _LISTED_SLICE.match(line):
            slices.setdefault(gpu, []).append((found[1], int(found[2]), found[3]))
    memory = _slice_memory(_run("nvidia-smi", "-q", "-x"))
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
        (gpu.findtext("uuid", ""), int(each.findtext("index", ""))): _bytes(
            each.findtext("fb_memory_usage/total", "").removesuffix(" MiB"), 2**20
        )
        for gpu in root.iter("gpu")
        for each in gpu.iter("mig_device")
    }


def _rocm() -> tuple[list[Device], str | None]:
    arguments = ("--showproductname", "--showmeminfo", "vram", "--showuniqueid", "--showdriverversion", "--json")
    document = _json(_run("rocm-smi", *arguments))
    cards = {name: card for name, card in document.items() if name.startswith("card")}
    devices = [
        {
            "id": int(name.removeprefix("card")),
            "uuid": card.get("Unique ID"),
            "name": card.get("Card Series") or card.get("Card series") or "AMD GPU",
            "memory_bytes": _bytes(card.get("VRAM Total Memory (B)", ""), 1),
        }
        for name, card in cards.items()
    ]
    return _visible(devices, "ROCR_VISIBLE_DEVICES"), document.get("system", {}).get("Driver version")


def _xpu() -> tuple[list[Device], str | None]:
    listed = _json(_run("xpu-smi", "discovery", "-j")).get("device_list", [])
    devices: list[Device] = []
    driver: str | None = None
    for entry in listed:
        index = int(entry["device_id"])
        details = _json(_run("xpu-smi", "discovery", "-d", str(index), "-j"))
        driver = details.get("driver_version") or driver
        memory = _bytes(str(details.get("memory_physical_size_byte", "")), 1)
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
    output = _run("hl-smi", "-Q", "index,uuid,name,memory.total,driver_version", "-f", "csv,noheader,nounits")
    rows = _rows(output, 5)
    devices = [
        {"id": int(index), "uuid": uuid, "name": name, "memory_bytes": _bytes(memory, 2**20)}
        for index, uuid, name, memory, _ in rows
    ]
    return _visible(devices, "HABANA_VISIBLE_MODULES"), rows[0][4] if rows else None


PROBES: Mapping[str, Callable[[], tuple[list[Device], str | None]]] = {
    "cuda": _cuda,
    "rocm": _rocm,
    "xpu": _xpu,
    "hpu": _hpu,
}


def _rows(output: str, width: int) -> list[list[str]]:
    """Return the rows of a table without heading; lines of another width are no rows."""
    return [row for row in csv.reader(output.splitlines(), skipinitialspace=True) if len(row) == width]


def _bytes(text: str, unit: int) -> int | None:
    """Return an amount of memory; None where the tool says it does not know (``[N/A]``)."""
    try:
        return int(float(text) * unit)
    except ValueError:
        return None


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


def _run(tool: str, *arguments: str) -> str:
    """Return what a vendor's tool prints; nothing where it is missing, fails or hangs."""
    path = shutil.which(tool)
    if path is None:
        return ""
    try:
        done = subprocess.run([path, *arguments], capture_output=True, text=True, timeout=_TOOL_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _json(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text) if text else {}
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


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
