"""A run on 1,000 nodes of 8 devices: planned and supervised, with agents that are not there.

Each node's agent is played by this process at the other end of a host's pipe: it answers in frames, and sends what 8
processes write as a real one does, looked at twice a second. Time is virtual, so that what is measured is CPU: that of
milabench with that of playing the agents taken off, beside a bare loop that takes the same frames, appends what is in
them to as many files, and reads each event as JSON once. Plan, processes, run directory and what is checked in the end
are those of a real run; no connection is opened. Exit code 1 where a goal is missed or an event is lost.

What else runs on a machine, or beside it, only adds to this: of several rounds the least of each time counts. An ext4
without a journal looks, before it makes a file, at each one of its group that was deleted within the last minutes:
whoever runs this again on such a disk waits for five, or gives a ``--folder`` in memory.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import hashlib
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

from benchmate.wire import Frames, encode_event, frame
from measuring import Project  # noqa: F401  # the path of what follows

sys.path.insert(1, str(Path(__file__).resolve().parents[1] / "unit" / "plan"))

from plans import FACTS, planned  # noqa: E402

from milabench.cli.shared import collect_seldom  # noqa: E402
from milabench.execute import Interrupt, Setting, TrialEnded, execute  # noqa: E402
from milabench.execute.hosts.agent import AgentHost  # noqa: E402
from milabench.execute.virtual import VirtualTime  # noqa: E402
from milabench.outcome import Outcome  # noqa: E402
from milabench.plan import Plan  # noqa: E402
from milabench.record import Record  # noqa: E402

T = TypeVar("T")
DEVICES = 8
LOOK_S, EVENTS_A_LOOK = 0.5, 5  # ten a second
CPU_S, MEMORY_MIB = 10.0, 500.0  # beyond the events' own time
BENCHFILE = f"""
from milabench.commands import PackCommand, PerGPU
from milabench.pack import Package


class Bench(Package):
    def build_run_plan(self):
        return PerGPU(PackCommand(self), [{{"device": number}} for number in range({DEVICES})])


__pack__ = Bench
"""
SUITE = "fleet: {definition: bench, plan: {method: per_node}, max_duration: 3600, voir: {options: {skip: 0}}}\n"


class Meter:
    """The CPU time of what is no work of milabench's."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def of(self, work: Callable[[], T]) -> T:
        began = time.process_time()
        try:
            return work()
        finally:
            self.seconds += time.process_time() - began


@dataclass
class Playing:
    """One process of a node that is played."""

    number: int
    tag: str
    seq: int
    offset: int = 0
    hash: Any = field(default_factory=hashlib.sha256)

    def look(self, now_ns: int) -> bytes:
        """Return what a look at its file finds, as a frame."""
        lines = b"".join(
            encode_event("data", {"rate": 120.0 + index, "units": "items/s", "task": "train"}, time_ns=now_ns, seq=seq)
            for index, seq in enumerate(range(self.seq, self.seq + EVENTS_A_LOOK))
        )
        message = {"id": self.number, "event": "chunk", "file": f"{self.tag}.data", "offset": self.offset}
        self.hash.update(lines)
        self.offset += len(lines)
        self.seq += EVENTS_A_LOOK
        return frame(message, lines)

    def end(self) -> bytes:
        files = {f"{self.tag}.data": {"size": self.offset, "sha256": self.hash.hexdigest()}}
        for name in ("stdout", "stderr"):
            files[f"{self.tag}.{name}"] = {"size": 0, "sha256": hashlib.sha256().hexdigest()}
        ended: dict[str, Any] = {"code": 0, "signal": None, "oom": False, "cause": None, "error": None}
        ended |= {"max_rss_bytes": 1 << 30, "seconds": 60.0, "ended_s": 60.0}
        return frame({"id": self.number, "event": "exit", **ended, "files": files})


class PlayedAgent:
    """The other end of a host's pipe; a Transport."""

    complaint = ""

    def __init__(self, clock: VirtualTime, meter: Meter, looks: int) -> None:
        self._clock, self._meter, self._looks = clock, meter, looks
        self._frames = Frames()
        self._ready: asyncio.Queue[bytes] = asyncio.Queue()
        self._playing: list[Playing] = []
        self._timer: asyncio.TimerHandle | None = None

    async def read(self) -> bytes:
        return await self._ready.get()

    def write(self, content: bytes) -> None:
        self._meter.of(lambda: self._take(content))

    def _take(self, content: bytes) -> None:
        for request in self._frames.feed(content):
            if request["op"] == "hello":
                self._ready.put_nowait(frame({"id": request["id"], "event": "hello", "host": "played"}))
            elif request["op"] == "start":
                self._playing.append(Playing(request["id"], request["tag"], request["seq"]))
                self._ready.put_nowait(frame({"id": request["id"], "event": "started", "pid": 1}))
                self._timer = self._timer or asyncio.get_running_loop().call_later(LOOK_S, self._look)
            elif request["op"] == "offer":
                self._ready.put_nowait(frame({"id": request["id"], "event": "wanted", "files": {}}))
            elif request["op"] == "received":
                self._ready.put_nowait(frame({"id": request["transfer"], "event": "staged"}))
            elif request["op"] not in ("receive", "arrived", "alive"):
                raise SystemExit(f"nobody plays what answers {request['op']}")

    def _look(self) -> None:
        self._meter.of(self._find)

    def _find(self) -> None:
        self._looks -= 1
        self._ready.put_nowait(b"".join(each.look(self._clock.now_ns()) for each in self._playing))
        if self._looks > 0:
            self._timer = asyncio.get_running_loop().call_later(LOOK_S, self._look)
        else:
            self._ready.put_nowait(b"".join(each.end() for each in self._playing))

    async def drain(self) -> None:
        """All that was sent is taken."""

    def close_input(self) -> None:
        self._ready.put_nowait(b"")

    async def ended(self) -> str:
        return "it has ended"

    async def kill(self) -> None:
        self.close_input()


class PlayedHost(AgentHost):
    """A host whose agent is played."""

    remote = True

    def __init__(self, agent: PlayedAgent) -> None:
        super().__init__({})
        self._agent = agent

    async def connect(self) -> PlayedAgent:
        return self._agent


@dataclass(frozen=True)
class Cost:
    """What one round took: s of CPU, and how many events were lost."""

    planning_s: float
    supervised_s: float
    playing_s: float
    own_s: float
    lost: int

    @property
    def beyond_s(self) -> float:
        return self.planning_s + self.supervised_s - self.own_s


def main() -> int:
    """Print what it takes; return the exit code."""
    asked = _options()
    with tempfile.TemporaryDirectory(prefix="milabench-performance-", dir=asked.folder) as name:
        looks = round(asked.seconds / LOOK_S)
        events = asked.nodes * DEVICES * looks * EVENTS_A_LOOK
        print(f"{asked.nodes:,} nodes × {DEVICES} devices, {events:,} events in {asked.seconds:g} s; s of CPU:")
        costs, memory = [], 0.0
        for number in range(1, asked.rounds + 1):
            costs.append(measure(Path(name, str(number)), asked.nodes, looks, events))
            memory = memory or _peak_mib()
            _show(f"round {number}", costs[-1])
    least = Cost(**{each.name: min(getattr(cost, each.name) for cost in costs) for each in fields(Cost)})
    lost = sum(cost.lost for cost in costs)
    _show("the least of each", least)
    print(f"  beyond the events' own time, the bare loop's: {least.beyond_s:.2f} s of CPU; goal ≤ {CPU_S:g}")
    print(f"  memory, the played agents' too: {memory:.0f} MiB; goal ≤ {MEMORY_MIB:g}")
    print(f"  {lost} lost" if lost else "  none lost", flush=True)
    return int(bool(lost) or least.beyond_s > CPU_S or memory > MEMORY_MIB)


def measure(folder: Path, nodes: int, looks: int, events: int) -> Cost:
    """Plan and supervise once, and then run the bare loop."""
    gc.collect()
    gc.disable()  # as `milabench run` does, here and below
    began = time.process_time()
    plan = planned(folder, _files(nodes), facts={**FACTS, "ips": ["10.0.0.0"]})
    planning_s = time.process_time() - began
    collect_seldom()
    supervised_s, playing_s = supervise(folder / "run", plan, looks)
    own_s = bare(folder / "bare", plan, looks)
    return Cost(planning_s, supervised_s, playing_s, own_s, lost=events - sum(_rates(folder / "run", plan)))


def _show(name: str, cost: Cost) -> None:
    supervising = f"{cost.supervised_s:.2f} supervising (without {cost.playing_s:.2f} of playing the agents)"
    print(f"  {name}: {cost.planning_s:.2f} planning, {supervising}; a bare loop {cost.own_s:.2f}", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=10.0, help="so long each process measures (10)")
    parser.add_argument("--rounds", type=int, default=3, help="how often all of it is done (3)")
    parser.add_argument("--folder", help="where the runs are written (that of temporary files)")
    return parser.parse_args()


def _files(nodes: int) -> dict[str, str]:
    entries = [
        {"name": f"n{n}", "ip": f"10.0.{n // 250}.{n % 250}", "gpu": {"count": DEVICES}, "cpus": 64, "main": n == 0}
        for n in range(nodes)
    ]
    system = {"system": {"arch": "cuda", "nodes": entries}}
    return {
        "suite.yaml": SUITE,
        "bench/main.py": "",
        "bench/benchfile.py": BENCHFILE,
        "system.yaml": json.dumps(system),  # which is YAML
    }


def supervise(folder: Path, plan: Plan, looks: int) -> tuple[float, float]:
    """Run a plan; return the CPU time of that, and of playing the agents."""
    clock, meter = VirtualTime(), Meter()
    nodes = sorted({command.node for trial in plan.trials for command in trial.commands})

    async def run() -> list[Outcome]:
        hosts = {name: PlayedHost(PlayedAgent(clock, meter, looks)) for name in nodes}
        for host in hosts.values():
            await host.__aenter__()
        setting = Setting(hosts=hosts, records=record, interrupt=Interrupt())
        outcomes = [each.outcome async for each in execute(plan, setting) if isinstance(each, TrialEnded)]
        for host in hosts.values():
            await host.close()
        return outcomes

    began = time.process_time()
    record = Record.create(folder, plan=plan, facts={}, suite={}, now_ns=clock.now_ns)
    (outcome,) = clock.run(run())
    record.finish("complete")
    if outcome.kind != "ok":
        raise SystemExit(f"it ended {outcome.kind}: {outcome.reason}")
    return time.process_time() - began - meter.seconds, meter.seconds


def bare(folder: Path, plan: Plan, looks: int) -> float:
    """Return the CPU time of a bare loop over the same frames."""
    folder.mkdir()
    tags = [command.tag for trial in plan.trials for command in trial.commands]
    playing = [Playing(number, tag, 2) for number, tag in enumerate(tags)]
    spent_s = 0.0
    for _ in range(looks):
        for _, group in groupby(playing, lambda each: each.number // DEVICES):
            content = b"".join(each.look(1) for each in group)
            began = time.process_time()
            _take(folder, content)
            spent_s += time.process_time() - began
    return spent_s


def _take(folder: Path, content: bytes) -> None:
    place = 0
    while place < len(content):
        size = int.from_bytes(content[place : place + 4], "big")
        message = json.loads(content[place + 4 : place + 4 + size])
        place += 4 + size
        blob = content[place : place + message["bytes"]]
        place += len(blob)
        descriptor = os.open(f"{folder}/{message['file']}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.write(descriptor, blob)
        os.close(descriptor)
        for line in blob.splitlines():
            json.loads(line)


def _rates(folder: Path, plan: Plan) -> Iterator[int]:
    """Yield how many events of each process are in a run."""
    for trial in plan.trials:
        for command in trial.commands:
            yield (folder / f"{command.tag}.data").read_bytes().count(b'"rate"')


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


sys.exit(main())
