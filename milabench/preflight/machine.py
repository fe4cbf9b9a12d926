"""What is found of the machine itself: disks, limits, shared memory, processor, memory, kernel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from milabench.agent.spool import NETWORK
from milabench.amounts import GIB, MIB, size
from milabench.preflight.conditions import Conditions, Disk
from milabench.preflight.types import Finding, Severity, Wanted

# What a run's directory takes without what benchmarks themselves print and keep: its plan, facts and journal and the
# MiB with less than which nothing is begun; and of each process the events (folded to 1,000 rates), steps and logs.
RUN_BYTES, RUN_FILES = 2 * MIB, 16
PROCESS_BYTES, PROCESS_FILES = MIB // 4, 8
LOW_BYTES = GIB
LOW_FOR_SETUP_BYTES = 10 * GIB  # an environment with torch for an accelerator takes 5 to 8
LOW_TEMPORARY_BYTES = GIB // 4
OPEN_ALWAYS, OPEN_PER_PROCESS = 32, 4  # files of milabench's own
FEW_OPEN_FILES = 1024
FEW_PROCESSES = 1024
SHARED_PER_WORKER_BYTES = 64 * MIB  # two batches of a hundred small images
MOST_SHARED_BYTES = 8 * GIB  # of more workers hardly all have such batches ready at once
LITTLE_SHARED_BYTES = 64 * MIB  # what a container gets unless it is told otherwise
LITTLE_MEMORY_BYTES = GIB
_FREED = "free some (`milabench clean` says what milabench keeps), or choose another --base"
SLOW_CLOCKS = ("hpet", "acpi_pm", "jiffies", "refined-jiffies", "pit")


def findings(conditions: Conditions, wanted: Wanted | None) -> Iterator[Finding]:
    """Yield what is found of the machine."""
    yield from disks(conditions, wanted)
    yield from _limits(conditions, wanted.processes if wanted else 1)
    if conditions.shared_memory or conditions.no_shared_memory:
        yield from _shared_memory(conditions.shared_memory, wanted)
    yield from _processor(conditions)
    yield from _others(conditions)
    yield from _memory(conditions)
    yield from _kernel(conditions)


def disks(conditions: Conditions, wanted: Wanted | None) -> Iterator[Finding]:
    """Yield what is found of the disks alone."""
    needs_room = wanted is not None and _is_set_up_ahead(conditions, wanted)
    yield from _disks(conditions.disks, needs_room=needs_room, processes=wanted.all_processes if wanted else 1)


def _is_set_up_ahead(conditions: Conditions, wanted: Wanted) -> bool:
    made = {name for name, each in conditions.environments.items() if each.made and not each.base and not each.parts}
    return not (wanted.environments.keys() <= made and wanted.data.keys() <= conditions.data)


# Disks ---------------------------------------------------------------------------------------------------------------


def _disks(disks: Mapping[str, Disk], *, needs_room: bool, processes: int) -> Iterator[Finding]:
    for names in _causes({name: disk for name, disk in disks.items() if not disk.writable}):
        yield _unwritable(names, disks[names[0]])
    for names in _together(disks):
        disk = disks[names[0]]
        if not disk.writable:
            continue
        full = _full(disk, processes) if {"runs", "spool"} & {*names} else None
        if full is not None:
            yield _too_full(names, disk, *full)
        else:
            yield from _room(names, disk, needs_room=needs_room)
        yield from _kind(names, disk)


def _together(disks: Mapping[str, Disk]) -> Iterator[list[str]]:
    """Yield the names of folders that are on one file system."""
    for device in dict.fromkeys(disk.device for disk in disks.values()):
        yield [name for name, disk in disks.items() if disk.device == device]


def _causes(unwritable: Mapping[str, Disk]) -> Iterator[list[str]]:
    """Yield the names of folders that cannot be written to: the base with those below it, each other by itself."""
    base = unwritable.get("base")
    below = [name for name, disk in unwritable.items() if base and disk.path.startswith(f"{base.path}/")]
    for name in unwritable:
        if name not in below:
            yield [name, *below] if name == "base" else [name]


def _unwritable(names: Sequence[str], disk: Disk) -> Finding:
    subject, needed = ", ".join(names), "runs" in names
    return Finding(
        code="folder-not-writable",
        severity="blocking" if needed else "warning",
        subject=subject,
        what=f"{disk.path} cannot be written to",
        consequence="nothing of the run could be kept" if needed else f"what writes there fails ({subject})",
        remedy="set TMPDIR to a folder of yours" if names == ["tmp"] else "make it writable, or choose another --base",
    )


def _full(disk: Disk, processes: int) -> tuple[str, str] | None:
    """Return what is left and what the directory of a run of so many processes takes, where that is more."""
    needed = RUN_BYTES + PROCESS_BYTES * processes
    files = RUN_FILES + PROCESS_FILES * processes
    if disk.free_bytes < needed:
        return f"{size(disk.free_bytes)} free", size(needed)
    if disk.free_files is not None and disk.free_files < files:
        return f"room for {disk.free_files} files", f"{files} files"
    return None


def _too_full(names: Sequence[str], disk: Disk, left: str, needed: str) -> Finding:
    return Finding(
        code="disk-full",
        severity="blocking",
        subject=", ".join(names),
        what=f"only {left} {_kept(names, disk)}, and the run's directory takes {needed}",
        consequence="the journal and the events of the run would be cut short",
        remedy=_FREED,
    )


def _kept(names: Sequence[str], disk: Disk) -> str:
    return f"where {', '.join(names)} {'are' if len(names) > 1 else 'is'} kept ({disk.path})"


def _room(names: Sequence[str], disk: Disk, *, needs_room: bool) -> Iterator[Finding]:
    room = LOW_BYTES if {"runs", "spool"} & {*names} else LOW_TEMPORARY_BYTES if names == ["tmp"] else 0
    if needs_room and {"base", "data", "cache"} & set(names):
        room = LOW_FOR_SETUP_BYTES
    if disk.free_bytes < room:
        fails = (
            "environments and data that are still to be made may not fit" if room > LOW_BYTES else "writing may fail"
        )
        yield Finding(
            code="disk-low",
            severity="warning",
            subject=", ".join(names),
            what=f"only {size(disk.free_bytes)} free {_kept(names, disk)}",
            consequence=f"{fails}, after hours perhaps",
            remedy="set TMPDIR to a larger folder" if names == ["tmp"] else _FREED,
        )


def _kind(names: Sequence[str], disk: Disk) -> Iterator[Finding]:
    measured = [name for name in names if name in ("base", "data", "runs")]
    if not measured:
        return
    where = ", ".join(measured)
    if disk.kind in NETWORK:
        yield Finding(
            code="disk-network",
            severity="note",
            subject=where,
            what=f"{where}: on a network file system ({disk.kind})",
            consequence="benchmarks that read data measure the network and its other users, too",
            remedy="choose a --base on a local disk",
        )
    if disk.kind in ("tmpfs", "ramfs"):
        yield Finding(
            code="disk-in-memory",
            severity="note",
            subject=where,
            what=f"{where}: in memory ({disk.kind})",
            consequence="all of it takes memory from the benchmarks, and is gone when the machine restarts",
            remedy="choose a --base on a disk",
        )


# Limits --------------------------------------------------------------------------------------------------------------


def _limits(conditions: Conditions, processes: int) -> Iterator[Finding]:
    yield from _open_files(conditions, processes)
    soft, hard = conditions.limits.get("nproc", (None, None))
    if soft is not None and soft < FEW_PROCESSES:
        yield Finding(
            code="few-processes",
            severity="warning",
            subject="ulimit -u",
            what=f"your user may have {soft} processes and threads",
            consequence="starting threads, data loaders or ranks fails",
            remedy=_raised("-u", hard, soft, 16384, "nproc"),
        )
    soft, _ = conditions.limits.get("core", (0, 0))
    pattern = conditions.kernel.core_pattern
    if soft != 0 and pattern is not None and not pattern.startswith("|"):
        yield Finding(
            code="core-dumps",
            severity="note",
            subject="ulimit -c",
            what="core dumps are on",
            consequence="a benchmark that crashes writes its whole memory to disk, and its end takes that long",
            remedy="type: ulimit -c 0",
        )


def _open_files(conditions: Conditions, processes: int) -> Iterator[Finding]:
    """Yield what the limits of open files are too low for: milabench raises its own, benchmarks have the soft one."""
    soft, hard = conditions.limits.get("nofile", (None, None))
    needed = OPEN_ALWAYS + OPEN_PER_PROCESS * processes
    stops = hard is not None and hard < needed
    if stops or (soft is not None and soft < FEW_OPEN_FILES):
        own = f"milabench itself needs {needed} for {processes} processes at the same time"
        yield Finding(
            code="few-open-files",
            severity="blocking" if stops else "warning",
            subject="ulimit -n",
            what=f"a process may have {hard if stops else soft} files open",
            consequence=own if stops else 'data loaders and many ranks fail with "too many open files"',
            remedy=_raised("-n", hard, hard if stops else soft, max(65536, needed), "nofile"),
        )


def _raised(option: str, hard: int | None, now: int | None, wanted: int, name: str) -> str:
    if hard is None or (now is not None and hard > now):
        return f"type: ulimit {option} {min(wanted, hard or wanted)}"
    return f"have its hard limit raised ({name} in /etc/security/limits.conf; a container: --ulimit {name}={wanted})"


def _shared_memory(disk: Disk | None, wanted: Wanted | None) -> Iterator[Finding]:
    loading, most = (wanted.loading, wanted.workers) if wanted else ([], 0)
    several = wanted is not None and wanted.spans_devices
    for_workers = min(SHARED_PER_WORKER_BYTES * most, MOST_SHARED_BYTES)
    needed = max(for_workers, 2 * LITTLE_SHARED_BYTES if several or not wanted else 0)
    if disk is not None and disk.free_bytes >= needed:
        return
    users = [f"{most} workers that load data"] if most else []
    users += ["processes that work together on several devices"] if several else []
    by = f" by {' and '.join(users)} ({', '.join(loading[:3]) or 'collectives'})" if users else ""
    severity: Severity = "warning" if disk is not None or users else "note"
    yield Finding(
        code="little-shared-memory",
        severity=severity,
        subject="/dev/shm",
        what=f"/dev/shm has {size(disk.free_bytes)} free" if disk else "there is no /dev/shm",
        consequence=f"it is used{by}: they end with a bus error, or hang, where it is full",
        remedy=f"in a container: --shm-size={max(-(-needed // GIB), 1)}g or --ipc=host; else mount a larger tmpfs",
    )


# Processor -----------------------------------------------------------------------------------------------------------


def _processor(conditions: Conditions) -> Iterator[Finding]:
    cpu = conditions.cpu
    if cpu.quota_cores is not None and cpu.usable_cores is not None and cpu.quota_cores < cpu.usable_cores:
        yield Finding(
            code="cpu-quota",
            severity="warning",
            subject="cpu",
            what=f"{cpu.usable_cores} cores are seen, the time of {cpu.quota_cores:g} is granted (a container's quota)",
            consequence="placeholders such as {cpu_per_gpu} count what is seen; more threads than are granted stall",
            remedy="grant whole cores (--cpuset-cpus), or say how many there are: `cpus` of the node in a system file",
        )
    slow = {name: count for name, count in cpu.governors.items() if name != "performance"}
    if slow:
        total = sum(cpu.governors.values())
        yield Finding(
            code="cpu-governor",
            severity="note",
            subject="cpu",
            what=f"the clocks of {sum(slow.values())} of {total} are governed by {', '.join(slow)}, not performance",
            consequence="clocks follow the load: short benchmarks and those that wait for a device vary more",
            remedy="as root: cpupower frequency-set -g performance",
        )
    if cpu.limited_khz is not None:
        allowed, most = (khz / 1e6 for khz in cpu.limited_khz)
        yield Finding(
            code="cpu-clock-limited",
            severity="warning",
            subject="cpu",
            what=f"clocks are held below {allowed:.2f} of {most:.2f} GHz",
            consequence="what the processor does is slower than on the same machine without that limit",
            remedy=f"as root: cpupower frequency-set -u {most:.2f}GHz (a laptop's power profile may set it, too)",
        )


def _others(conditions: Conditions) -> Iterator[Finding]:
    busy, cores = conditions.load.busy_cores, conditions.cpu.usable_cores or conditions.cpu.cores
    if busy is not None and cores is not None and busy >= max(0.5, cores / 10):
        yield Finding(
            code="machine-busy",
            severity="warning",
            subject="cpu",
            what=f"{busy:.1f} of the {cores} cores that may be used are at work already",
            consequence="others share processor, caches and memory with the benchmarks: rates are lower, and vary",
            remedy="see who it is (`top`), and wait or end it",
        )
    if (conditions.load.waiting.get("memory") or 0) >= 0.1:
        yield Finding(
            code="memory-pressure",
            severity="warning",
            subject="memory",
            what="processes wait for memory (/proc/pressure/memory)",
            consequence="the machine swaps, or drops caches: rates are lower, and vary",
            remedy="see who takes it (`top`, by %MEM), and wait or end it",
        )


# Memory and kernel ---------------------------------------------------------------------------------------------------


def _memory(conditions: Conditions) -> Iterator[Finding]:
    memory = conditions.memory
    left = min((each for each in (memory.available_bytes, memory.left_bytes) if each is not None), default=None)
    if left is not None and left < LITTLE_MEMORY_BYTES:
        yield Finding(
            code="little-memory",
            severity="warning",
            subject="memory",
            what=f"{size(left)} of memory is left",
            consequence="the kernel ends benchmarks that need more (outcome: killed, out of memory)",
            remedy="end what takes it (`top`, by %MEM), or raise the container's limit",
        )
    limit, total = memory.limit_bytes, memory.total_bytes
    if limit is not None and total is not None and limit < total:
        yield Finding(
            code="memory-limit",
            severity="note",
            subject="memory",
            what=f"a control group allows {size(limit)} of the machine's {size(total)}",
            consequence="a benchmark that takes more is ended; placeholders see the machine's",
            remedy="raise the limit (a container: --memory; Slurm: --mem), if more is meant to be used",
        )


def _kernel(conditions: Conditions) -> Iterator[Finding]:
    kernel = conditions.kernel
    if kernel.clock in SLOW_CLOCKS:
        yield Finding(
            code="slow-clock",
            severity="warning",
            subject="clock",
            what=f"the kernel's clock is {kernel.clock}",
            consequence="reading it takes a microsecond or more: short steps are measured too long",
            remedy="see why tsc is not taken: dmesg | grep -i clocksource",
        )
    if kernel.clock_is_kept_right is False:
        yield Finding(
            code="clock-not-kept",
            severity="note",
            subject="clock",
            what="nothing keeps the wall clock right (no NTP)",
            consequence="times of runs are off; between nodes they do not compare. Durations are not affected",
            remedy="start chronyd or systemd-timesyncd",
        )
    if kernel.numa_balancing and (kernel.numa_nodes or 1) > 1:
        yield Finding(
            code="numa-balancing",
            severity="note",
            subject="memory",
            what=f"the kernel moves memory between {kernel.numa_nodes} NUMA nodes by itself",
            consequence="steps during which it does so take longer",
            remedy="as root: sysctl kernel.numa_balancing=0",
        )
