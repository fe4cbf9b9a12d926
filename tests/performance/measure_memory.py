"""Memory of the runner and its agent against the length of a run: it must not grow."""

from __future__ import annotations

import json
import sys

from measuring import project, spent

LENGTHS = (10_000, 100_000, 1_000_000, 4_000_000)
# Make so many steps, event lines, or printed lines; at the end write down what the parent, the agent, took at most.
BENCHMARK = """
import os, sys
from benchmate import wire

kind, n = sys.argv[1], int(sys.argv[2])
if kind == "steps":
    steps = wire.StepsWriter(os.environ["MILABENCH_STEPS"], unit="items", zero_ns=0)
    for i in range(n):
        steps.append(i * 1000, i * 1000 + 900, 10, wire.MEASURED, 0)
    steps.close()
elif kind == "events":
    events = wire.EventWriter(os.environ["MILABENCH_EVENTS"], first_seq=int(os.environ["MILABENCH_SEQ"]))
    for i in range(n):
        events.write("data", {"task": "train", "rate": 1.0, "units": "items/s", "loss": 0.5, "step": i})
else:
    for i in range(n):
        print('{"count": 10, "unit": "items"}')
sys.stdout.flush()
with open(f"/proc/{os.getppid()}/status") as status:
    agent = next(line for line in status if line.startswith("VmHWM"))
with open("agent", "w") as file:
    file.write(agent.split()[1])
"""
RUNNER = """
import resource, sys
from milabench.cli import main
try:
    main()
finally:
    with open("runner", "w") as file:
        file.write(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))
"""


def main() -> None:
    print("peak of runner / agent in MiB, and seconds, by the number of")
    print("".join(f"{n:>24,}" for n in LENGTHS))
    where = project()
    where.write("benchmark.py", BENCHMARK)
    for kind in ("steps", "events", "printed lines"):
        cells = []
        for n in LENGTHS if kind == "steps" else LENGTHS[:-1]:
            voir = {"options": {"stop": 10**9, "skip": 0}}
            argv = [sys.executable, "benchmark.py", kind, str(n)]
            env = {"PYTHONPATH": where.environ["PYTHONPATH"]}
            where.write(
                "suite.yaml",
                json.dumps(
                    {"long": {"command": {"argv": argv, "env": env}, "plan": {"method": "njobs", "n": 1}, "voir": voir}}
                ),
            )
            cost = spent(
                [sys.executable, "-c", RUNNER, "run", "--config", "suite.yaml", "--quiet"], where.folder, where.environ
            )
            peaks = [int((where.folder / name).read_text()) / 1024 for name in ("runner", "agent")]
            cells.append(f"{peaks[0]:.0f} / {peaks[1]:.0f}, {cost.wall_s:.1f} s".rjust(24))
        print("".join(cells), kind)


main()
