"""What is found of a machine: disks, room, limits, cores, memory, the kernel; what trials side by side need of it."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from good_node import GOOD, WANTED, codes, found, plan, trial

from milabench.amounts import GIB, MIB
from milabench.preflight import Conditions, Wanted
from milabench.preflight.conditions import Environment


def disks(name: str, *, device: int = 9, **changes: Any) -> Conditions:
    """Return good conditions but for one folder, on a file system of its own."""
    changed = replace(GOOD.disks[name], device=device, **changes)
    return replace(GOOD, disks={**GOOD.disks, name: changed})


def limits(**changed: tuple[int | None, int | None]) -> Conditions:
    return replace(GOOD, limits={**GOOD.limits, **changed})


UNPREPARED: dict[str, Any] = {"data": frozenset()}
MACHINE: dict[str, tuple[Conditions, tuple[str, str, str], str]] = {
    "runs cannot be written": (
        disks("runs", writable=False),
        ("folder-not-writable", "blocking", "runs"),
        "another --base",
    ),
    "data cannot be written": (disks("data", writable=False), ("folder-not-writable", "warning", "data"), "writable"),
    "tmp cannot be written": (disks("tmp", writable=False), ("folder-not-writable", "warning", "tmp"), "TMPDIR"),
    "no room for a run": (disks("runs", free_bytes=2 * MIB), ("disk-full", "blocking", "runs"), "milabench clean"),
    "no room for files": (disks("runs", free_files=3), ("disk-full", "blocking", "runs"), "milabench clean"),
    "little room for a run": (disks("runs", free_bytes=500 * MIB), ("disk-low", "warning", "runs"), "milabench clean"),
    "little room in tmp": (disks("tmp", free_bytes=100 * MIB), ("disk-low", "warning", "tmp"), "set TMPDIR"),
    "a network file system": (disks("data", kind="nfs4"), ("disk-network", "note", "data"), "local disk"),
    "a file system in memory": (disks("runs", kind="tmpfs"), ("disk-in-memory", "note", "runs"), "on a disk"),
    "few open files": (limits(nofile=(256, 4096)), ("few-open-files", "warning", "ulimit -n"), "ulimit -n 4096"),
    "few open files, with a hard limit that is none": (
        limits(nofile=(256, None)),
        ("few-open-files", "warning", "ulimit -n"),
        "ulimit -n 65536",
    ),
    "few open files, for ever": (
        limits(nofile=(256, 256)),
        ("few-open-files", "warning", "ulimit -n"),
        "limits.conf",
    ),
    "so few open files that milabench must raise its own": (
        limits(nofile=(39, 4096)),
        ("few-open-files", "warning", "ulimit -n"),
        "ulimit -n 4096",
    ),
    "too few open files": (limits(nofile=(39, 39)), ("few-open-files", "blocking", "ulimit -n"), "limits.conf"),
    "too few open files, of which fewer are granted": (
        limits(nofile=(20, 39)),
        ("few-open-files", "blocking", "ulimit -n"),
        "limits.conf",
    ),
    "few processes": (limits(nproc=(500, 900)), ("few-processes", "warning", "ulimit -u"), "ulimit -u 900"),
    "core dumps": (limits(core=(None, None)), ("core-dumps", "note", "ulimit -c"), "ulimit -c 0"),
    "a quota": (
        replace(GOOD, cpu=replace(GOOD.cpu, quota_cores=2.5)),
        ("cpu-quota", "warning", "cpu"),
        "grant whole cores",
    ),
    "a governor": (
        replace(GOOD, cpu=replace(GOOD.cpu, governors={"powersave": 15, "performance": 1})),
        ("cpu-governor", "note", "cpu"),
        "cpupower frequency-set -g performance",
    ),
    "clocks held down": (
        replace(GOOD, cpu=replace(GOOD.cpu, limited_khz=(2_000_000, 3_500_000))),
        ("cpu-clock-limited", "warning", "cpu"),
        "frequency-set -u 3.50GHz",
    ),
    "others at work": (
        replace(GOOD, load=replace(GOOD.load, busy_cores=3.2)),
        ("machine-busy", "warning", "cpu"),
        "`top`",
    ),
    "others at work on few cores of many": (
        replace(GOOD, cpu=replace(GOOD.cpu, usable_cores=4), load=replace(GOOD.load, busy_cores=0.6)),
        ("machine-busy", "warning", "cpu"),
        "`top`",
    ),
    "memory waited for": (
        replace(GOOD, load=replace(GOOD.load, waiting={"memory": 0.3})),
        ("memory-pressure", "warning", "memory"),
        "`top`",
    ),
    "little memory": (
        replace(GOOD, memory=replace(GOOD.memory, available_bytes=100 * MIB)),
        ("little-memory", "warning", "memory"),
        "end what takes it",
    ),
    "little left of a limit": (
        replace(GOOD, memory=replace(GOOD.memory, left_bytes=100 * MIB)),
        ("little-memory", "warning", "memory"),
        "container's limit",
    ),
    "a limit": (
        replace(GOOD, memory=replace(GOOD.memory, limit_bytes=16 * GIB, left_bytes=15 * GIB)),
        ("memory-limit", "note", "memory"),
        "--memory",
    ),
    "a slow clock": (
        replace(GOOD, kernel=replace(GOOD.kernel, clock="hpet")),
        ("slow-clock", "warning", "clock"),
        "clocksource",
    ),
    "a clock that runs away": (
        replace(GOOD, kernel=replace(GOOD.kernel, clock_is_kept_right=False)),
        ("clock-not-kept", "note", "clock"),
        "chronyd",
    ),
    "memory that moves": (
        replace(GOOD, kernel=replace(GOOD.kernel, numa_balancing=True)),
        ("numa-balancing", "note", "memory"),
        "numa_balancing=0",
    ),
}


@pytest.mark.parametrize(("conditions", "wanted", "remedy"), MACHINE.values(), ids=MACHINE)
def test_what_is_found_of_a_machine(conditions: Conditions, wanted: tuple[str, str, str], remedy: str) -> None:
    (finding,) = found(conditions)
    assert codes([finding]) == [wanted]
    assert remedy in finding.remedy


def test_folders_on_one_file_system_are_one_finding() -> None:
    full = {name: replace(disk, free_bytes=2 * MIB, device=1) for name, disk in GOOD.disks.items()}
    assert codes(found(replace(GOOD, disks=full))) == [("disk-full", "blocking", "base, runs, data, cache, tmp")]


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (("base", "data"), [("warning", "base, data", "/b")]),
        (("base", "runs", "data", "cache"), [("blocking", "base, runs, data, cache", "/b")]),
        (("data", "cache"), [("warning", "data", "/b/data"), ("warning", "cache", "/b/cache")]),
        (("base", "tmp"), [("warning", "base", "/b"), ("warning", "tmp", "/b2/tmp")]),
    ],
)
def test_a_base_that_cannot_be_written_to_is_told_once_with_what_lies_below_it(
    names: tuple[str, ...], wanted: list[tuple[str, str, str]]
) -> None:
    paths = {"base": "/b", "runs": "/b/runs", "data": "/b/data", "cache": "/b/cache", "tmp": "/b2/tmp"}
    known = {name: replace(GOOD.disks["base"], path=path, writable=name not in names) for name, path in paths.items()}
    told = [each for each in found(replace(GOOD, disks=known)) if each.code == "folder-not-writable"]
    assert sorted((each.severity, each.subject, each.what.split()[0]) for each in told) == sorted(wanted)


def test_room_is_held_against_what_the_processes_of_all_trials_leave() -> None:
    many = replace(WANTED, plan=plan(*(trial(f"b{n}", (0,), (1,)) for n in range(50))))
    (finding,) = found(disks("runs", free_bytes=27 * MIB - 1), wanted=many)
    assert finding.what == "only 27.0 MiB free where runs is kept (/base/runs), and the run's directory takes 27.0 MiB"
    (finding,) = found(disks("runs", free_files=815), wanted=many)
    assert "only room for 815 files where runs is kept" in finding.what
    enough = disks("runs", free_bytes=27 * MIB, free_files=816)
    assert codes(found(enough, wanted=many)) == [("disk-low", "warning", "runs")]


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, []),
        ({"data": frozenset()}, ["disk-low"]),
        ({"environments": {"torch": Environment(made=False)}}, ["disk-low"]),
    ],
)
def test_room_for_environments_and_data_is_asked_for_while_they_are_to_be_made(
    changes: dict[str, Any], wanted: list[str]
) -> None:
    little = {name: replace(disk, free_bytes=5 * GIB) for name, disk in GOOD.disks.items()}
    ahead = replace(WANTED, ahead=("install", "prepare"))
    assert [each.code for each in found(replace(GOOD, disks=little, **changes), wanted=ahead)] == wanted


def test_dumps_that_a_program_takes_are_not_told() -> None:
    piped = replace(GOOD.kernel, core_pattern="|/usr/bin/catch")
    assert found(replace(limits(core=(None, None)), kernel=piped)) == []


def test_on_one_numa_node_no_memory_is_moved() -> None:
    alone = replace(GOOD.kernel, numa_balancing=True, numa_nodes=1)
    assert found(replace(GOOD, kernel=alone)) == []


def loading(workers: Any, *devices: tuple[int, ...], group: str = "torch", **keys: Any) -> Wanted:
    config = {"argv": {"--num-workers": workers}, "install_group": group, **keys}
    return replace(WANTED, plan=plan(trial("bert", *devices), bert=config))


SHARED: dict[str, tuple[int | None, Wanted | None, str | None]] = {
    "enough for 16 workers": (GIB, loading(8, (0,), (1,)), None),
    "too little for 16 workers": (GIB - 1, loading(8, (0,), (1,)), "warning"),
    "workers and none at all": (None, loading("4", (0,)), "warning"),
    "workers that read and write files": (MIB, loading(64, (0,), tags=["io"]), None),
    "workers of something else": (MIB, loading(64, (0,), group="storage"), None),
    "workers of a torch for one machine": (MIB, loading(4, (0,), group="torch-nightly"), "warning"),
    "a thousand workers": (8 * GIB, loading(1000, (0,)), None),
    "a thousand workers, and less": (8 * GIB - 1, loading(1000, (0,)), "warning"),
    "no workers and none at all": (None, loading(0, (0,)), "note"),
    "no workers and little": (MIB, loading(0, (0,)), None),
    "workers that are not known": (MIB, loading("{n_worker}", (0,)), None),
    "ranks that work together and little": (64 * MIB, loading(0, (0, 1)), "warning"),
    "ranks that work together and some": (GIB, loading(0, (0, 1)), None),
    "what a container gets, and no run": (64 * MIB, None, "warning"),
}


@pytest.mark.parametrize(("free", "wanted", "severity"), SHARED.values(), ids=SHARED)
def test_shared_memory_is_held_against_what_uses_it(free: int | None, wanted: Wanted | None, severity: str) -> None:
    there = None if free is None else replace(GOOD.shared_memory, free_bytes=free)  # type: ignore[type-var]
    findings = found(replace(GOOD, shared_memory=there, no_shared_memory=there is None), wanted=wanted)
    assert codes(findings) == ([("little-shared-memory", severity, "/dev/shm")] if severity else [])
    assert all(re.search(r"--shm-size=[18]g", each.remedy) for each in findings)


def test_open_files_are_held_against_the_processes_at_the_same_time() -> None:
    many = replace(WANTED, plan=plan(trial("bert", *[(0,)] * 8)))
    (finding,) = found(limits(nofile=(63, 63)), wanted=many)
    assert (finding.severity, "needs 64 for 8 processes" in finding.consequence) == ("blocking", True)
    assert finding.what == "a process may have 63 files open"


def test_many_processes_need_more_open_files_than_are_few() -> None:
    many = replace(WANTED, plan=plan(trial("bert", *[(0,)] * 300)))
    (finding,) = found(limits(nofile=(1024, 1024)), wanted=many)
    assert (finding.severity, "needs 1232 for 300 processes" in finding.consequence) == ("blocking", True)
    assert found(limits(nofile=(1024, 1232)), wanted=many) == []


def test_trials_that_run_side_by_side_are_counted_together() -> None:
    trials = plan(*(trial(name, *[(n,)] * many) for name, n, many in (("a", 0, 3), ("b", 1, 5), ("c", 1, 4))))
    assert Wanted(plan=trials).processes == 5
    assert Wanted(plan=trials, side_by_side=True).processes == 8


def test_a_trial_on_several_devices_runs_beside_none_on_them() -> None:
    both = plan(trial("wide", (0, 1), (0, 1), (0, 1)), trial("narrow", (1,)), trial("host", (), ()))
    assert Wanted(plan=both, side_by_side=True).processes == 3
    assert Wanted(plan=plan(trial("host", (), ())), side_by_side=True).processes == 2


def test_workers_of_trials_side_by_side_are_counted_together() -> None:
    config = {"argv": {"--num-workers": 8}, "install_group": "torch"}
    two = plan(trial("a", (0,)), trial("b", (1,)), a=config, b=config)
    little = replace(GOOD, shared_memory=replace(GOOD.shared_memory, free_bytes=GIB - 1))  # type: ignore[type-var]
    assert found(little, wanted=replace(WANTED, plan=two)) == []
    (finding,) = found(little, wanted=replace(WANTED, plan=two, side_by_side=True))
    assert "16 workers that load data (a, b)" in finding.consequence
