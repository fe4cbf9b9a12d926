"""Read the conditions of a node from trees of /proc and /sys such as kernels show them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from milabench.agent import conditions

GROUP_2 = "0::/job/step\n"
GROUP_1 = "9:name=systemd:/\n4:memory:/job\n2:cpu,cpuacct:/job\n0::/\n"


def tree(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


CPUS: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
    "a machine that tells nothing": (
        {},
        {"governors": {}, "driver": None, "boost": None, "limited_khz": None, "quota_cores": None},
    ),
    "governors of two kinds": (
        {
            "sys/devices/system/cpu/cpufreq/policy0/scaling_governor": "powersave\n",
            "sys/devices/system/cpu/cpufreq/policy1/scaling_governor": "powersave\n",
            "sys/devices/system/cpu/cpufreq/policy2/scaling_governor": "performance\n",
            "sys/devices/system/cpu/cpufreq/policy0/scaling_driver": "intel_pstate\n",
        },
        {"governors": {"powersave": 2, "performance": 1}, "driver": "intel_pstate", "limited_khz": None},
    ),
    "a clock that is held down": (
        {
            "sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq": "2000000\n",
            "sys/devices/system/cpu/cpufreq/policy0/cpuinfo_max_freq": "3500000\n",
            "sys/devices/system/cpu/cpufreq/policy1/scaling_max_freq": "3500000\n",
            "sys/devices/system/cpu/cpufreq/policy1/cpuinfo_max_freq": "3500000\n",
        },
        {"limited_khz": (2000000, 3500000)},
    ),
    "boost of Intel": ({"sys/devices/system/cpu/intel_pstate/no_turbo": "1\n"}, {"boost": False}),
    "boost of others": ({"sys/devices/system/cpu/cpufreq/boost": "1\n"}, {"boost": True}),
    "a quota of version 2, the tightest of nested ones": (
        {
            "proc/self/cgroup": GROUP_2,
            "sys/fs/cgroup/job/step/cpu.max": "max 100000\n",
            "sys/fs/cgroup/job/cpu.max": "150000 100000\n",
        },
        {"quota_cores": 1.5},
    ),
    "a quota inside a container, which is its own root": (
        {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "200000 100000\n"},
        {"quota_cores": 2.0},
    ),
    "a quota of version 1": (
        {
            "proc/self/cgroup": GROUP_1,
            "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us": "50000\n",
            "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us": "100000\n",
        },
        {"quota_cores": 0.5},
    ),
    "no quota of version 1": (
        {
            "proc/self/cgroup": GROUP_1,
            "sys/fs/cgroup/cpu/job/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/cpu/job/cpu.cfs_period_us": "100000\n",
        },
        {"quota_cores": None},
    ),
    "what is no number": (
        {"proc/self/cgroup": "garbage\n" + GROUP_2, "sys/fs/cgroup/job/cpu.max": "a b c\n"},
        {"quota_cores": None},
    ),
}


@pytest.mark.parametrize(("files", "wanted"), CPUS.values(), ids=CPUS)
def test_the_processor_is_read(tmp_path: Path, files: dict[str, str], wanted: dict[str, Any]) -> None:
    found = conditions.cpu(tree(tmp_path, files))
    assert {name: found[name] for name in wanted} == wanted
    assert found["cores"] == os.cpu_count()


MEMINFO = "MemTotal:  1000 kB\nMemAvailable:  600 kB\nSwapTotal:  100 kB\nSwapFree:  30 kB\nHugePages_Total:  0\n"
MEMORIES: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
    "a machine that tells nothing": ({}, {"total_bytes": None, "available_bytes": None, "swap_used_bytes": None}),
    "a machine alone": (
        {"proc/meminfo": MEMINFO},
        {"total_bytes": 1024000, "available_bytes": 614400, "swap_used_bytes": 71680, "limit_bytes": None},
    ),
    "a limit of version 2, whose caches count as left": (
        {
            "proc/self/cgroup": GROUP_2,
            "sys/fs/cgroup/job/step/memory.max": "max\n",
            "sys/fs/cgroup/job/memory.max": "5000\n",
            "sys/fs/cgroup/job/memory.current": "3000\n",
            "sys/fs/cgroup/job/memory.stat": "anon 1\ninactive_file 500\n",
        },
        {"limit_bytes": 5000, "left_bytes": 2500},
    ),
    "a limit of version 1": (
        {
            "proc/self/cgroup": GROUP_1,
            "sys/fs/cgroup/memory/job/memory.limit_in_bytes": "4000\n",
            "sys/fs/cgroup/memory/job/memory.usage_in_bytes": "1000\n",
        },
        {"limit_bytes": 4000, "left_bytes": 3000},
    ),
    "no limit of version 1": (
        {
            "proc/self/cgroup": GROUP_1,
            "sys/fs/cgroup/memory/job/memory.limit_in_bytes": f"{2**63 - 4096}\n",
            "sys/fs/cgroup/memory/job/memory.usage_in_bytes": "1000\n",
        },
        {"limit_bytes": None, "left_bytes": None},
    ),
}


@pytest.mark.parametrize(("files", "wanted"), MEMORIES.values(), ids=MEMORIES)
def test_memory_is_read(tmp_path: Path, files: dict[str, str], wanted: dict[str, Any]) -> None:
    found = conditions.memory(tree(tmp_path, files))
    assert {name: found[name] for name in wanted} == wanted


KERNELS: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
    "one that tells nothing": ({}, {"clock": None, "huge_pages": None, "numa_nodes": None, "numa_balancing": None}),
    "one that tells all": (
        {
            "sys/devices/system/clocksource/clocksource0/current_clocksource": "hpet\n",
            "sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never\n",
            "sys/devices/system/node/node0/cpulist": "0\n",
            "sys/devices/system/node/node1/cpulist": "1\n",
            "proc/sys/kernel/numa_balancing": "1\n",
            "proc/sys/kernel/core_pattern": "|/usr/bin/catch\n",
        },
        {
            "clock": "hpet",
            "huge_pages": "madvise",
            "numa_nodes": 2,
            "numa_balancing": True,
            "core_pattern": "|/usr/bin/catch",
        },
    ),
}


@pytest.mark.parametrize(("files", "wanted"), KERNELS.values(), ids=KERNELS)
def test_the_kernel_is_read(tmp_path: Path, files: dict[str, str], wanted: dict[str, Any]) -> None:
    found = conditions.kernel(tree(tmp_path, files))
    assert {name: found[name] for name in wanted} == wanted


def test_load_is_read(tmp_path: Path) -> None:
    some = "some avg10=12.50 avg60=1.00 avg300=0.00 total=5\nfull avg10=1.00 avg60=0.00 avg300=0.00 total=1\n"
    root = tree(tmp_path, {"proc/loadavg": "1.25 0.5 0.2 1/86 6215\n", "proc/pressure/cpu": some})
    assert conditions.load(root) == {"mean_1min": 1.25, "waiting": {"cpu": 0.125, "memory": None, "io": None}}


def test_load_that_is_not_told_is_not_known(tmp_path: Path) -> None:
    assert conditions.load(tmp_path) == {"mean_1min": None, "waiting": {"cpu": None, "memory": None, "io": None}}


def test_a_folder_that_is_not_there_is_looked_up_where_it_would_be(tmp_path: Path) -> None:
    found, parent = conditions.disk(tmp_path / "a" / "b"), conditions.disk(tmp_path)
    assert found is not None
    assert parent is not None
    assert (found["device"], found["writable"]) == (parent["device"], True)
    assert found["path"] == str(tmp_path / "a" / "b")
    assert 0 < found["free_bytes"] <= found["total_bytes"]
    assert not (tmp_path / "a").exists()


def test_the_kind_of_a_file_system_is_that_of_the_last_mount_above(tmp_path: Path) -> None:
    mounts = (
        f"/dev/a / ext4 rw 0 0\nserver:/x {tmp_path.parent} nfs4 rw 0 0\nshort\n/dev/b {tmp_path}/else xfs rw 0 0\n"
    )
    root = tree(tmp_path / "root", {"proc/self/mounts": mounts})
    found = conditions.disk(tmp_path, root)
    assert found is not None
    assert found["kind"] == "nfs4"


def test_blanks_in_the_place_of_a_mount_are_read(tmp_path: Path) -> None:
    place = tmp_path / "my disk"
    place.mkdir()
    root = tree(tmp_path / "root", {"proc/self/mounts": f"x {tmp_path}/my\\040disk tmpfs rw 0 0\n"})
    found = conditions.disk(place, root)
    assert found is not None
    assert found["kind"] == "tmpfs"


def test_unlimited_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda number: (64, -1))
    assert conditions.limits()["nofile"] == [64, None]


def test_all_of_it_can_be_sent(tmp_path: Path) -> None:
    asked = {
        "arch": "cpu",
        "folders": {"base": str(tmp_path)},
        "files": [str(tmp_path / "token"), __file__],
        "environments": {},
        "data": {},
    }
    found = json.loads(json.dumps(conditions.conditions(asked)))
    assert found["files"] == [__file__]
    assert found["accelerators"] is None
    assert found["disks"]["base"]["free_bytes"] > 0
    assert 0 <= found["load"]["busy_cores"] <= (os.cpu_count() or 1)
