"""Ask an agent what its processes take of the node and how busy devices are, by tools that answer as the real do."""

from __future__ import annotations

import asyncio
import json
import os
import selectors
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from agents import assert_ends, pid_in
from harness import wait_until
from milabench.agent.loads import EVERY_S, Loads
from milabench.execute.hosts import Launch
from milabench.execute.hosts.local import LocalHost
from milabench.outcome import Exit
from milabench.plan import Command, Job
from milabench.resources import import_path
from milabench.rundir import Files

LOADS = "0, GPU-0, 87, 61440\n1, GPU-1, [N/A], [N/A]\n"
CARDS = {
    "card0": {
        "Unique ID": "0x1",
        "GPU use (%)": "42",
        "VRAM Total Memory (B)": "2000",
        "VRAM Total Used Memory (B)": "500",
    },
    "card1": {"Unique ID": "N/A", "VRAM Total Memory (B)": "2000", "VRAM Total Used Memory (B)": "N/A"},
}
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
    """Write an nvidia-smi that, asked for loads, does what a line of shell says."""
    tool(
        folder,
        "nvidia-smi",
        f'case "$*" in *utilization.gpu*) echo asked >> {folder}/asked\n{loads}\n;; *) exit 2;; esac',
    )


def asked(folder: Path) -> int:
    path = folder / "asked"
    return path.read_text().count("\n") if path.exists() else 0


def talk(folder: Path, story: Callable[[LocalHost], Awaitable[Any]]) -> Any:
    """Run a story with an agent that finds these tools."""

    async def main() -> Any:
        environ = {"PATH": f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin"}
        async with LocalHost(import_path(), environ) as host:
            return await story(host)

    return asyncio.run(asyncio.wait_for(main(), 120))


def launch(folder: Path, script: str, tag: str = "one", arch: str = "cuda") -> Launch:
    argv, env = ("sh", "-c", script), {"MILABENCH_ARCH": arch}
    command = Command(tag=tag, benchmark=tag, node="local", argv=argv, cwd=str(folder), env=env, metrics="none")
    job = Job(tag=tag, commands=(command,), deadline_s=None)
    files = Files.of(folder, tag)
    return Launch(phase="run", job=job, command=command, files=files, env={}, first_seq=0, deadline_s=None)


def devices(tools: Path, arch: str) -> Any:
    """Ask until something is known of the devices of a process that uses some."""

    async def story(host: LocalHost) -> list[dict[str, Any]]:
        process = await host.start(launch(tools, "sleep 1000", arch=arch))
        end = time.monotonic() + 60
        while not (found := (await host.request("usage"))["devices"]):
            assert time.monotonic() < end, "nothing is known of the devices"
            await asyncio.sleep(0.02)
        for _ in range(20):
            assert (await host.request("usage"))["devices"] == found
        await process.stop("interrupt")
        await process.wait()
        return list(found)

    return talk(tools, story)


def test_what_nvidia_smi_says_is_known_a_little_later_and_not_asked_again_at_once(tools: Path) -> None:
    nvidia(tools, printing(LOADS))
    began = time.monotonic()
    assert devices(tools, "cuda") == [
        {"id": 0, "uuid": "GPU-0", "load": 0.87, "memory_bytes": 60 * GIB},
        {"id": 1, "uuid": "GPU-1", "load": None, "memory_bytes": None},
    ]
    assert 1 <= asked(tools) <= 1 + (time.monotonic() - began) // EVERY_S


def test_what_rocm_smi_says(tools: Path) -> None:
    tool(tools, "rocm-smi", printing(json.dumps(CARDS)))
    assert devices(tools, "rocm") == [
        {"id": 0, "uuid": "0x1", "load": 0.42, "memory_bytes": 500},
        {"id": 1, "uuid": None, "load": None, "memory_bytes": None},
    ]


def test_what_xpu_smi_says(tools: Path) -> None:
    tool(tools, "xpu-smi", f"case \"$*\" in 'dump -d -1 -m 0,18 -n 1')\n{printing(XPU_DUMP)}\n;; *) exit 2;; esac")
    assert devices(tools, "xpu") == [{"id": 0, "uuid": None, "load": 0.125, "memory_bytes": 30 << 20}]


def test_what_hl_smi_says(tools: Path) -> None:
    tool(tools, "hl-smi", "case \"$*\" in *utilization.aip*) echo '0, uuid-0, 55, 1024';; *) exit 2;; esac")
    assert devices(tools, "hpu") == [{"id": 0, "uuid": "uuid-0", "load": 0.55, "memory_bytes": GIB}]


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


def test_nobody_is_asked_where_nobody_looks_and_where_no_device_is_used(tools: Path, tmp_path: Path) -> None:
    nvidia(tools, printing(LOADS))

    async def unseen(host: LocalHost) -> Exit:
        return await (await host.start(launch(tmp_path, "sleep 0.5"))).wait()

    async def without(host: LocalHost) -> list[Any]:
        process = await host.start(launch(tmp_path, "sleep 0.5", arch="cpu"))
        found = [(await host.request("usage"))["devices"] for _ in range(5)]
        await process.wait()
        return found

    talk(tools, unseen)
    assert talk(tools, without) == [[]] * 5
    assert asked(tools) == 0


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


def test_a_tool_that_prints_without_end_is_ended_and_tells_nothing(tools: Path, tmp_path: Path) -> None:
    nvidia(tools, f"echo $$ > {tools}/pid; exec yes '0, GPU-0, 87, 61440'")

    async def story(host: LocalHost) -> list[dict[str, Any]]:
        process = await host.start(launch(tmp_path, "sleep 1000"))
        await host.request("usage")
        assert_ends(pid_in(tools / "pid"), timeout_s=15)  # before TIMEOUT_S is over
        found: list[dict[str, Any]] = (await host.request("usage"))["devices"]
        await process.stop("interrupt")
        await process.wait()
        return found

    assert talk(tools, story) == []


def test_a_number_that_may_be_anothers_by_now_is_not_killed(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool(tools, "nvidia-smi", f"sleep 1000 & echo $! > {tools}/pid")  # what it leaves behind holds its output open
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    started: list[tuple[int, Callable[[], object]]] = []
    with selectors.DefaultSelector() as selector:
        loads = Loads(selector, lambda *process: started.append(process))
        loads.about("cuda")
        assert loads.latest() == []
        ((pid, waited_for),) = started
        os.waitpid(pid, 0)
        waited_for()
        killed: list[int] = []
        monkeypatch.setattr(os, "kill", lambda pid, _: killed.append(pid))
        loads.close()
    assert killed == []
    monkeypatch.undo()
    os.kill(pid_in(tools / "pid"), signal.SIGKILL)


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
