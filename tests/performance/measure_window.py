"""What milabench's own processes take of the CPU while a benchmark is measured, and how long that then waits for one.

Some windows of one to three seconds of a real benchmark. The processes' own counters are read 30 times a second from
outside and taken to grow evenly between: the runner, the agent, the monitor. On a machine of two cores a benchmark with
one thread cannot have waited for them longer than they ran; that it waited at all is mostly somebody else's doing,
which the report shows, as the monitor saw it.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from measuring import Project, project, show

TRIALS: Final = 10
LOOK_S: Final = 0.03
STEPS: Final = 400
MAIN: Final = """
    from benchmate.observe import Observer

    observer = Observer(unit="items")
    for batch in observer.iterate([[0] * 8] * 100_000):
        sum(range(200_000))
"""
OWN: Final = ("runner", "agent", "monitor")
Looks = dict[str, list[tuple[int, int]]]  # of each process: when (ns since 1970), its CPU time then (ns)


def main() -> None:
    where = project()
    where.write("spin/main.py", MAIN)
    limit = {"stop": STEPS, "skip": 20}
    where.suite(spin={"definition": "spin", "plan": {"method": "njobs", "n": 1}, "voir": {"options": limit}})
    assert where.verb("install").code == 0
    trials = [_trial(where) for _ in range(TRIALS)]
    for name in OWN:
        show(f"{name} while a benchmark is measured", [trial[name] for trial in trials], "% of a core", goal="≤ 0.5")
    for name in ("wait", "others", "pressure"):
        show(f"{name} by the report", [trial[name] for trial in trials], "%")


def _trial(where: Project) -> dict[str, float]:
    """Run the benchmark once; return what was taken within its window, in %."""
    argv = where._argv(("run", "--config", "suite.yaml", "--quiet"))
    looks: Looks = {}
    with subprocess.Popen(argv, cwd=where.folder, env=where.environ, stdout=subprocess.DEVNULL) as runner:
        while runner.poll() is None:
            for name, pid in _own(runner.pid):
                _look(looks.setdefault(name, []), pid)
            time.sleep(LOOK_S)
    (process,) = where.report()["spin"]["processes"]
    taken = {name: _grown(looks[name], *process["window_ns"]) for name in OWN}
    told = {name: process["evidence"][f"{name}_share"] or 0.0 for name in ("wait", "others", "pressure")}
    return {name: 100 * share for name, share in {**taken, **told}.items()}


def _own(runner: int) -> Iterator[tuple[str, int]]:
    yield "runner", runner
    for agent in _children(runner):
        yield "agent", agent
        for child in _children(agent):
            if b"agent.monitor" in _bytes(f"/proc/{child}/cmdline"):
                yield "monitor", child


def _children(pid: int) -> list[int]:
    return [int(word) for word in _bytes(f"/proc/{pid}/task/{pid}/children").split()]


def _look(looks: list[tuple[int, int]], pid: int) -> None:
    """Add the CPU time that a process has had in all of its threads."""
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    taken = [int(words[0]) for path in threads if (words := _bytes(str(path)).split())]
    if taken:
        looks.append((time.time_ns(), sum(taken)))


def _bytes(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError:  # it has ended
        return b""


def _grown(looks: list[tuple[int, int]], begin_ns: int, end_ns: int) -> float:
    """Return the growth within a window as a share of it."""
    return (_at(looks, end_ns) - _at(looks, begin_ns)) / (end_ns - begin_ns)


def _at(looks: list[tuple[int, int]], time_ns: int) -> float:
    before = max((look for look in looks if look[0] <= time_ns), default=looks[0])
    after = min((look for look in looks if look[0] > time_ns), default=looks[-1])
    share = (time_ns - before[0]) / (after[0] - before[0]) if after[0] > before[0] else 0.0
    return before[1] + share * (after[1] - before[1])


main()
