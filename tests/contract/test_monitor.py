"""An agent with its monitor, as processes: what it writes, whom it counts, and that it is never left over."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from agents import Raw, alive, assert_ends, launch, pid_in, talk
from hardware import RECORDINGS, nvml_file, printing, tool
from harness import monitors, wait_until
from milabench.agent.monitor import samples
from milabench.execute.hosts import agent as agent_host
from milabench.execute.hosts.child import Child
from milabench.execute.hosts.local import LocalHost

LONG_S = 3600.0
HOPPERS = [{"id": n, "uuid": f"GPU-6b1c7f0a-0d5e-4a4e-{n}"} for n in range(2)]


def settings(folder: Path, **keys: Any) -> dict[str, Any]:
    path = str(folder / f"here{samples.SUFFIX}")
    return {"path": path, "node": "here", "interval_s": LONG_S, "arch": "cpu", "devices": [], "nvml": "", **keys}


def lines(folder: Path, event: str) -> list[dict[str, Any]]:
    path = folder / f"here{samples.SUFFIX}"
    return [line for line in samples.lines(path) if line["event"] == event] if path.exists() else []


def data(folder: Path) -> list[dict[str, Any]]:
    return [line["data"] for line in lines(folder, "sample")]


def state(folder: Path, name: str) -> dict[str, str]:
    """Return how a source stands, by the last that is said of it."""
    said = [line["data"]["sources"][name] for line in lines(folder, "monitor")[-1:]]
    said += [line["data"] for line in lines(folder, "source") if line["data"]["name"] == name]
    return {key: value for key, value in said[-1].items() if key != "name"}


def agent_of(host: LocalHost) -> asyncio.subprocess.Process:
    assert isinstance(host._pipe, Child)
    return host._pipe.process


async def until(happened: Callable[[], object], timeout_s: float = 60) -> None:
    end = time.monotonic() + timeout_s
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        await asyncio.sleep(0.05)


def monitored(folder: Path, story: Callable[[LocalHost], Awaitable[Any]], environ: Any = None, **keys: Any) -> Any:
    """Run a story with an agent that monitors."""

    async def whole(host: LocalHost) -> Any:
        assert (await host.request("monitor", **settings(folder, **keys)))["event"] == "monitoring"
        assert data(folder)  # it is there before any process
        found = await story(host)
        assert (await host.request("monitor", path=None))["event"] == "monitored"
        return found

    return talk(whole, **(environ or {}))


async def nothing(_: LocalHost) -> None:
    pass


# What is counted ------------------------------------------------------------------------------------------------------


def test_even_a_short_process_has_samples_around_it_and_its_cpu_time_is_ours(tmp_path: Path) -> None:
    script = "timeout 60 sh -c 'i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done'; times > times"

    async def story(host: LocalHost) -> None:
        before = len(data(tmp_path))
        assert (await (await host.start(launch(tmp_path, script))).wait()).code == 0
        await until(lambda: len(data(tmp_path)) > before)

    monitored(tmp_path, story)
    minutes, _, seconds = (tmp_path / "times").read_text().split()[2].partition("m")
    used_s = float(minutes) * 60 + float(seconds.rstrip("s"))  # of the children of the shell, in user mode
    first, last = data(tmp_path)[0], data(tmp_path)[-1]
    assert len(data(tmp_path)) >= 3
    grown_s = last["cpu"]["ours_s"] - first["cpu"]["ours_s"]
    assert used_s * 0.9 - 0.05 <= grown_s <= used_s * 1.5 + 0.5


def test_a_neighbour_is_in_what_is_busy_and_not_in_ours(tmp_path: Path) -> None:
    async def story(host: LocalHost) -> float:
        neighbour = await asyncio.create_subprocess_exec("sh", "-c", "while true; do :; done")
        try:
            process = await host.start(launch(tmp_path, "exec sleep 1000"))
            stat = Path(f"/proc/{neighbour.pid}/stat")

            def used_s() -> float:
                return int(stat.read_text().rpartition(")")[2].split()[11]) / os.sysconf("SC_CLK_TCK")

            before_s = used_s()
            await until(lambda: used_s() - before_s >= 0.5)
            await process.stop("interrupt")
            await process.wait()
            return used_s() - before_s
        finally:
            neighbour.kill()
            await neighbour.wait()

    used_s = monitored(tmp_path, story)
    first, last = data(tmp_path)[0]["cpu"], data(tmp_path)[-1]["cpu"]
    others_s = (last["busy_s"] - first["busy_s"]) - (last["ours_s"] - first["ours_s"])
    assert others_s >= used_s * 0.9 - 0.05
    assert last["ours_s"] - first["ours_s"] < 0.4


def test_the_monitor_counts_itself_apart(tmp_path: Path) -> None:
    async def story(_: LocalHost) -> None:
        await until(lambda: len(data(tmp_path)) >= 8)

    monitored(tmp_path, story, interval_s=0.1)
    first, last = data(tmp_path)[0], data(tmp_path)[-1]
    assert 0 < first["own_cpu_s"] <= last["own_cpu_s"]
    assert last["cpu"]["ours_s"] - first["cpu"]["ours_s"] <= 0.02


# Devices --------------------------------------------------------------------------------------------------------------


def test_nvml_is_asked_through_the_binding_that_the_runner_names(tmp_path: Path) -> None:
    binding = str(nvml_file(tmp_path, "nvml-hopper.json"))
    monitored(tmp_path, nothing, arch="cuda", devices=HOPPERS, nvml=binding)
    assert state(tmp_path, "nvidia") == {"by": "NVML, driver 550.54.15"}
    assert [(each["id"], each["power_w"]) for each in data(tmp_path)[0]["devices"]] == [(0, 612.345), (1, 70.22)]
    assert data(tmp_path)[1]["devices"][0]["throttle"] == ["power cap"]


def test_a_driver_that_hangs_at_once_delays_the_first_sample_for_seconds_and_nothing_else(tmp_path: Path) -> None:
    binding = str(nvml_file(tmp_path, "nvml-hopper.json", before="import time; time.sleep(1000)"))

    async def story(host: LocalHost) -> None:
        assert (await (await host.start(launch(tmp_path, "exit 7"))).wait()).code == 7

    began = time.monotonic()
    monitored(tmp_path, story, arch="cuda", devices=HOPPERS, nvml=binding)
    assert time.monotonic() - began < 30
    assert state(tmp_path, "nvidia") == {"missing": "it has not answered yet"}
    assert all("devices" not in each for each in data(tmp_path))


def test_without_a_driver_it_is_said_why_there_are_no_devices(tmp_path: Path) -> None:
    monitored(tmp_path, nothing, arch="cuda", devices=HOPPERS)
    assert "nvidia-ml-py is not installed" in state(tmp_path, "nvidia")["missing"]


@pytest.fixture
def tools(tmp_path: Path) -> dict[str, str]:
    """Return an environment that finds the programs of ``tmp_path/bin``."""
    (tmp_path / "bin").mkdir()
    return {"PATH": f"{tmp_path}/bin{os.pathsep}/usr/bin{os.pathsep}/bin"}


def with_device(folder: Path) -> list[dict[str, Any]]:
    return [device for each in data(folder) for device in each.get("devices", [])]


PRINTS: dict[str, tuple[str, str, str, dict[str, float]]] = {
    "xpu": ("xpu-smi", "dump -d -1 --metrics 0,1,2,3,8,18", "xpu-smi-dump.txt", {"power_w": 312.4, "load": 0.125}),
    "hpu": ("hl-smi", "-Q index,uuid,*", "hl-smi.txt", {"power_w": 310.0, "load": 0.55}),
}


@pytest.mark.parametrize("arch", PRINTS)
def test_tools_that_go_on_printing_are_started_once(tmp_path: Path, tools: dict[str, str], arch: str) -> None:
    name, arguments, recording, expected = PRINTS[arch]
    again = f"while sleep 0.1; do\n{printing((RECORDINGS / recording).read_text())}\ndone"
    cases = f'case "$*" in {arguments.replace(" ", chr(92) + " ")}) {again};; *) exit 2;; esac'
    tool(tmp_path / "bin", name, f"echo $$ >> {tmp_path}/pids\n{cases}")

    async def story(_: LocalHost) -> None:
        await until(lambda: len(with_device(tmp_path)) >= 3)

    monitored(tmp_path, story, environ=tools, arch=arch, devices=[{"id": 0, "uuid": "u-0"}], interval_s=0.1)
    assert with_device(tmp_path)[0].items() >= {"id": 0, **expected}.items()
    (pid,) = (tmp_path / "pids").read_text().split()
    assert_ends(int(pid), timeout_s=60)


@pytest.mark.parametrize("script", ["exit 1", "echo nonsense", "printf '\\377\\376\\n'", ":"])
def test_a_tool_that_says_nothing_of_use_harms_nothing(tmp_path: Path, tools: dict[str, str], script: str) -> None:
    tool(tmp_path / "bin", "xpu-smi", script)

    async def story(host: LocalHost) -> None:
        await until(lambda: len(data(tmp_path)) >= 4)
        assert (await (await host.start(launch(tmp_path, "exit 7"))).wait()).code == 7

    monitored(tmp_path, story, environ=tools, arch="xpu", devices=[{"id": 0}], interval_s=0.1)
    assert with_device(tmp_path) == []


def test_a_tool_that_prints_without_end_is_ended_and_that_is_said(tmp_path: Path, tools: dict[str, str]) -> None:
    tool(tmp_path / "bin", "xpu-smi", f"echo $$ > {tmp_path}/pid; exec yes nonsense")

    async def story(_: LocalHost) -> None:
        await until(lambda: "prints without end" in state(tmp_path, "intel").get("missing", ""))
        assert_ends(pid_in(tmp_path / "pid"), timeout_s=60)

    monitored(tmp_path, story, environ=tools, arch="xpu", devices=[{"id": 0}], interval_s=0.1)


def test_the_power_of_the_node_is_asked_seldom(tmp_path: Path, tools: dict[str, str]) -> None:
    answer = printing((RECORDINGS / "ipmitool.txt").read_text())
    tool(
        tmp_path / "bin",
        "ipmitool",
        f'echo asked >> {tmp_path}/asked\n[ "$*" = "dcmi power reading" ] || exit 2\n{answer}',
    )

    async def story(_: LocalHost) -> None:
        await until(lambda: any("ipmi_w" in each.get("power", {}) for each in data(tmp_path)))
        await until(lambda: len(data(tmp_path)) >= 8)

    began = time.monotonic()
    monitored(tmp_path, story, environ=tools, interval_s=0.1)
    told = [each["power"]["ipmi_w"] for each in data(tmp_path) if "power" in each and "ipmi_w" in each["power"]]
    asked = (tmp_path / "asked").read_text().count("asked")
    assert told[0] == 714.0
    assert len(told) <= asked <= 1 + (time.monotonic() - began) // 10
    assert state(tmp_path, "ipmi") == {"by": "ipmitool dcmi power reading"}


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo 'Could not open device at /dev/ipmi0: No such file' >&2; exit 1", "Could not open device at /dev/ipmi0"),
        ("echo '    Instantaneous power reading:                     0 Watts'", "ipmitool tells no power"),
    ],
)
def test_where_the_power_of_the_node_is_not_told_the_reason_is(
    tmp_path: Path, tools: dict[str, str], script: str, why: str
) -> None:
    tool(tmp_path / "bin", "ipmitool", script)

    async def story(_: LocalHost) -> None:
        await until(lambda: why in state(tmp_path, "ipmi").get("missing", ""))

    monitored(tmp_path, story, environ=tools, interval_s=0.1)


# Its life -------------------------------------------------------------------------------------------------------------


def test_usage_has_the_devices_of_the_latest_sample(tmp_path: Path) -> None:
    binding = str(nvml_file(tmp_path, "nvml-hopper.json"))

    async def story(host: LocalHost) -> Any:
        return (await host.request("usage"))["devices"]

    first, second = monitored(tmp_path, story, arch="cuda", devices=HOPPERS, nvml=binding)
    assert (first["id"], first["uuid"], first["load"], first["memory_bytes"]) == (0, HOPPERS[0]["uuid"], 0.97, 60 << 30)
    assert second["load"] == 0.0


def test_without_a_monitor_nothing_is_known_of_devices(tmp_path: Path) -> None:
    async def story(host: LocalHost) -> Any:
        return (await host.request("usage"))["devices"]

    assert talk(story) == []


def test_one_that_was_killed_is_started_again_and_begins_with_its_header(tmp_path: Path) -> None:
    async def story(host: LocalHost) -> None:
        (pid,) = monitors(agent_of(host).pid)
        os.kill(pid, signal.SIGKILL)
        await until(lambda: len(lines(tmp_path, "monitor")) == 2)
        (other,) = monitors(agent_of(host).pid)
        assert other != pid

    monitored(tmp_path, story)


def test_one_that_cannot_live_is_given_up_and_that_is_said_once(tmp_path: Path) -> None:
    with Raw(tmp_path) as agent:
        number = agent.send("monitor", **settings(tmp_path, path=str(tmp_path / "nowhere" / "file")))
        reply = agent.reply(number)
        assert (reply["event"], reply["message"]) == (
            "error",
            "it ended before its first sample, and is tried again",
        )
        wait_until(lambda: not monitors(agent.pid))
        process = agent.start("exit 7")
        assert agent.exit(process)["code"] == 7
        assert agent.process.stderr is not None
        said = b""
        while b"again and again" not in said:
            line = agent.process.stderr.readline()
            assert line, said
            said += line
        assert agent.reply(agent.send("monitor", path=None))["event"] == "monitored"


def test_ones_that_could_live_are_started_again_however_many_were_killed(tmp_path: Path) -> None:
    soon = "from milabench.agent import monitoring; monitoring._AGAIN_S, monitoring._SOUND_S = 0.01, 0.0"
    with Raw(tmp_path, patch=soon) as agent:
        agent.reply(agent.send("monitor", **settings(tmp_path)))
        for count in range(2, 8):
            (pid,) = monitors(agent.pid)
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda count=count: len(lines(tmp_path, "monitor")) == count)  # type: ignore[misc]


def test_another_agent_waits_for_its_monitor_no_longer_than_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_host, "MONITOR_S", 0.5)
    path = tmp_path / f"here{samples.SUFFIX}"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    async def story(host: LocalHost) -> None:
        await host.request("monitor", **settings(tmp_path))
        os.close(reader)  # to open it will hang from now on
        os.kill(agent_of(host).pid, signal.SIGKILL)
        await agent_of(host).wait()
        await until(lambda: host._reader is not None and host._reader.done())
        assert (await asyncio.wait_for(host.request("usage"), 30))["event"] == "usage"
        (pid,) = monitors(agent_of(host).pid)
        os.kill(pid, signal.SIGKILL)

    talk(story)


def test_it_ends_with_its_agent_also_with_one_that_is_killed(tmp_path: Path) -> None:
    for end in (lambda agent: agent.process.stdin.close(), lambda agent: agent.signal(signal.SIGKILL)):
        with Raw(tmp_path) as agent:
            agent.reply(agent.send("monitor", **settings(tmp_path)))
            (pid,) = monitors(agent.pid)
            end(agent)
            agent.process.wait(60)
            assert_ends(pid, timeout_s=60)


def test_one_that_hangs_does_not_keep_its_agent(tmp_path: Path) -> None:
    with Raw(tmp_path) as agent:
        agent.reply(agent.send("monitor", **settings(tmp_path)))
        (pid,) = monitors(agent.pid)
        os.kill(pid, signal.SIGSTOP)
        for _ in range(3):
            assert agent.exit(agent.start("exit 7"))["code"] == 7
        assert agent.reply(agent.send("monitor", path=None))["event"] == "monitored"
        assert not alive(pid)


def test_it_is_no_part_of_a_process_and_keeps_nothing_open_after_the_end(tmp_path: Path) -> None:
    async def story(host: LocalHost) -> int:
        process = await host.start(launch(tmp_path, "echo $$ > pid; exec sleep 1000"))
        (pid,) = monitors(agent_of(host).pid)
        pid_in(tmp_path / "pid")
        await process.stop("interrupt")
        await process.wait()
        assert alive(pid)
        return pid

    async def whole(host: LocalHost) -> None:
        await host.request("monitor", **settings(tmp_path))
        pid = await story(host)
        await host.request("monitor", path=None)
        assert not alive(pid)  # while its agent lives

    talk(whole)


def test_two_runs_of_one_agent_have_a_file_each(tmp_path: Path) -> None:
    async def story(host: LocalHost) -> None:
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            await host.request("monitor", **settings(tmp_path / name))
            await host.request("monitor", path=None)

    talk(story)
    assert [len(data(tmp_path / name)) for name in ("one", "two")] == [2, 2]


def test_another_agent_goes_on_with_the_file_of_one_that_was_killed(tmp_path: Path) -> None:
    async def story(host: LocalHost) -> None:
        os.kill(agent_of(host).pid, signal.SIGKILL)
        await agent_of(host).wait()
        await until(lambda: host._reader is not None and host._reader.done())
        await host.request("usage")
        await until(lambda: len(lines(tmp_path, "monitor")) == 2)

    monitored(tmp_path, story)
