"""Read recordings of NVML and of amdgpu's files, by NVIDIA's own binding and through a tree of files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hardware import RECORDINGS, NvmlLibrary, lay, nvml, recorded
from milabench.agent.monitor.amd import Amd
from milabench.agent.monitor.intel import XpuRows, gaudi_rows
from milabench.agent.monitor.nvidia import Nvidia, binding
from milabench.agent.monitor.reader import Missing

FIRST, SECOND = "GPU-6b1c7f0a-0d5e-4a4e-0", "GPU-6b1c7f0a-0d5e-4a4e-1"
HOPPERS = [{"id": 0, "uuid": FIRST}, {"id": 1, "uuid": SECOND}]
GIB = 1 << 30


# NVIDIA ---------------------------------------------------------------------------------------------------------------


def nvidia(recording: str, devices: list[dict[str, Any]]) -> tuple[Nvidia, NvmlLibrary]:
    module, library = nvml(recorded(recording))
    return Nvidia(module, devices), library


def test_all_that_nvml_tells_of_a_gpu() -> None:
    reader, _ = nvidia("nvml-hopper.json", HOPPERS)
    assert reader.by == "NVML, driver 550.54.15"
    first, second = reader.read()["devices"]
    assert first == {
        "id": 0,
        "uuid": FIRST,
        "load": 0.97,
        "memory_bytes": 60 * GIB,
        "temperature_c": 61,
        "power_w": 612.345,
        "energy_j": 918273.645,
        "clock_mhz": 1980,
        "max_clock_mhz": 1980,
        "memory_clock_mhz": 2619,
        "throttle": [],
        "ecc": {"corrected": 3, "uncorrected": 0},
    }
    assert (second["load"], second["ecc"]["uncorrected"]) == (0.0, 1)


def test_that_a_gpu_idles_is_no_throttling_and_a_power_cap_is() -> None:
    reader, _ = nvidia("nvml-hopper.json", HOPPERS)
    assert [each["throttle"] for each in reader.read()["devices"]] == [[], []]
    assert [each["throttle"] for each in reader.read()["devices"]] == [["power cap"], []]


def test_an_older_driver_and_a_gpu_without_counters_are_asked_for_what_they_have() -> None:
    reader, library = nvidia("nvml-workstation.json", [{"id": 3, "uuid": "GPU-1"}])
    for _ in range(3):
        (device,) = reader.read()["devices"]
    assert device == {
        "id": 3,
        "uuid": "GPU-1",
        "load": 0.5,
        "memory_bytes": 585740288,
        "temperature_c": 88,
        "clock_mhz": 1200,
        "max_clock_mhz": 2100,
        "memory_clock_mhz": 7000,
        "throttle": ["hw slowdown", "thermal", "hw thermal"],
    }
    assert library.calls["nvmlDeviceGetPowerUsage"] == 1  # what it has not is not asked again
    assert library.calls["nvmlDeviceGetUtilizationRates"] == 3


def test_a_gpu_that_is_lost_leaves_the_others_and_comes_back() -> None:
    reader, library = nvidia("nvml-hopper.json", HOPPERS)
    library.lost.add(FIRST)
    assert [each["id"] for each in reader.read()["devices"]] == [1]
    library.lost.clear()
    assert [each["id"] for each in reader.read()["devices"]] == [0, 1]
    library.lost |= {FIRST, SECOND}
    with pytest.raises(Missing, match=f"NVML: {FIRST}: GPU is lost"):
        reader.read()


def test_a_gpu_that_cannot_be_found_at_the_start_leaves_the_others_and_is_named() -> None:
    unknown = {"id": 2, "uuid": "GPU-that-fell-off"}
    reader, _ = nvidia("nvml-hopper.json", [unknown, *HOPPERS])
    assert [each["id"] for each in reader.read()["devices"]] == [0, 1]
    assert reader.by == "NVML, driver 550.54.15; without GPU-that-fell-off: Not Found"


def test_slices_have_their_own_memory_and_the_power_stands_with_their_gpu() -> None:
    gpu = "GPU-7fdaf0a5-0"
    slices = [{"id": n, "uuid": f"MIG-feb88891-{n}", "gpu_uuid": gpu, "parent": 0} for n in range(2)]
    reader, _ = nvidia("nvml-mig.json", slices)
    for _ in range(2):
        whole, first, second = reader.read()["devices"]
    assert (whole["uuid"], whole["power_w"], whole["energy_j"], "id" in whole) == (gpu, 250.0, 5.0, False)
    assert (first["id"], first["uuid"], first["memory_bytes"]) == (0, "MIG-feb88891-0", 12 << 20)
    assert (second["id"], second["memory_bytes"], second["clock_mhz"]) == (1, 37 << 20, 1410)
    assert not {"power_w", "energy_j", "load"} & {*first, *second}


def test_a_whole_gpu_beside_divided_ones_is_a_device_of_its_own() -> None:
    devices = [{"id": 5, "uuid": FIRST, "gpu_uuid": FIRST}]
    reader, _ = nvidia("nvml-hopper.json", devices)
    (device,) = reader.read()["devices"]
    assert (device["id"], device["uuid"], device["power_w"]) == (5, FIRST, 612.345)


@pytest.mark.parametrize("path", ["", "/nowhere/pynvml.py"])
def test_without_the_binding_it_is_said_what_is_missing(path: str) -> None:
    with pytest.raises(Missing, match="nvidia-ml-py"):
        binding(path)


def test_without_a_driver_nvml_says_so() -> None:
    module, _ = nvml(recorded("nvml-hopper.json"))
    module.nvmlLib = None  # the binding looks for the library itself
    with pytest.raises(Missing, match="NVML Shared Library Not Found"):
        Nvidia(module, HOPPERS)


def test_a_device_that_nvml_does_not_know_is_said() -> None:
    module, _ = nvml(recorded("nvml-hopper.json"))
    with pytest.raises(Missing, match="Not Found"):
        Nvidia(module, [{"id": 0, "uuid": "GPU-of-another-machine"}])


# AMD ------------------------------------------------------------------------------------------------------------------

MI300, MI200 = "sys/devices/pci0000:00/0000:43:00.0", "sys/devices/pci0000:00/0000:83:00.0"
CARDS = [{"id": 0, "uuid": "0x1a2b3c4d5e6f7082"}, {"id": 1, "uuid": "0x1a2b3c4d5e6f7081"}]


@pytest.fixture
def amd_root(tmp_path: Path) -> Path:
    return lay(tmp_path, recorded("sysfs-amd.json"))


def by_id(reader: Amd) -> dict[int, dict[str, Any]]:
    return {each["id"]: each for each in reader.read()["devices"]}


def test_all_that_amdgpu_tells_of_a_card_found_by_its_unique_id(amd_root: Path) -> None:
    found = by_id(Amd(CARDS, amd_root))
    assert found[1] == {
        "id": 1,
        "uuid": "0x1a2b3c4d5e6f7081",
        "load": 0.42,
        "memory_bytes": 297304064,
        "temperature_c": 61.0,
        "power_w": 551.0,
        "energy_j": 1000.0,
        "clock_mhz": 1700,
        "max_clock_mhz": 2100,
        "memory_clock_mhz": 1300,
        "throttle": [],
        "ecc": {"corrected": 12, "uncorrected": 1},
    }


def test_an_older_form_of_the_metrics_says_why_the_card_throttles(amd_root: Path) -> None:
    found = by_id(Amd(CARDS, amd_root))
    assert (found[0]["throttle"], found[0]["energy_j"]) == (["power cap", "thermal"], 2000.0)
    assert "ecc" not in found[0]


def test_a_newer_form_counts_what_throttles_so_that_growth_says_it(amd_root: Path) -> None:
    reader = Amd(CARDS, amd_root)
    by_id(reader)
    metrics = bytearray((amd_root / MI300 / "gpu_metrics").read_bytes())
    metrics[112:116] = (25).to_bytes(4, "little")  # ppt_residency_acc
    (amd_root / MI300 / "gpu_metrics").write_bytes(metrics)
    assert by_id(reader)[1]["throttle"] == ["power cap"]
    assert by_id(reader)[1]["throttle"] == []


@pytest.mark.parametrize("content", [b"", b"\x04\x00\x09\x09", b"\x08\x00\x01\x06abcd"])
def test_metrics_that_are_unknown_or_cut_short_tell_nothing_else_is_told(amd_root: Path, content: bytes) -> None:
    (amd_root / MI300 / "gpu_metrics").write_bytes(content)
    found = by_id(Amd(CARDS, amd_root))[1]
    assert "energy_j" not in found
    assert found["power_w"] == 551.0


def test_cards_without_a_unique_id_are_taken_by_the_order_of_their_addresses(amd_root: Path) -> None:
    for card in (MI300, MI200):
        (amd_root / card / "unique_id").unlink()
    found = by_id(Amd([{"id": 0, "uuid": None}, {"id": 1, "uuid": None}], amd_root))
    assert (found[0]["energy_j"], found[1]["energy_j"]) == (1000.0, 2000.0)
    with pytest.raises(Missing, match="none of the run's devices"):
        Amd([{"id": 0, "uuid": None}], amd_root)


def test_without_cards_it_is_said(tmp_path: Path) -> None:
    with pytest.raises(Missing, match="no card of amdgpu"):
        Amd(CARDS, tmp_path)


def test_a_file_that_goes_away_leaves_the_rest(amd_root: Path) -> None:
    reader = Amd(CARDS, amd_root)
    (amd_root / MI300 / "gpu_busy_percent").unlink()
    found = by_id(reader)[1]
    assert "load" not in found
    assert found["clock_mhz"] == 1700


# Intel ----------------------------------------------------------------------------------------------------------------


def rows(text: str, read: Any) -> list[Any]:
    return [read([word.strip() for word in line.split(",")]) for line in text.splitlines()]


def test_the_heading_of_xpu_smi_says_what_stands_where() -> None:
    text = (RECORDINGS / "xpu-smi-dump.txt").read_text()
    heading, first, second = rows(text, XpuRows({0: "u-0", 1: "u-1"}))
    assert heading is None
    assert first == {
        "id": 0,
        "uuid": "u-0",
        "load": 0.125,
        "power_w": 312.4,
        "clock_mhz": 1600.0,
        "temperature_c": 51.0,
        "energy_j": 20814.55,
        "memory_bytes": 30 << 20,
    }
    assert "temperature_c" not in second


def test_rows_of_xpu_smi_before_a_heading_and_of_devices_that_the_run_has_not_tell_nothing() -> None:
    text = (RECORDINGS / "xpu-smi-dump.txt").read_text()
    assert rows(text, XpuRows({}))[1:] == [None, None]
    assert rows(text.partition("\n")[2], XpuRows({0: None, 1: None})) == [None, None]


def test_a_row_of_hl_smi() -> None:
    columns = ("index", "uuid", "utilization.aip", "memory.used", "temperature.aip", "power.draw")
    first, second = rows((RECORDINGS / "hl-smi.txt").read_text(), gaudi_rows({0}, columns))
    uuid = "01P4-HL2080A0-15-TNBS81-03-07-05"
    assert first == {
        "id": 0,
        "uuid": uuid,
        "load": 0.55,
        "memory_bytes": GIB,
        "temperature_c": 47.0,
        "power_w": 310.0,
    }
    assert second is None


def test_recordings_are_what_they_say_they_are() -> None:
    for path in RECORDINGS.glob("*.json"):
        assert json.loads(path.read_text()), path
