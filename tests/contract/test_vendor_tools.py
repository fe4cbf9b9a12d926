"""Ask programs that answer as nvidia-smi, rocm-smi, xpu-smi and hl-smi do what this machine has."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from harness import PRINTER, Project, shell
from milabench.agent import probe

FORMATS = Path(__file__).parents[2] / "docs" / "reference" / "formats.md"
NVIDIA = """\
0, GPU-6b1c7f0a-0d5e-4a4e-0, NVIDIA H100 80GB HBM3, 81559, 550.54.15, 1650123000001, 00000000:18:00.0, 96.00.89.00.01
1, GPU-6b1c7f0a-0d5e-4a4e-1, NVIDIA H100 80GB HBM3, 81559, 550.54.15, [N/A], 00000000:2A:00.0, 96.00.89.00.01
"""
NVIDIA_MIXED = """\
0, GPU-1, NVIDIA GB10, [N/A], 580.1, [N/A], 0000000F:01:00.0, 9A.0B
"""
MIG_ROWS = """\
0, GPU-7fdaf0a5-0, NVIDIA A100-SXM4-80GB, 81920, 550.54.15, 1, 00000000:18:00.0, 92.00.45.00.03
1, GPU-7fdaf0a5-1, NVIDIA A100-SXM4-80GB, 81920, 550.54.15, 2, 00000000:2A:00.0, 92.00.45.00.03
2, GPU-7fdaf0a5-2, NVIDIA A100-SXM4-80GB, 81920, 550.54.15, 3, 00000000:3A:00.0, 92.00.45.00.03
"""
MIG_LISTED = """\
GPU 0: NVIDIA A100-SXM4-80GB (UUID: GPU-7fdaf0a5-0)
  MIG 1g.10gb     Device  0: (UUID: MIG-feb88891-0)
  MIG 3g.40gb     Device  1: (UUID: MIG-feb88891-1)
GPU 1: NVIDIA A100-SXM4-80GB (UUID: GPU-7fdaf0a5-1)
GPU 2: NVIDIA A100-SXM4-80GB (UUID: GPU-7fdaf0a5-2)
  MIG 7g.80gb     Device  0: (UUID: MIG-GPU-7fdaf0a5-2/0/0)
"""
MIG_XML = """\
<?xml version="1.0" ?>
<!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_v12.dtd">
<nvidia_smi_log>
  <driver_version>550.54.15</driver_version>
  <gpu id="00000000:18:00.0">
    <mig_mode><current_mig>Enabled</current_mig><pending_mig>Enabled</pending_mig></mig_mode>
    <mig_devices>
      <mig_device><index>0</index><gpu_instance_id>7</gpu_instance_id><compute_instance_id>0</compute_instance_id>
        <fb_memory_usage><total>9728 MiB</total><used>12 MiB</used></fb_memory_usage></mig_device>
      <mig_device><index>1</index><gpu_instance_id>2</gpu_instance_id><compute_instance_id>0</compute_instance_id>
        <fb_memory_usage><total>40192 MiB</total><used>37 MiB</used></fb_memory_usage></mig_device>
    </mig_devices>
    <uuid>GPU-7fdaf0a5-0</uuid>
    <fb_memory_usage><total>81920 MiB</total></fb_memory_usage>
  </gpu>
  <gpu id="00000000:2A:00.0">
    <mig_mode><current_mig>Disabled</current_mig><pending_mig>Disabled</pending_mig></mig_mode>
    <mig_devices>None</mig_devices>
    <uuid>GPU-7fdaf0a5-1</uuid>
  </gpu>
  <gpu id="00000000:3A:00.0">
    <mig_devices>
      <mig_device><index>0</index>
        <fb_memory_usage><total>Insufficient Permissions</total></fb_memory_usage></mig_device>
    </mig_devices>
    <uuid>GPU-7fdaf0a5-2</uuid>
  </gpu>
</nvidia_smi_log>
"""
ROCM = {
    "card0": {
        "Unique ID": "0x1a2b3c4d5e6f7081",
        "VRAM Total Memory (B)": "206141652992",
        "VRAM Total Used Memory (B)": "297304064",
        "Card Series": "AMD Instinct MI300X",
        "Card Model": "0x74a1",
    },
    "card1": {
        "Unique ID": "0x1a2b3c4d5e6f7082",
        "VRAM Total Memory (B)": "206141652992",
        "VRAM Total Used Memory (B)": "297304064",
        "Card series": "AMD Instinct MI300X",
    },
    "system": {"Driver version": "6.8.5"},
}
XPU_LIST = {
    "device_list": [
        {
            "device_function_type": "physical",
            "device_id": number,
            "device_name": "Intel(R) Data Center GPU Max 1550",
            "device_type": "GPU",
            "pci_bdf_address": f"0000:{29 + number}:00.0",
            "uuid": f"00000000-0000-001d-0000-002f0bd5808{number}",
            "vendor_name": "Intel(R) Corporation",
        }
        for number in range(2)
    ]
}
XPU_ONE = {"device_id": 0, "driver_version": "I915_24.4.12", "memory_physical_size_byte": "68719476736"}
HABANA = """\
0, 01P4-HL2080A0-15-TNBS81-03-07-05, HL-225, 98304, 1.16.0-94aaa2a
1, 01P4-HL2080A0-15-TNBS81-03-07-06, HL-225, 98304, 1.16.0-94aaa2a
"""


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder that PATH consists of, and no variable that selects devices."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin")
    for name in ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "ZE_AFFINITY_MASK", "HABANA_VISIBLE_MODULES"):
        monkeypatch.delenv(name, raising=False)
    return folder


def tool(folder: Path, name: str, output: str, script: str = "cat <<'END'\n{output}\nEND") -> None:
    """Write a program that answers as a vendor's tool."""
    path = folder / name
    path.write_text("#!/bin/sh\n" + script.replace("{output}", output.rstrip("\n")) + "\n")
    path.chmod(0o755)


def xpu(folder: Path) -> None:
    one = f"case \"$*\" in *-d*) cat <<'END'\n{json.dumps(XPU_ONE)}\nEND\n;; *) cat <<'END'\n{{output}}\nEND\n;; esac"
    tool(folder, "xpu-smi", json.dumps(XPU_LIST), one)


def mig(folder: Path, *modes: str, listed: str = MIG_LISTED, document: str = MIG_XML) -> None:
    """Write an nvidia-smi of as many GPUs as there are modes of MIG."""
    answers = {
        "*mig.mode.current*": "".join(f"{number}, {mode}\n" for number, mode in enumerate(modes)),
        "--query-gpu=*": "".join(MIG_ROWS.splitlines(keepends=True)[: len(modes)]),
        "-L": listed,
        "'-q -x'": document,
    }
    cases = "".join(f"{words}) cat <<'END'\n{answer}END\n;;\n" for words, answer in answers.items())
    tool(folder, "nvidia-smi", "", f'case "$*" in\n{cases}*) exit 2;; esac')


def described(arch: str | None = None) -> tuple[str, list[dict[str, Any]], str | None]:
    found = probe.facts(arch, {})
    return found["arch"], found["devices"], found["driver"]


def test_nvidia_devices_are_found_with_memory_driver_and_serial(tools: Path) -> None:
    tool(tools, "nvidia-smi", NVIDIA)
    arch, devices, driver = described()
    assert (arch, driver, [each["id"] for each in devices]) == ("cuda", "550.54.15", [0, 1])
    assert {each["name"] for each in devices} == {"NVIDIA H100 80GB HBM3"}
    assert devices[0]["memory_bytes"] == 81559 * 2**20
    assert devices[0]["serial"] == "1650123000001"


def test_a_device_whose_memory_is_not_told_is_a_device(tools: Path) -> None:
    tool(tools, "nvidia-smi", NVIDIA_MIXED)
    arch, devices, _ = described()
    assert (arch, [(each["name"], each["memory_bytes"]) for each in devices]) == ("cuda", [("NVIDIA GB10", None)])


def test_amd_devices_are_found(tools: Path) -> None:
    tool(tools, "rocm-smi", json.dumps(ROCM))
    arch, devices, driver = described()
    assert (arch, driver) == ("rocm", "6.8.5")
    assert [(each["id"], each["name"], each["memory_bytes"]) for each in devices] == [
        (0, "AMD Instinct MI300X", 206141652992),
        (1, "AMD Instinct MI300X", 206141652992),
    ]


def test_intel_devices_are_found(tools: Path) -> None:
    xpu(tools)
    arch, devices, driver = described()
    assert (arch, driver, len(devices)) == ("xpu", "I915_24.4.12", 2)
    assert devices[1] == {
        "id": 1,
        "uuid": "00000000-0000-001d-0000-002f0bd58081",
        "name": "Intel(R) Data Center GPU Max 1550",
        "memory_bytes": 2**36,
    }


def test_habana_devices_are_found(tools: Path) -> None:
    tool(tools, "hl-smi", HABANA)
    arch, devices, driver = described()
    assert (arch, driver, [each["id"] for each in devices]) == ("hpu", "1.16.0-94aaa2a", [0, 1])
    assert devices[0]["memory_bytes"] == 98304 * 2**20


def test_mig_slices_are_devices_instead_of_the_gpu_they_are_cut_from(tools: Path) -> None:
    mig(tools, "Enabled", "Disabled", "Enabled")
    arch, devices, driver = described()
    assert (arch, driver) == ("cuda", "550.54.15")
    assert [(each["id"], each["uuid"], each["name"], each["memory_bytes"]) for each in devices] == [
        (0, "MIG-feb88891-0", "NVIDIA A100-SXM4-80GB MIG 1g.10gb", 9728 * 2**20),
        (1, "MIG-feb88891-1", "NVIDIA A100-SXM4-80GB MIG 3g.40gb", 40192 * 2**20),
        (2, "GPU-7fdaf0a5-1", "NVIDIA A100-SXM4-80GB", 81920 * 2**20),
        (3, "MIG-GPU-7fdaf0a5-2/0/0", "NVIDIA A100-SXM4-80GB MIG 7g.80gb", None),
    ]
    assert [each.get("parent") for each in devices] == [0, 0, None, 2]
    named = set(re.findall(r"\w+", re.search(r"devices with (.*?; driver)\)", FORMATS.read_text())[1]))  # type: ignore[index]
    assert {key for each in devices for key in each} <= named


@pytest.mark.parametrize("modes", [("Disabled", "Disabled"), ("[N/A]", "[N/A]")])
def test_gpus_that_could_be_divided_and_are_not_keep_their_numbers(tools: Path, modes: tuple[str, str]) -> None:
    mig(tools, *modes)
    assert [(each["id"], each["uuid"]) for each in described()[1]] == [(0, "GPU-7fdaf0a5-0"), (1, "GPU-7fdaf0a5-1")]


def test_a_divided_gpu_without_slices_is_no_device(tools: Path) -> None:
    mig(tools, "Enabled", "Disabled", listed=MIG_LISTED.replace("  MIG", "  none"))
    assert [(each["id"], each["uuid"]) for each in described()[1]] == [(0, "GPU-7fdaf0a5-1")]


def test_slices_whose_memory_is_not_told_are_devices(tools: Path) -> None:
    mig(tools, "Enabled", document="<?xml\n")
    assert [(each["uuid"], each["memory_bytes"]) for each in described()[1]] == [
        ("MIG-feb88891-0", None),
        ("MIG-feb88891-1", None),
    ]


@pytest.mark.parametrize(
    ("shown", "wanted"),
    [
        ("0", ["MIG-feb88891-0", "MIG-feb88891-1"]),
        ("1", ["GPU-7fdaf0a5-1"]),
        ("GPU-7fdaf0a5-0", ["MIG-feb88891-0", "MIG-feb88891-1"]),
        ("MIG-feb88891-1", ["MIG-feb88891-1"]),
        ("MIG-GPU-7fdaf0a5-2/0/0,1", ["GPU-7fdaf0a5-1", "MIG-GPU-7fdaf0a5-2/0/0"]),
    ],
)
def test_the_operators_own_selection_of_slices_is_kept(
    tools: Path, monkeypatch: pytest.MonkeyPatch, shown: str, wanted: list[str]
) -> None:
    mig(tools, "Enabled", "Disabled", "Enabled")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", shown)
    assert [each["uuid"] for each in described()[1]] == wanted


SHOWN = [
    (("nvidia-smi", NVIDIA), ("CUDA_VISIBLE_DEVICES", "1"), [1]),
    (("nvidia-smi", NVIDIA), ("CUDA_VISIBLE_DEVICES", "GPU-6b1c7f0a-0d5e-4a4e-1"), [1]),
    (("nvidia-smi", NVIDIA), ("CUDA_VISIBLE_DEVICES", "0, 1"), [0, 1]),
    (("nvidia-smi", NVIDIA), ("CUDA_VISIBLE_DEVICES", ""), []),
    (("nvidia-smi", NVIDIA), ("CUDA_VISIBLE_DEVICES", "-1"), []),
    (("rocm-smi", json.dumps(ROCM)), ("ROCR_VISIBLE_DEVICES", "1"), [1]),
    (("hl-smi", HABANA), ("HABANA_VISIBLE_MODULES", "0"), [0]),
]


@pytest.mark.parametrize(("answer", "shown", "wanted"), SHOWN)
def test_the_operators_own_selection_of_devices_is_kept(
    tools: Path, monkeypatch: pytest.MonkeyPatch, answer: tuple[str, str], shown: tuple[str, str], wanted: list[int]
) -> None:
    tool(tools, *answer)
    monkeypatch.setenv(*shown)
    assert [each["id"] for each in described()[1]] == wanted


QUIET = {
    "fails": "exit 9",
    "says that there is no driver": "echo 'NVIDIA-SMI has failed because it could not communicate' ; exit 9",
    "prints nothing": "true",
    "prints that there are no devices": "echo 'No devices were found'",
    "prints something else": "echo '{\"a\": [1'",
    "prints bytes that are no text": "printf '\\377\\376\\n'",
}


@pytest.mark.parametrize("script", QUIET.values(), ids=QUIET)
@pytest.mark.parametrize("name", ["nvidia-smi", "rocm-smi", "xpu-smi", "hl-smi"])
def test_a_tool_that_gives_no_answer_means_no_device(tools: Path, name: str, script: str) -> None:
    tool(tools, name, "", script)
    assert described() == ("cpu", [], None)


def test_without_any_tool_the_machine_is_a_cpu(tools: Path) -> None:
    found = probe.facts(None, {})
    assert (found["arch"], found["devices"]) == ("cpu", [])
    assert found["cpus"] >= 1
    assert found["memory_bytes"] > 2**28


def test_the_asked_architecture_is_the_only_one_looked_for(tools: Path) -> None:
    tool(tools, "nvidia-smi", NVIDIA)
    tool(tools, "hl-smi", HABANA)
    assert [described(arch)[0:2][0] for arch in (None, "hpu", "cpu")] == ["cuda", "hpu", "cpu"]
    assert described("rocm")[1] == []


@pytest.mark.usefixtures("tools")
def test_a_run_places_processes_on_the_devices_that_were_found(project: Project, tools: Path) -> None:
    tool(tools, "nvidia-smi", NVIDIA)
    project.environ["PATH"] = os.environ["PATH"]
    project.suite(printer=shell(f"echo $CUDA_VISIBLE_DEVICES; {PRINTER}", plan={"method": "per_gpu"}))
    assert project.verb("run").code == 0
    run = project.run()
    assert run.tags() == ("printer.D0", "printer.D1")
    assert [run.files(tag).stdout.read_text().split()[0] for tag in run.tags()] == ["0", "1"]
    assert run.facts()["system"]["driver"] == "550.54.15"
    assert project.report()["printer"]["devices"] == [0, 1]


@pytest.mark.usefixtures("tools")
def test_a_run_shows_a_process_the_slice_that_it_is_placed_on(project: Project, tools: Path) -> None:
    mig(tools, "Enabled", "Disabled")
    project.environ["PATH"] = os.environ["PATH"]
    said = shell(f"echo $CUDA_VISIBLE_DEVICES; {PRINTER}", plan={"method": "per_gpu"})
    project.suite(printer=said, all=shell(PRINTER, plan={"method": "njobs", "n": 1}))
    done = project.verb("run")
    assert done.code == 0, done.err
    run = project.run()
    assert run.tags() == ("printer.D0", "printer.D1", "printer.D2")
    shown = [run.files(tag).stdout.read_text().split()[0] for tag in run.tags()]
    assert shown == ["MIG-feb88891-0", "MIG-feb88891-1", "GPU-7fdaf0a5-1"]
    skipped = project.report()["all"]["skipped"]
    assert skipped.startswith("njobs would give one process several MIG slices, and CUDA shows a process one only")


@pytest.mark.usefixtures("tools")
def test_asking_for_more_devices_than_there_are_is_refused(project: Project, tools: Path) -> None:
    tool(tools, "nvidia-smi", NVIDIA)
    project.environ["PATH"] = os.environ["PATH"]
    project.suite(printer=shell(PRINTER))
    project.write(
        "system.yaml", "system: {arch: cuda, gpu: {count: 4}, nodes: [{name: local, ip: localhost, main: true}]}"
    )
    done = project.verb("run", "--system", "system.yaml")
    assert (done.code, "the system asks for 4 cuda devices, this machine has 2" in done.err) == (4, True)
