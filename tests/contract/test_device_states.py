"""Ask programs that answer as nvidia-smi, rocm-smi, xpu-smi and hl-smi do how the devices stand, and who uses them."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from milabench.agent import accelerators
from milabench.execute.hosts.local import LocalHost
from milabench.preflight import Conditions
from milabench.resources import import_path

GPU = """\
<gpu id="00000000:18:00.0">
  <persistence_mode>Enabled</persistence_mode>
  <mig_mode><current_mig>Disabled</current_mig><pending_mig>Disabled</pending_mig></mig_mode>
  <uuid>GPU-0</uuid>
  <clocks_event_reasons>
    <clocks_event_reason_gpu_idle>Active</clocks_event_reason_gpu_idle>
    <clocks_event_reason_hw_slowdown>Not Active</clocks_event_reason_hw_slowdown>
    <clocks_event_reason_hw_thermal_slowdown>Not Active</clocks_event_reason_hw_thermal_slowdown>
    <clocks_event_reason_sw_thermal_slowdown>Not Active</clocks_event_reason_sw_thermal_slowdown>
  </clocks_event_reasons>
  <fb_memory_usage><total>81559 MiB</total><reserved>551 MiB</reserved><used>4 MiB</used></fb_memory_usage>
  <compute_mode>Default</compute_mode>
  <utilization><gpu_util>3 %</gpu_util><memory_util>0 %</memory_util></utilization>
  <ecc_mode><current_ecc>Enabled</current_ecc><pending_ecc>Enabled</pending_ecc></ecc_mode>
  <ecc_errors>
    <volatile>
      <sram_correctable>7</sram_correctable><sram_uncorrectable_parity>0</sram_uncorrectable_parity>
      <sram_uncorrectable_secded>0</sram_uncorrectable_secded>
      <dram_correctable>9</dram_correctable><dram_uncorrectable>0</dram_uncorrectable>
    </volatile>
    <aggregate><dram_uncorrectable>5</dram_uncorrectable></aggregate>
  </ecc_errors>
  <retired_pages><pending_retirement>N/A</pending_retirement></retired_pages>
  <remapped_rows>
    <remapped_row_pending>No</remapped_row_pending><remapped_row_failure>No</remapped_row_failure>
  </remapped_rows>
  <gpu_power_readings>
    <power_draw>70.22 W</power_draw><current_power_limit>700.00 W</current_power_limit>
    <default_power_limit>700.00 W</default_power_limit>
  </gpu_power_readings>
  <applications_clocks><graphics_clock>1980 MHz</graphics_clock></applications_clocks>
  <default_applications_clocks><graphics_clock>1980 MHz</graphics_clock></default_applications_clocks>
  <processes>{processes}</processes>
</gpu>
"""
PROCESS = """\
<process_info><gpu_instance_id>N/A</gpu_instance_id><pid>{pid}</pid><type>{kind}</type>\
<process_name>{name}</process_name><used_memory>{memory}</used_memory></process_info>
"""
HEALTHY = {
    "gpu": 0,
    "uuid": "GPU-0",
    "memory_bytes": 81559 * 2**20,
    "used_bytes": 4 * 2**20,
    "busy": 0.03,
    "persistence": True,
    "compute_mode": "Default",
    "performance_level": None,
    "errors": 0,
    "power_w": 700.0,
    "power_default_w": 700.0,
    "clock_mhz": 1980.0,
    "clock_default_mhz": 1980.0,
    "slowed": [],
    "pending": [],
    "broken": [],
    "divided": False,
}
ROCM = {
    "card0": {
        "Unique ID": "0x1a2b3c4d5e6f7081",
        "VRAM Total Memory (B)": "206141652992",
        "VRAM Total Used Memory (B)": "297304064",
        "GPU use (%)": "0",
        "Performance Level": "auto",
    },
    "system": {"PID4242": "python3, 2, 1073741824, 0, unknown", "PID17": "gpuagent, 0, 0, 0, unknown"},
}
XPU_LIST = {"device_list": [{"device_id": 0, "uuid": "u-0"}, {"device_id": 1, "uuid": "u-1"}]}
XPU_PS = {
    "device_util_by_proc_list": [
        {"device_id": 1, "mem_size": 5726404, "process_id": 4242, "process_name": "python", "shared_mem_size": 0},
        {"device_id": 0, "mem_size": 3, "process_id": 7, "process_name": "xpu-smi", "shared_mem_size": 0},
    ]
}
HABANA = "0, 01P4-HL2080A0, 98304, 768, 0\n1, 01P4-HL2080A1, 98304, 96564, 12\n"
HABANA_TABLE = """\
| Compute Processes:                                               AIP Memory |
|  AIP       PID   Type   Process name                             Usage      |
|=============================================================================|
|   0        N/A   N/A    N/A                                      N/A        |
|   1        4242     C   python3 train.py                         95796MiB   |
+=============================================================================+
"""


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder that PATH begins with."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin")
    return folder


def tool(folder: Path, name: str, **answers: str) -> None:
    """Write a program that prints an answer where its arguments have a word (``_`` stands for any), else fails."""
    path = folder / name
    cases = "".join(
        f"{'*' if word == '_' else f'*{word}*'}) cat <<'END'\n{answer.rstrip()}\nEND\n;;\n"
        for word, answer in answers.items()
    )
    path.write_text(f'#!/bin/sh\ncase "$*" in\n{cases}\n*) exit 2;; esac\n')
    path.chmod(0o755)


def nvidia(folder: Path, *gpus: str) -> None:
    tool(folder, "nvidia-smi", x=f'<?xml version="1.0" ?>\n<nvidia_smi_log>{"".join(gpus)}</nvidia_smi_log>')


def gpu(*processes: str, **changes: str) -> str:
    """Return the answer for a GPU with texts changed: ``old=new``, blanks and marks as in CHANGES."""
    text = GPU.replace("{processes}", "".join(processes))
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    return text


def process(pid: int, name: str = "python", kind: str = "C", memory: str = "1024 MiB") -> str:
    return PROCESS.format(pid=pid, name=name, kind=kind, memory=memory)


def state(arch: str) -> dict[str, Any]:
    found = accelerators.state(arch)
    assert found is not None
    return found


@pytest.fixture
def sleeper() -> Iterator[int]:
    """Yield the number of a process that no agent started."""
    sleeping = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    yield sleeping.pid
    sleeping.communicate()


# NVIDIA ------------------------------------------------------------------------------------------------------------


def test_a_healthy_gpu_is_read(tools: Path) -> None:
    nvidia(tools, gpu())
    assert state("cuda") == {"devices": [HEALTHY], "processes": []}


CHANGES: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
    "too hot": (
        {"hw_thermal_slowdown>Not Active": "hw_thermal_slowdown>Active"},
        {"slowed": ["hw_thermal_slowdown"]},
    ),
    "too hot, as older drivers say it": (
        {"event_reason": "throttle_reason", "sw_thermal_slowdown>Not Active": "sw_thermal_slowdown>Active"},
        {"slowed": ["sw_thermal_slowdown"]},
    ),
    "limited power": ({"<current_power_limit>700": "<current_power_limit>500"}, {"power_w": 500.0}),
    "power as older drivers say it": (
        {"gpu_power_readings": "power_readings", "current_power_limit": "power_limit"},
        {"power_w": 700.0, "power_default_w": 700.0},
    ),
    "limited clocks": ({"<applications_clocks><graphics_clock>1980": "<applications_clocks><graphics_clock>900"}, {}),
    "errors": ({"<dram_uncorrectable>0": "<dram_uncorrectable>2"}, {"errors": 2}),
    "no ECC": ({"uncorrectable": "x"}, {"errors": None}),
    "rows that wait": (
        {"remapped_row_pending>No": "remapped_row_pending>Yes"},
        {"pending": ["remapping of memory rows"]},
    ),
    "pages that wait": (
        {"pending_retirement>N/A": "pending_retirement>Yes"},
        {"pending": ["retirement of memory pages"]},
    ),
    "another ECC mode that waits": (
        {"<pending_ecc>Enabled": "<pending_ecc>Disabled"},
        {"pending": ["change of the ECC mode"]},
    ),
    "rows that cannot be remapped": (
        {"remapped_row_failure>No": "remapped_row_failure>Yes"},
        {"broken": ["a memory row could not be remapped"]},
    ),
    "persistence off": ({"<persistence_mode>Enabled": "<persistence_mode>Disabled"}, {"persistence": False}),
    "slices": ({"<current_mig>Disabled": "<current_mig>Enabled"}, {"divided": True}),
    "what it does not know": (
        {"3 %": "N/A", "700.00 W": "[N/A]", "1980 MHz": "N/A", "81559 MiB": "Insufficient Permissions"},
        {"busy": None, "power_w": None, "power_default_w": None, "clock_mhz": None, "memory_bytes": None},
    ),
}
CHANGES["limited clocks"][1]["clock_mhz"] = 900.0


@pytest.mark.parametrize(("changes", "wanted"), CHANGES.values(), ids=CHANGES)
def test_what_a_gpu_says_of_itself_is_read(tools: Path, changes: dict[str, str], wanted: dict[str, Any]) -> None:
    nvidia(tools, gpu(**changes))
    (found,) = state("cuda")["devices"]
    assert {name: found[name] for name in wanted} == wanted


def test_an_answer_that_says_next_to_nothing_is_a_device_of_which_nothing_is_known(tools: Path) -> None:
    nvidia(tools, "<gpu><uuid>GPU-0</uuid></gpu>")
    found = state("cuda")
    assert found["devices"][0]["uuid"] == "GPU-0"
    assert found["devices"][0]["memory_bytes"] is None
    assert found["processes"] is None


def test_processes_of_others_are_read_with_their_user(tools: Path) -> None:
    other = os.getppid()
    nvidia(tools, gpu(), gpu(process(other, "/usr/bin/python3", memory="40000 MiB")))
    assert state("cuda")["processes"] == [
        {
            "pid": other,
            "gpu": 1,
            "name": "python3",
            "user": pwd.getpwuid(Path(f"/proc/{other}").stat().st_uid).pw_name,
            "memory_bytes": 40000 * 2**20,
            "kind": "C",
        }
    ]


def test_in_a_container_processes_of_others_have_neither_name_nor_user(tools: Path) -> None:
    nvidia(tools, gpu(process(2**22 + 1, "[Not Found]", memory="[N/A]")))
    unseen = {"pid": 2**22 + 1, "gpu": 0, "name": None, "user": None, "memory_bytes": None, "kind": "C"}
    assert state("cuda")["processes"] == [unseen]


NAMES = {
    "a path": ("/opt/conda/bin/python3", "python3"),
    "a command line": ("python3 train.py --api-key=hunter2", "python3"),
    "a title": ("ray::Worker.run", "ray::Worker.run"),
    "what moves a cursor": ("\x1b[2J\x07python\u202e", "?[2J?python?"),
    "a long one": ("x" * 1000, "x" * 64),
}


@pytest.mark.parametrize(("told", "name"), NAMES.values(), ids=NAMES)
def test_of_a_process_its_program_is_kept_in_print(tools: Path, told: str, name: str) -> None:
    using = {"device_id": 0, "mem_size": 1, "process_id": 2**22 + 1, "process_name": told}
    tool(tools, "xpu-smi", discovery=json.dumps(XPU_LIST), ps=json.dumps({"device_util_by_proc_list": [using]}))
    assert [each["name"] for each in state("xpu")["processes"]] == [name]


def test_a_name_that_is_no_text_is_told_in_print(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = r"import sys; open('/proc/self/comm', 'wb').write(b'a\xff\x1b'); print(flush=True); sys.stdin.read()"
    child = subprocess.Popen([sys.executable, "-c", rename], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    monkeypatch.setattr("milabench.agent.processes.descendants", lambda pid: [])
    nvidia(tools, gpu(process(child.pid, "[Not Found]")))
    assert [each["name"] for each in state("cuda")["processes"]] == ["a\ufffd?"]
    child.communicate()


@pytest.mark.parametrize("text", ["inf MiB", "nan MiB", "1e400 MiB"])
def test_what_is_no_amount_is_not_known(tools: Path, text: str) -> None:
    nvidia(tools, gpu(**{"81559 MiB": text, "3 %": text}))
    (found,) = state("cuda")["devices"]
    assert (found["memory_bytes"], found["busy"], found["used_bytes"]) == (None, None, 4 * 2**20)


def test_a_process_of_milabench_is_not_told(tools: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    nvidia(tools, gpu(process(os.getpid()), process(child.pid)))
    assert state("cuda")["processes"] == []
    child.communicate()


# Others ------------------------------------------------------------------------------------------------------------


def test_amd_devices_are_read_with_the_processes_on_them(tools: Path) -> None:
    tool(tools, "rocm-smi", _=json.dumps(ROCM))
    found = state("rocm")
    (device,) = found["devices"]
    assert (device["gpu"], device["used_bytes"], device["busy"]) == (0, 297304064, 0.0)
    assert device["performance_level"] == "auto"
    assert [(each["pid"], each["gpu"], each["name"], each["memory_bytes"]) for each in found["processes"]] == [
        (4242, None, "python3", 2**30),
        (17, None, "gpuagent", 0),
    ]


def test_intel_devices_are_read_with_the_processes_on_them(tools: Path) -> None:
    tool(tools, "xpu-smi", discovery=json.dumps(XPU_LIST), ps=json.dumps(XPU_PS))
    found = state("xpu")
    assert [(each["gpu"], each["uuid"]) for each in found["devices"]] == [(0, "u-0"), (1, "u-1")]
    assert [(each["pid"], each["gpu"], each["memory_bytes"]) for each in found["processes"]] == [
        (4242, 1, 5726404 * 1000)
    ]


def test_without_an_answer_about_processes_it_is_not_known_who_uses_a_device(tools: Path) -> None:
    tool(tools, "xpu-smi", discovery=json.dumps(XPU_LIST))
    assert state("xpu")["processes"] is None


def test_habana_devices_are_read_with_the_processes_on_them(tools: Path) -> None:
    tool(tools, "hl-smi", index=HABANA, _=HABANA_TABLE)
    found = state("hpu")
    assert [(each["gpu"], each["used_bytes"], each["busy"]) for each in found["devices"]] == [
        (0, 768 * 2**20, 0.0),
        (1, 96564 * 2**20, 0.12),
    ]
    assert [(each["pid"], each["gpu"], each["name"], each["memory_bytes"]) for each in found["processes"]] == [
        (4242, 1, "python3", 95796 * 2**20)
    ]


QUIET = {
    "fails": "exit 9",
    "prints nothing": "true",
    "prints something else": 'echo \'{"card0": [1], "device_list": [3]}\'',
    "prints bytes that are no text": "printf '\\377\\376\\n'",
}


@pytest.mark.parametrize("script", QUIET.values(), ids=QUIET)
@pytest.mark.parametrize(
    ("name", "arch"), [("nvidia-smi", "cuda"), ("rocm-smi", "rocm"), ("xpu-smi", "xpu"), ("hl-smi", "hpu")]
)
def test_a_tool_that_gives_no_answer_tells_nothing(tools: Path, name: str, arch: str, script: str) -> None:
    path = tools / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    assert accelerators.state(arch) is None


@pytest.mark.parametrize("arch", ["cpu", "cuda", "rocm", "xpu", "hpu"])
def test_without_tools_nothing_is_told(tools: Path, arch: str) -> None:
    assert accelerators.state(arch) is None


def test_the_agent_tells_what_preflight_reads(tools: Path, tmp_path: Path, sleeper: int) -> None:
    nvidia(tools, gpu(process(sleeper)))

    async def story() -> dict[str, Any]:
        async with LocalHost(import_path(), {"PATH": os.environ["PATH"]}) as host:
            fields: dict[str, Any] = {"arch": "cuda", "folders": {"runs": str(tmp_path)}, "files": [__file__]}
            return await host.request("conditions", **fields, environments={}, data={})

    told = asyncio.run(asyncio.wait_for(story(), 60))["conditions"]
    found = Conditions.of(told)
    assert [each.pid for each in found.processes or ()] == [sleeper]
    assert found.accelerators[0].memory_bytes == 81559 * 2**20
    assert found.files == {__file__}
    assert found.disks["runs"].writable
    assert found.limits["nofile"][0]
