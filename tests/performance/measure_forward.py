"""What it costs to send a runner elsewhere what processes write, beside processes that write into the run themselves.

Both agents are of this machine, at the other end of a pipe, and both runners are asyncio loops in this process: what a
network adds is not in it. The agent's CPU is its own alone, without that of the processes it runs.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents import ENVIRON, Elsewhere, launch
from benchmate.wire import count_steps
from measuring import show
from milabench.agent.processes import children
from milabench.execute.hosts.local import LocalHost
from milabench.resources import import_path

REPEATS = 5
PRINTED_MB = 300
PROCESSES = 64
EVENTS = 2_000  # a process
STEPS = 1_000_000
IDLE_S = 5.0
LATENCY_LINES = 40
TICKS = os.sysconf("SC_CLK_TCK")

HEAD = f"""
import sys, time
sys.path[:0] = {import_path()!r}
from benchmate.context import current, writer
from benchmate.wire import GOOD, MEASURED, StepsWriter
context = current()
"""
EVENTS_SCRIPT = f"""{HEAD}
events = writer(context)
for step in range({EVENTS}):
    events.write("data", {{"task": "train", "loss": 1.0 / (step + 1), "step": step}})
"""
STEPS_SCRIPT = f"""{HEAD}
steps = StepsWriter(context.steps, unit="items", zero_ns=0)
for step in range({STEPS}):
    steps.append(step * 10, step * 10 + 7, 64, MEASURED, GOOD)
    if step % 1000 == 0:
        time.sleep(0.004)
steps.close()
"""
KINDS: dict[str, type[LocalHost]] = {"written locally": LocalHost, "forwarded": Elsewhere}


@dataclass(frozen=True)
class Spent:
    wall_s: float
    agent_s: float
    runner_s: float


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def spent(kind: type[LocalHost], story: Callable[[LocalHost, Path], Awaitable[Any]]) -> Spent:
    """Run a story with an agent; return what it took of the clock, of the agent and of this process."""

    async def main(folder: Path) -> Spent:
        for name in ("run", "node"):
            (folder / name).mkdir()
        before = set(children(os.getpid()))
        async with kind(import_path(), {**ENVIRON, "TMPDIR": str(folder / "node")}) as host:
            await host.hello()
            (agent,) = set(children(os.getpid())) - before
            began, agent_s, runner_s = time.perf_counter(), cpu_s(agent), time.process_time()
            await story(host, folder / "run")
            return Spent(time.perf_counter() - began, cpu_s(agent) - agent_s, time.process_time() - runner_s)

    with tempfile.TemporaryDirectory(prefix="milabench-performance-") as folder:
        return asyncio.run(main(Path(folder)))


async def run(host: LocalHost, folder: Path, script: str, **keys: Any) -> None:
    ended = await (await host.start(launch(folder, script, **keys))).wait()
    if ended.code != 0 or ended.error:
        raise SystemExit(f"it failed: {ended}")


def python(script: str) -> tuple[str, ...]:
    return sys.executable, "-I", "-S", "-c", script


# What is measured ----------------------------------------------------------------------------------------------------


async def print_much(host: LocalHost, folder: Path) -> None:
    await run(host, folder, f"head -c {PRINTED_MB}000000 /dev/zero")


async def write_events(host: LocalHost, folder: Path) -> None:
    folders = [folder / str(number) for number in range(PROCESSES)]
    for each in folders:
        each.mkdir()
    await asyncio.gather(*(run(host, each, "", argv=python(EVENTS_SCRIPT), metrics="file") for each in folders))
    lines = sum((each / "one.data").read_bytes().count(b"\n") for each in folders)
    if lines != PROCESSES * EVENTS:
        raise SystemExit(f"{lines} of {PROCESSES * EVENTS} events are there")


async def write_steps(host: LocalHost, folder: Path) -> None:
    await run(host, folder, "", argv=python(STEPS_SCRIPT), metrics="file")
    if count_steps(folder / "one.steps") != STEPS:
        raise SystemExit("steps are missing")


async def wait_idle(host: LocalHost, folder: Path) -> None:
    folders = [folder / str(number) for number in range(PROCESSES)]
    for each in folders:
        each.mkdir()
    await asyncio.gather(*(run(host, each, f"sleep {IDLE_S}") for each in folders))


async def see_lines(host: LocalHost, folder: Path) -> None:
    """Print how long after it was written each line of a process was seen."""
    script = f"import time\nfor _ in range({LATENCY_LINES}):\n    print(time.time(), flush=True)\n    time.sleep(0.13)"
    running = asyncio.create_task(run(host, folder, "", argv=python(script)))
    waits: list[float] = []
    while len(waits) < LATENCY_LINES:
        await asyncio.sleep(0.002)
        with suppress(OSError):
            lines = (folder / "one.stdout").read_text().splitlines()
            waits += [time.time() - float(line) for line in lines[len(waits) :]]
    await running
    show("  a line is seen after", waits, "s", goal="≤ 1")


def main() -> None:
    print(f"{PRINTED_MB} MB printed by one process")
    for name, found in costs(print_much).items():
        show(f"  {name}: throughput until the end is told", [PRINTED_MB / each.wall_s for each in found], "MB/s")
        show(f"  {name}: agent's CPU", [1e3 * each.agent_s / PRINTED_MB for each in found], "ms/MB")
        show(f"  {name}: runner's CPU", [1e3 * each.runner_s / PRINTED_MB for each in found], "ms/MB")
    count = PROCESSES * EVENTS
    print(f"{count:,} events by {PROCESSES} processes at once, as fast as they can")
    for name, found in costs(write_events).items():
        show(f"  {name}: events until all ends are told", [count / each.wall_s / 1e3 for each in found], "k/s")
        show(f"  {name}: agent's CPU", [1e6 * each.agent_s / count for each in found], "µs an event")
        show(f"  {name}: runner's CPU", [1e6 * each.runner_s / count for each in found], "µs an event")
    print(f"{STEPS:,} steps in about {STEPS // 1000 * 0.004:.0f} s")
    for name, found in costs(write_steps, 3).items():
        show(f"  {name}: agent's CPU", [1e6 * each.agent_s / STEPS for each in found], "µs a step", goal="≤ 2")
        show(f"  {name}: runner's CPU", [1e6 * each.runner_s / STEPS for each in found], "µs a step")
    print(f"{PROCESSES} processes that write nothing, {IDLE_S:g} s")
    for name, found in costs(wait_idle, 3).items():
        show(f"  {name}: agent's CPU, starting and ending them too", [1e3 * each.agent_s for each in found], "ms")
    print("a line every 0.13 s, forwarded")
    spent(Elsewhere, see_lines)


def costs(story: Callable[[LocalHost, Path], Awaitable[Any]], repeats: int = REPEATS) -> dict[str, list[Spent]]:
    """Return what a story takes each way, by turns: what else the machine does falls on both."""
    found: dict[str, list[Spent]] = {name: [] for name in KINDS}
    for _ in range(repeats):
        for name, kind in KINDS.items():
            found[name].append(spent(kind, story))
    return found


main()
