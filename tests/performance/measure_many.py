"""256 processes at once: what trivial ones cost over the bare processes, how soon all end, how late deadlines are.

``--profile FILE`` writes the profile of an agent that starts them (``pstats``), and measures nothing.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import measuring
from benchmate.wire import Frames, frame
from harness import Project, wait_until
from milabench.agent.serve import Agent
from milabench.resources import import_path

MANY = 256
DEADLINE_S = 4.0
TRIVIAL = """echo '{"rate": 1}'"""
SLEEPER = """echo '{"rate": 1}'; exec sleep 1000"""
FLOOD = """exec yes '{"count": 1}'"""
BARE = """
import subprocess, sys
many, argv = int(sys.argv[1]), ["sh", "-c", sys.argv[2]]
for process in [subprocess.Popen(argv, stdout=subprocess.DEVNULL) for _ in range(many)]:
    process.wait()
"""
BOOT = f"import sys; sys.path[:0] = {import_path()!r}; from milabench.agent.serve import main; main()"
Exits = list[dict[str, Any]]


def suite(count: int, script: str) -> str:
    return f"""
many:
  command: {{argv: [sh, -c, {json.dumps(script)}]}}
  plan: {{method: njobs, n: {count}}}
  voir: {{options: {{skip: 0}}}}
"""


def start(folder: Path, number: int, script: str, deadline_s: float) -> bytes:
    """Return the request that starts a line of shell, as an agent reads it."""
    files = {"stdout": "out", "stderr": "err", "events": "data", "steps": "steps"}
    request = {
        "id": number,
        "op": "start",
        "argv": ["sh", "-c", script],
        "cwd": str(folder),
        "env": {},
        "metrics": "stdout",
        "stop": "self",
        "limit": {"skip": 0, "observations": None, "seconds": None},
        "deadline_s": deadline_s,
        "phase": "run",
        "seq": 0,
    }
    return frame({**request, **{key: str(folder / f"{number}.{suffix}") for key, suffix in files.items()}})


def agent(*scripts: str, deadline_s: float = 600) -> tuple[Exits, measuring.Cost]:
    """Return how these end under an agent without a runner, and what that costs, the processes included."""
    with tempfile.TemporaryDirectory() as name:
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", BOOT], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert process.stdin is not None
        assert process.stdout is not None
        content = b"".join(start(Path(name), *each, deadline_s) for each in enumerate(scripts))
        threading.Thread(target=write, args=(process.stdin.fileno(), content), daemon=True).start()
        exits = read_exits(process.stdout.fileno(), len(scripts))
        process.stdin.close()
        process.wait()
        after, wall_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - began
        process.stdout.close()
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return exits, measuring.Cost(wall_s, cpu_s, 0)


def write(descriptor: int, content: bytes) -> None:
    while content:
        content = content[os.write(descriptor, content) :]


def read_exits(descriptor: int, count: int) -> Exits:
    frames, found = Frames(), []
    while len(found) < count:
        found += [message for message in frames.feed(os.read(descriptor, 1 << 16)) if message["event"] == "exit"]
    return found


def lateness(*scripts: str, deadline_s: float) -> list[float]:
    """Return by how many ms each process that sleeps was told to be gone after its deadline."""
    exits, _ = agent(*scripts, deadline_s=deadline_s)
    return [(each["seconds"] - deadline_s) * 1e3 for each in exits if scripts[each["id"]] == SLEEPER]


def interrupted(where: Project) -> measuring.Cost:
    """Return what it takes from one interrupt to the end of a run of sleeping processes."""
    shutil.rmtree(where.base / "runs")
    with where.started("run", "--config", "suite.yaml", "--quiet") as runner:
        wait_until(lambda: sum(path.stat().st_size > 0 for path in where.base.glob("runs/*/*.stdout")) == MANY)
        before, began = cpu_s(runner.pid), time.perf_counter()
        runner.send_signal(signal.SIGINT)
        _, _, usage = os.wait4(runner.pid, 0)
        runner.returncode = 130
        return measuring.Cost(time.perf_counter() - began, usage.ru_utime + usage.ru_stime - before, 0)


def cpu_s(pid: int) -> float:
    """Return the CPU time of a process, and of its child while it lives (the agent)."""
    total = 0.0
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    for each in (pid, *children):
        fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def profile(path: str) -> None:
    """Profile an agent within this process."""
    with tempfile.TemporaryDirectory() as name:
        inward, outward = os.pipe(), os.pipe()
        content = b"".join(start(Path(name), number, TRIVIAL, 600) for number in range(MANY))
        threading.Thread(target=write, args=(inward[1], content), daemon=True).start()
        threading.Thread(target=finish, args=(outward[0], inward[1]), daemon=True).start()
        served = Agent(inward[0], outward[1])
        with cProfile.Profile() as profiler:
            served.serve()
        profiler.dump_stats(path)


def finish(replies: int, requests: int) -> None:
    read_exits(replies, MANY)
    os.close(requests)


def costs(where: Project, rounds: int) -> None:
    """Measure runs of trivial processes, each beside the bare ones."""
    found: dict[str, list[float]] = {}
    for _ in range(rounds):
        where.write("suite.yaml", suite(1, TRIVIAL))
        one = measuring.milabench(where, "run", "--config", "suite.yaml", "--quiet")
        where.write("suite.yaml", suite(MANY, TRIVIAL))
        many = measuring.milabench(where, "run", "--config", "suite.yaml", "--quiet")
        bare = measuring.spent([sys.executable, "-I", "-S", "-c", BARE, str(MANY), TRIVIAL])
        _, alone = agent(*[TRIVIAL] * MANY)
        each = {
            "wall, runner and agent": many.wall_s - one.wall_s - bare.wall_s,
            "CPU, runner and agent": many.cpu_s - one.cpu_s - bare.cpu_s,
            "wall, agent alone": alone.wall_s - bare.wall_s,
            "CPU, agent alone": alone.cpu_s - bare.cpu_s,
        }
        for name, value in each.items():
            found.setdefault(name, []).append(value / MANY * 1e3)
    for name, values in found.items():
        measuring.show(f"each of {MANY} trivial processes at once, over the bare process: {name}", values, "ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", metavar="FILE")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if options.profile:
        profile(options.profile)
        return
    where = measuring.project()
    costs(where, options.rounds)
    where.write("suite.yaml", suite(MANY, SLEEPER))
    ends = [interrupted(where) for _ in range(options.rounds)]
    measuring.show(f"one interrupt of {MANY} processes, until the runner has ended", [end.wall_s for end in ends], "s")
    measuring.show(f"one interrupt of {MANY} processes, CPU of runner and agent", [end.cpu_s for end in ends], "s")
    alone = [late for _ in range(20) for late in lateness(SLEEPER, deadline_s=0.2)]
    measuring.show("a process is gone after its deadline, alone", alone, "ms")
    measuring.show("… while 4 others flood their output", lateness(SLEEPER, *[FLOOD] * 4, deadline_s=1.0), "ms")
    many = lateness(*[SLEEPER] * MANY, deadline_s=DEADLINE_S)
    measuring.show(f"… {MANY} that were started together", many, "ms")


main()
