"""Read the conditions of a node from trees of /proc and /sys such as kernels show them."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

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
            "sys/fs/cgroup/job/memory.stat": "anon 1\ninactive_file 500\nactive_file 70\nslab_reclaimable 8\n",
        },
        {"limit_bytes": 5000, "left_bytes": 2578},
    ),
    "a limit of version 1, of which a group below has read files": (
        {
            "proc/self/cgroup": GROUP_1,
            "sys/fs/cgroup/memory/job/memory.limit_in_bytes": "4000\n",
            "sys/fs/cgroup/memory/job/memory.usage_in_bytes": "1000\n",
            "sys/fs/cgroup/memory/job/memory.stat": "inactive_file 1\nactive_file 2\n"
            "total_inactive_file 100\ntotal_active_file 20\n",
        },
        {"limit_bytes": 4000, "left_bytes": 3120},
    ),
    "caches of more than is used": (
        {
            "proc/self/cgroup": "0::/\n",
            "sys/fs/cgroup/memory.max": "4000\n",
            "sys/fs/cgroup/memory.current": "1000\n",
            "sys/fs/cgroup/memory.stat": "active_file 1004\n",
        },
        {"limit_bytes": 4000, "left_bytes": 4000},
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


Look = dict[int, tuple[int, int]]  # by core the ticks that it has been busy, and idle
LOADS: dict[str, tuple[list[Look], float | None, float]] = {
    "nothing": ([{0: (5, 5), 1: (5, 5)}, {0: (5, 15), 1: (5, 15)}], 0.0, 0.1),
    "a moment": ([{0: (0, 0), 1: (0, 0)}, {0: (8, 2), 1: (1, 9)}, {0: (10, 40), 1: (5, 45)}], 0.3, 0.5),
    "for long": ([{0: (0, 0), 1: (0, 0)}, {0: (10, 0), 1: (0, 10)}, {0: (50, 0), 1: (15, 35)}], 1.3, 0.5),
    "neighbours": ([{0: (0, 0), 9: (0, 0)}, {0: (0, 10), 9: (10, 0)}], 0.0, 0.1),
    "cores that are numbered otherwise": ([{7: (0, 0)}, {7: (10, 0)}], None, 0.1),
    "time that runs back": ([{0: (10, 10)}, {0: (5, 5)}], None, 0.1),
    "nothing is told": ([{}, {}], None, 0.1),
}


@pytest.mark.parametrize(("looks", "busy", "took_s"), LOADS.values(), ids=LOADS)
def test_the_cores_that_may_be_used_are_looked_at_longer_where_they_are_at_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, looks: list[Look], busy: float | None, took_s: float
) -> None:
    states, waited = iter(looks), list[float]()

    def show(seconds: float = 0) -> None:
        rows = [f"cpu{core} {busy} 0 0 {idle} 0 0 0 0 0 0" for core, (busy, idle) in next(states).items()]
        tree(tmp_path, {"proc/stat": "\n".join(["cpu  1 2 3 4 5 6 7 8 9 10", *rows, "intr 7"])})
        waited.append(seconds)

    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1})
    monkeypatch.setattr("time.sleep", show)
    show()
    assert conditions.busy_cores(tmp_path) == busy
    assert sum(waited) == pytest.approx(took_s)


def test_a_folder_that_is_not_there_is_looked_up_where_it_would_be(tmp_path: Path) -> None:
    found, parent = conditions.disk(tmp_path / "a" / "b"), conditions.disk(tmp_path)
    assert found is not None
    assert parent is not None
    assert (found["device"], found["writable"]) == (parent["device"], True)
    assert found["path"] == str(tmp_path / "a" / "b")
    assert 0 < found["free_bytes"] <= found["total_bytes"]
    assert not (tmp_path / "a").exists()


def place(folder: Path, kind: str) -> Path:
    """Return a folder that can be neither reached nor made."""
    if kind == "a file is in its place":
        folder.joinpath("file").write_text("")
        folder.joinpath("file").chmod(0o755)
        return folder / "file"
    if kind == "a file is in its way":
        return place(folder, "a file is in its place") / "a" / "b"
    if kind == "a link to nothing is in its place":
        folder.joinpath("link").symlink_to(folder / "gone")
        return folder / "link"
    if kind == "a link to nothing is in its way":
        return place(folder, "a link to nothing is in its place") / "a" / "b"
    if kind == "links in a circle":
        folder.joinpath("round").symlink_to(folder / "round")
        return folder / "round"
    return folder / ("x" * 300) if kind == "a name that is too long" else folder / "a\0b"


UNREACHABLE = (
    *("a file is in its place", "a file is in its way", "links in a circle"),
    *("a link to nothing is in its place", "a link to nothing is in its way"),
    *("a name that is too long", "a zero byte in its name"),
)


@pytest.mark.parametrize("kind", UNREACHABLE)
def test_a_folder_that_can_be_neither_reached_nor_made_is_not_writable(tmp_path: Path, kind: str) -> None:
    found = conditions.disk(place(tmp_path, kind))
    assert found is not None
    assert (found["writable"], found["free_bytes"] > 0) == (False, True)


def test_a_folder_that_may_not_be_looked_into_is_not_writable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    locked = tmp_path / "locked"
    locked.mkdir()

    def refusing(look: Any) -> Any:
        def looked(path: Path, *arguments: Any, **options: Any) -> Any:
            if locked in path.parents:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
            return look(path, *arguments, **options)

        return looked

    for name in ("stat", "lstat"):
        monkeypatch.setattr(Path, name, refusing(getattr(Path, name)))
    found = conditions.disk(locked / "base" / "runs")
    assert found is not None
    assert (found["writable"], found["path"]) == (False, str(locked / "base" / "runs"))
    told = conditions.conditions({**ASKED, "files": [str(locked / "token")]})
    assert told["files"] == []


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


ASKED: dict[str, Any] = {"arch": "cpu", "folders": {}, "files": [], "environments": {}, "data": {}}
FILES = (
    *("proc/self/mounts", "proc/self/cgroup", "proc/meminfo", "proc/stat", "proc/loadavg"),
    *(f"proc/pressure/{name}" for name in ("cpu", "memory", "io")),
    *("proc/sys/kernel/numa_balancing", "proc/sys/kernel/core_pattern"),
    *(f"sys/fs/cgroup/{name}" for name in ("cpu.max", "memory.max", "memory.current", "memory.stat")),
    *(f"sys/fs/cgroup/cpu/{name}" for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us")),
    *(f"sys/fs/cgroup/memory/memory.{name}" for name in ("limit_in_bytes", "usage_in_bytes", "stat")),
    *(f"sys/devices/system/cpu/cpufreq/policy0/scaling_{name}" for name in ("max_freq", "governor", "driver")),
    *("sys/devices/system/cpu/cpufreq/policy0/cpuinfo_max_freq", "sys/devices/system/cpu/cpufreq/boost"),
    *("sys/devices/system/cpu/intel_pstate/no_turbo", "sys/devices/system/node/node0/cpulist"),
    *("sys/devices/system/clocksource/clocksource0/current_clocksource", "sys/kernel/mm/transparent_hugepage/enabled"),
)
WORDS = (
    *(
        "0",
        "1",
        "-1",
        "\u00b2",
        "\u0663",
        "1_0",
        "1.5",
        "1..2",
        ".",
        "1e999",
        "9" * 21,
        "9" * 5000,
        "nan",
        "inf",
        "max",
    ),
    *("0::", "1:cpu:", "2:memory:", ":", "::", "/", "/..", "/" + "x" * 300, "a\0b", "\\777", "\\000", "\x1b[2J"),
    *("MemTotal:", "SwapTotal:", "SwapFree:", "kB", "some", "avg10=", "cpu", "cpu0", "inactive_file", "active_file"),
    *(" ", " ", " ", "\n", "\n", "\t", "[", "]"),
)


GARBAGE = st.lists(st.sampled_from(WORDS), max_size=40).map(lambda words: "".join(words).encode())


@settings(max_examples=50)
@given(st.dictionaries(st.sampled_from(FILES), st.binary(max_size=40) | GARBAGE))
@example({"proc/loadavg": b"a b c d e\n"})
@example({"proc/meminfo": "MemTotal: \u00b2 kB\n".encode()})
@example({"proc/pressure/cpu": b"some avg10=1..2 avg60=0\n"})
@example({"proc/self/cgroup": b"1:memory" + b"x" * 300 + b",cpu:/\n"})
@example({"proc/self/cgroup": b"0::/\n", "sys/fs/cgroup/cpu.max": b"inf 100000\n"})
def test_whatever_files_say_is_never_an_error(files: dict[str, bytes]) -> None:
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("time.sleep", lambda seconds: None)
        root = Path(folder)
        for name, content in files.items():
            root.joinpath(name).parent.mkdir(parents=True, exist_ok=True)
            root.joinpath(name).write_bytes(content)
        parts = [part(root) for part in (conditions.cpu, conditions.memory, conditions.kernel, conditions.load)]
        told = [*parts, conditions.busy_cores(root), conditions.disk(root, root)]
        assert json.loads(json.dumps(told, allow_nan=False))


def test_unlimited_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda number: (64, -1))
    assert conditions.limits()["nofile"] == [64, None]


def test_limits_of_open_files_that_are_given_are_those_of_benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda number: (64, 64))
    told = conditions.conditions({**ASKED, "nofile": (16, -1)})["limits"]
    assert (told["nofile"], told["nproc"]) == ([16, None], [64, 64])


def test_folders_that_are_needed_are_told_where_they_are_none() -> None:
    told = conditions.conditions({**ASKED, "needed": ["/", "/nowhere", __file__]})
    assert told["absent"] == ["/nowhere", __file__]


def test_all_of_it_can_be_sent(tmp_path: Path) -> None:
    asked = {**ASKED, "folders": {"base": str(tmp_path)}, "files": [str(tmp_path / "token"), __file__]}
    found = json.loads(json.dumps(conditions.conditions(asked)))
    assert found["files"] == [__file__]
    assert found["accelerators"] is None
    assert found["disks"]["base"]["free_bytes"] > 0
    assert 0 <= found["load"]["busy_cores"] <= (os.cpu_count() or 1)
