"""Events from several writers to one reader that decodes them: how many a second, at what cost, whether all arrive.

Cold events are JSON lines (`EventWriter`), hot ones rows of steps (`StepsWriter`). The reader is the follower behind
the live view and `milabench status`; a bare loop of `json.loads` over the same lines runs beside it, since the figures
are this machine's, and shift with what else it does. Writers that write as fast as they can take the processor from
the reader where there are more of them than cores: what an event costs the reader is the figure to go by. Exit code 1
when an event is lost.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from benchmate.wire import GOOD, MEASURED, EventWriter, StepsWriter, encode_event
from measuring import show
from milabench.follow import Follower
from milabench.rundir import Files

T = TypeVar("T")
WRITERS = 8
REPEATS = 7
BACKLOG = {"cold": 25_000, "hot": 250_000}  # a writer
LIVE_S = 5.0
CUT = 5_000


# Writers, each a process of its own ----------------------------------------------------------------------------------


def write_cold(files: Files, count: int) -> float:
    """Write events; return the CPU time of one, in s."""
    writer, began = EventWriter(files.events), time.process_time()
    for step in range(count):
        writer.write("data", {"task": "train", "loss": 1.0 / (step + 1), "step": step})
    return (time.process_time() - began) / count


def write_hot(files: Files, count: int) -> float:
    writer = StepsWriter(files.steps, unit="items", zero_ns=time.time_ns() - time.monotonic_ns())
    append, began = writer.append, time.process_time()
    for step in range(count):
        append(step * 1_000_000, (step + 1) * 1_000_000, 64, MEASURED, GOOD)
    spent = time.process_time() - began
    writer.close()
    return spent / count


def write_for(files: Files, kind: str, seconds: float) -> None:
    """Write as fast as it goes for so long; print how many, and the CPU time of one in s."""
    end, count, began = time.monotonic() + seconds, 0, time.process_time()
    cold = EventWriter(files.events) if kind == "cold" else None
    hot = StepsWriter(files.steps, unit="items", zero_ns=0) if kind == "hot" else None
    while time.monotonic() < end:
        for step in range(count, count + 100):
            if cold is not None:
                cold.write("data", {"task": "train", "loss": 1.0 / (step + 1), "step": step})
            if hot is not None:
                hot.append(step * 1_000_000, (step + 1) * 1_000_000, 64, MEASURED, GOOD)
        count += 100
    print(json.dumps([count, (time.process_time() - began) / count]))


def write_cut(files: Files, seed: int) -> None:
    """Write events in pieces of any size, with pauses within lines."""
    chance = random.Random(seed)
    lines = [encode_event("data", {"loss": step / 7, "step": step}, time_ns=step, seq=step) for step in range(CUT)]
    content, place = b"".join(lines), 0
    descriptor = os.open(files.events, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    while place < len(content):
        size = chance.choice([1, 7, 63, 500, 4096, 65_536])
        os.write(descriptor, content[place : place + size])
        place += size
        if chance.random() < 0.1:
            time.sleep(chance.random() / 500)


# Reader --------------------------------------------------------------------------------------------------------------


def main() -> int:
    alone()
    lost = 0
    for kind in ("cold", "hot"):
        lost += backlog(kind) + live(kind)
    lost += cut()
    print(f"{lost} lost" if lost else "none lost")
    return int(lost > 0)


def alone() -> None:
    for kind, write, goal in (("cold", write_cold, "≤ 9"), ("hot", write_hot, "≤ 0.3")):
        costs = [
            1e6 * _in_folder(lambda folder, w=write, k=kind: w(_files(folder, 0), BACKLOG[k])) for _ in range(REPEATS)
        ]
        show(f"{kind}: writing one event, CPU", costs, "µs", goal=goal)


def backlog(kind: str) -> int:
    """Read what has been written already, nothing else runs; return how many events are lost."""

    def once(folder: Path) -> tuple[float, float, float, int]:
        for number in range(WRITERS):
            (write_cold if kind == "cold" else write_hot)(_files(folder, number), BACKLOG[kind])
        bare = _bare(folder) if kind == "cold" else 0.0
        follower, began, clock = _follower(folder), time.perf_counter(), time.process_time()
        while follower.turn():
            pass
        cpu, wall = time.process_time() - clock, time.perf_counter() - began
        found = _count(follower, kind)
        return cpu / found, found / wall, bare, abs(WRITERS * BACKLOG[kind] - found)

    costs, rates, bares, lost = zip(*(_in_folder(once) for _ in range(REPEATS)), strict=True)
    show(f"{kind}: reading and decoding one event, CPU", [1e6 * each for each in costs], "µs", goal="≤ 3")
    show(f"{kind}: events read and decoded", [each / 1e3 for each in rates], "k/s", goal="≥ 300")
    if kind == "cold":
        show("cold: one line in a bare loop of json.loads, CPU", [1e6 * each for each in bares], "µs")
        ratios = [cost / bare for cost, bare in zip(costs, bares, strict=True)]
        show("cold: reading one event over json.loads of its line", ratios, "×")
    return sum(lost)


def live(kind: str) -> int:
    """Read while the writers write; return how many events are lost."""

    def once(folder: Path) -> int:
        follower, clock = _follower(folder), time.process_time()
        writers = [_writer(folder, number, kind, str(LIVE_S)) for number in range(WRITERS)]
        during = 0
        while any(writer.poll() is None for writer in writers):
            if not follower.turn():
                time.sleep(0.005)
            during = _count(follower, kind)
        while follower.turn():
            pass
        cpu, found = time.process_time() - clock, _count(follower, kind)
        said = [json.loads(writer.communicate()[0]) for writer in writers]
        written = sum(count for count, _ in said)
        each = sum(count * cost for count, cost in said) / written
        cores = len(os.sched_getaffinity(0))
        print(f"{kind}: {WRITERS} writers and the reader on {cores} cores, {LIVE_S:g} s:")
        print(f"  written {written / LIVE_S / 1e3:.0f} k/s ({1e6 * each:.2f} µs CPU each),", end=" ")
        print(f"read meanwhile {during / LIVE_S / 1e3:.0f} k/s ({1e6 * cpu / found:.2f} µs CPU each),", end=" ")
        print(f"in the end {found:,} of {written:,}: {'none lost' if found == written else 'LOST'}")
        return abs(written - found)

    return _in_folder(once)


def cut() -> int:
    """Read records that are written in pieces; return how many are lost, or came as something else."""

    def once(folder: Path) -> int:
        follower = _follower(folder)
        writers = [_writer(folder, number, "cut", str(number)) for number in range(WRITERS)]
        turns = 0
        while any(writer.poll() is None for writer in writers):
            follower.turn()
            turns += 1
        while follower.turn():
            pass
        found, bad = _count(follower, "cold"), sum(each.bad_lines for each in follower.progress())
        print(
            f"cut records: {found:,} of {WRITERS * CUT:,} arrived whole, {bad} bad lines,"
            f" {turns:,} looks meanwhile; goal: all"
        )
        return abs(WRITERS * CUT - found) + bad

    return _in_folder(once)


def _bare(folder: Path) -> float:
    lines = b"".join(_files(folder, number).events.read_bytes() for number in range(WRITERS)).splitlines()
    began = time.process_time()
    for line in lines:
        json.loads(line)
    return (time.process_time() - began) / len(lines)


def _follower(folder: Path) -> Follower:
    follower = Follower(lambda tag: Files.of(folder, tag))
    for number in range(WRITERS):
        follower.follow(f"bench.{number}")
    return follower


def _count(follower: Follower, kind: str) -> int:
    return sum(each.events if kind == "cold" else each.steps for each in follower.progress())


def _files(folder: Path, number: int) -> Files:
    return Files.of(folder, f"bench.{number}")


def _writer(folder: Path, *arguments: object) -> subprocess.Popen[str]:
    argv = [sys.executable, __file__, str(folder), *map(str, arguments)]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)


def _in_folder(story: Callable[[Path], T]) -> T:
    with tempfile.TemporaryDirectory(prefix="milabench-performance-") as folder:
        return story(Path(folder))


if len(sys.argv) > 1:
    where, which, how, amount = sys.argv[1:]
    if how == "cut":
        write_cut(_files(Path(where), int(which)), int(amount))
    else:
        write_for(_files(Path(where), int(which)), how, float(amount))
else:
    sys.exit(main())
