"""Ask an agent what its processes take of the node and how busy devices are, by tools that answer as the real do."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from harness import wait_until
from milabench.execute.hosts import Launch
from milabench.execute.hosts.local import LocalHost
from milabench.outcome import Exit
from milabench.plan import Command, Job
from milabench.resources import import_path
from milabench.rundir import Files

PROBED = """\
0, GPU-0, NVIDIA H100 80GB HBM3, 81559, 550.54.15, 1650123000001, 00000000:18:00.0, 96.00.89.00.01
1, GPU-1, NVIDIA H100 80GB HBM3, 81559, 550.54.15, 1650123000002, 00000000:2A:00.0, 96.00.89.00.01
"""
LOADS = "0, GPU-0, 87, 61440\n1, GPU-1, [N/A], [N/A]\n"
CARDS = {
    "card0": {
        "Unique ID": "0x1",
        "GPU use (%)": "42",
        "VRAM Total Memory (B)": "2000",
        "VRAM Total Used Memory (B)": "500",
    },
    "card1": {"Unique ID": "0x2", "VRAM Total Memory (B)": "2000", "VRAM Total Used Memory (B)": "N/A"},
}
XPUS = {"device_list": [{"device_id": 0, "uuid": "x0", "device_name": "Intel GPU"}]}
XPU_ONE = {"device_id": 0, "driver_version": "1", "memory_physical_size_byte": "68719476736"}
XPU_DUMP = "Timestamp, DeviceId, GPU Utilization (%), GPU Memory Used (MiB)\n06:14:46.000,    0, 12.50, 30.00\n"
GIB = 1 << 30


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    return folder


def tool(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def printing(text: str) -> str:
    return f"cat <<'END'\n{text.rstrip()}\nEND"


def nvidia(folder: Path, loads: str) -> None:
    """Write an nvidia-smi that answers the probe, and to be asked for loads does what a line of shell says."""
    asked = f'case "$*" in *utilization.gpu*) echo asked >> {folder}/asked\n{loads}\n;;'
    tool(folder, "nvidia-smi", f"{asked}\n*mig.mode*) ;;\n*)\n{printing(PROBED)}\n;; esac")


def asked(folder: Path) -> int:
    path = folder / "asked"
    return path.read_text().count("\n") if path.exists() else 0


def talk(folder: Path, story: Callable[[LocalHost], Awaitable[Any]]) -> Any:
    """Run a story with an agent that finds these tools; it has probed the node."""

    async def main() -> Any:
        environ = {"PATH": f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin"}
        async with LocalHost(import_path(), environ) as host:
            await host.request("probe", arch=None, reach={})
            return await story(host)

    return asyncio.run(asyncio.wait_for(main(), 120))


def launch(folder: Path, script: str, tag: str = "one") -> Launch:
    command = Command(tag=tag, benchmark=tag, node="local", argv=("sh", "-c", script), cwd=str(folder), metrics="none")
    job = Job(tag=tag, commands=(command,), deadline_s=None)
    files = Files.of(folder, tag)
    return Launch(phase="run", job=job, command=command, files=files, env={}, first_seq=0, deadline_s=None)


async def devices(host: LocalHost) -> list[dict[str, Any]]:
    """Ask until something is known of the devices."""
    end = time.monotonic() + 60
    while not (found := (await host.request("usage"))["devices"]):
        assert time.monotonic() < end, "nothing is known of the devices"
        await asyncio.sleep(0.02)
    return list(found)


def test_what_nvidia_smi_says_is_known_a_little_later(tools: Path) -> None:
    nvidia(tools, printing(LOADS))
    assert talk(tools, devices) == [
        {"id": 0, "uuid": "GPU-0", "load": 0.87, "memory_bytes": 60 * GIB},
        {"id": 1, "uuid": "GPU-1", "load": None, "memory_bytes": None},
    ]


def test_what_rocm_smi_says(tools: Path) -> None:
    tool(tools, "rocm-smi", printing(json.dumps(CARDS)))
    assert talk(tools, devices) == [
        {"id": 0, "uuid": "0x1", "load": 0.42, "memory_bytes": 500},
        {"id": 1, "uuid": "0x2", "load": None, "memory_bytes": None},
    ]


def test_what_xpu_smi_says(tools: Path) -> None:
    script = f"case \"$*\" in 'dump -d -1 -m 0,18 -n 1')\n{printing(XPU_DUMP)}\n;;\n*' -d '*)\n"
    script += f"{printing(json.dumps(XPU_ONE))}\n;;\n*)\n{printing(json.dumps(XPUS))}\n;; esac"
    tool(tools, "xpu-smi", script)
    assert talk(tools, devices) == [{"id": 0, "uuid": None, "load": 0.125, "memory_bytes": 30 << 20}]


def test_what_hl_smi_says(tools: Path) -> None:
    loads, probed = "echo '0, uuid-0, 55, 1024'", "echo '0, uuid-0, HL-225, 98304, 1.16'"
    tool(tools, "hl-smi", f'case "$*" in *utilization.aip*) {loads};; *) {probed};; esac')
    assert talk(tools, devices) == [{"id": 0, "uuid": "uuid-0", "load": 0.55, "memory_bytes": GIB}]


@pytest.mark.parametrize("loads", ["exit 1", "echo nonsense", "printf '\\377\\376'", ":"])
def test_a_tool_that_says_nothing_of_use_is_asked_no_more_and_harms_nothing(
    tools: Path, loads: str, tmp_path: Path
) -> None:
    nvidia(tools, loads)

    async def story(host: LocalHost) -> Exit:
        process = await host.start(launch(tmp_path, "exit 7"))
        assert (await host.request("usage"))["devices"] == []
        wait_until(lambda: asked(tools) == 1)
        return await process.wait()

    assert talk(tools, story).code == 7


def test_nobody_is_asked_where_there_are_no_devices_and_where_nobody_looks(tools: Path, tmp_path: Path) -> None:
    nvidia(tools, printing(LOADS))

    async def unseen(host: LocalHost) -> Exit:
        return await (await host.start(launch(tmp_path, "sleep 0.5"))).wait()

    talk(tools, unseen)
    assert asked(tools) == 0
    (tools / "nvidia-smi").unlink()

    async def story(host: LocalHost) -> list[Any]:
        return [(await host.request("usage"))["devices"] for _ in range(5)]

    assert talk(tools, story) == [[]] * 5


def test_the_tool_is_asked_no_more_often_than_every_few_seconds(tools: Path) -> None:
    nvidia(tools, printing(LOADS))

    async def story(host: LocalHost) -> None:
        await devices(host)
        for _ in range(20):
            await host.request("usage")

    talk(tools, story)
    assert asked(tools) == 1


def test_a_tool_that_hangs_is_never_waited_for_and_belongs_to_no_process(tools: Path, tmp_path: Path) -> None:
    nvidia(tools, f"echo $$ > {tools}/pid; exec sleep 1000")

    async def story(host: LocalHost) -> tuple[Exit, Exit, bool]:
        process = await host.start(launch(tmp_path, "while true; do sleep 0.1; done"))
        await host.request("usage")
        wait_until(lambda: (tools / "pid").exists() and (tools / "pid").read_text().endswith("\n"))
        number = int((tools / "pid").read_text())
        await process.stop("interrupt")
        first = await process.wait()
        second = await (await host.start(launch(tmp_path, "exit 3", "two"))).wait()
        return first, second, Path(f"/proc/{number}").exists()

    first, second, lives = talk(tools, story)
    assert (first.cause, second.code, lives) == ("interrupt", 3, True)
    number = int((tools / "pid").read_text())
    wait_until(lambda: not Path(f"/proc/{number}").exists())


def test_usage_is_that_of_a_whole_tree(tools: Path, tmp_path: Path) -> None:
    busy = "sh -c 'while true; do :; done' & while true; do :; done"

    async def story(host: LocalHost) -> dict[str, dict[str, float]]:
        process = await host.start(launch(tmp_path, busy))
        idle = await host.start(launch(tmp_path, "sleep 1000", "two"))
        end = time.monotonic() + 60
        while (found := (await host.request("usage"))["processes"])["one"]["cpu_s"] < 0.3:
            assert time.monotonic() < end, found
            await asyncio.sleep(0.05)
        for each in (process, idle):
            await each.stop("interrupt")
            await each.wait()
        assert (await host.request("usage"))["processes"] == {}
        return dict(found)

    found = talk(tools, story)
    assert set(found) == {"one", "two"}
    assert found["two"]["cpu_s"] < 0.3
    assert found["one"]["rss_bytes"] > 100_000
