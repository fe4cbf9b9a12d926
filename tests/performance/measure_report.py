"""Reporting on old runs of 100 files × 2,000 events and of 10⁶ events, and on one that is damaged, beside the peer.

The peer is a checkout of mila-iqia/milabench, whose dependencies are those of an interpreter of yours:

    python tests/performance/measure_report.py --peer ~/milabench --peer-python ~/milabench/.venv/bin/python

The files have the lines of a training benchmark with one GPU: of ten events four rates, three losses, two of early
stopping and a sample of the GPU; in ``printed`` every other event is a line of standard error instead. Of the last
two shapes the peer knows nothing: their steps stand in files of their own, as this milabench writes them.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmate.wire import GOOD, MEASURED, StepsWriter
from measuring import Cost, Project, milabench, project, show, spent

_OWN = ("steps", "repeats")  # shapes that only this milabench has
PEER = Path(__file__).with_name("peer_report.py")
SHAPES = {
    "100 files × 2,000 events": (100, 2_000, "", "≤ 0.5 s, ≤ 150 MiB"),
    "100 files × 10,000 events": (100, 10_000, "", "≤ 1.5 s, ≤ 300 MiB"),
    "1 file × 1,000,000 events": (1, 1_000_000, "", "≤ 1.5 s, ≤ 300 MiB"),
    "100 files × 10,000, printed": (100, 10_000, "printed", "≤ 1.5 s, ≤ 300 MiB"),
    "100 files × 10,000, damaged": (100, 10_000, "damaged", "≤ 1.5 s, ≤ 300 MiB"),
    "1 file × 1,000,000 steps": (1, 1_000_000, "steps", "≤ 1.5 s, ≤ 300 MiB"),
    "5 repeats × 200,000 steps": (5, 200_000, "repeats", "≤ 2 s, ≤ 300 MiB"),
}


def main() -> None:
    asked = _options()
    where = project()
    for name, (files, events, what, goal) in SHAPES.items():
        if asked.only not in name:
            continue
        run = where.folder / name.replace(" ", "-")
        _write(run, files, events, what)
        costs = [milabench(where, "report", str(run)) for _ in range(asked.times)]
        show(f"{name}: wall", [cost.wall_s for cost in costs], "s", goal=goal)
        show(f"{name}: CPU", [cost.cpu_s for cost in costs], "s")
        show(f"{name}: memory", [cost.rss_mib for cost in costs], "MiB")
        if asked.peer and what not in _OWN:
            theirs = _peer(where, asked, run)
            ratio = f"× {theirs.cpu_s / statistics.median(cost.cpu_s for cost in costs):.1f} of CPU"
            print(
                f"  the peer: {theirs.wall_s:.2f} s wall, {theirs.cpu_s:.2f} s CPU, {theirs.rss_mib:.0f} MiB; {ratio}"
            )
        shutil.rmtree(run)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path, help="a checkout of mila-iqia/milabench")
    parser.add_argument("--peer-python", type=Path, default=sys.executable, help="an interpreter with its dependencies")
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--only", default="", help="shapes with this in their names")
    return parser.parse_args()


def _peer(where: Project, asked: argparse.Namespace, run: Path) -> Cost:
    paths = os.pathsep.join(str(path.resolve()) for path in (asked.peer, asked.peer / "benchmate"))
    argv = [str(asked.peer_python.absolute()), str(PEER), str(run)]
    return spent(argv, where.folder, {**where.environ, "PYTHONPATH": paths})


def _write(run: Path, files: int, events: int, what: str) -> None:
    run.mkdir()
    chance = random.Random(7)
    for number in range(files):
        tag = f"net.R{number}.D0" if what == "repeats" else f"net{number // 8}.D{number % 8}"
        with (run / f"{tag}.data").open("w") as file:
            file.writelines(_lines(tag, 0 if what in _OWN else events, what, chance))
        if what in _OWN:
            _write_steps(run / f"{tag}.steps", events, chance)


def _write_steps(path: Path, steps: int, chance: random.Random) -> None:
    writer, now_ns = StepsWriter(path, unit="items", zero_ns=0), 0
    for _ in range(steps):
        start_ns, now_ns = now_ns, now_ns + int(chance.uniform(900_000, 1_100_000))
        writer.append(start_ns, now_ns, 32, MEASURED, GOOD)
    writer.close()


def _lines(tag: str, events: int, what: str, chance: random.Random) -> Iterator[str]:
    name, *_, last = parts = tag.split(".")
    device = int(last[1:])
    told = {
        "name": name,
        "tag": parts,
        "device": device,
        "devices": [device],
        "weight": 1,
        "enabled": True,
    }
    yield _line("config", {**told, "group": name, "plan": {"method": "per_gpu"}})
    yield _line("start", {"command": ["voir", "main.py"], "time": 10.0})
    for index in range(events):
        if what == "printed" and index % 2:
            yield _line("line", f"step {index}: nothing to say of it but that it went well\n", "stderr")
            continue
        text = _line("data", _data(index % 10, device, events, chance), "data")
        yield text[:30] + "\n" if what == "damaged" and index % 50 == 7 else text
    yield _line("end", {"command": ["voir", "main.py"], "time": 100.0, "return_code": 0})


def _data(kind: int, device: int, events: int, chance: random.Random) -> dict[str, object]:
    if kind < 4:
        return {"task": "train", "rate": chance.uniform(90, 110), "units": "items/s", "time": 1744736449.5}
    if kind < 7:
        return {"task": "train", "loss": chance.uniform(0, 1)}
    if kind < 9:
        return {"task": "early_stop", "progress": [kind, events]}
    used = chance.uniform(1000, 40000)
    sample = {"memory": [used, 46068.0], "load": 0.9, "temperature": 60, "power": 250.5}
    return {"task": "main", "time": 1744736449.5, "gpudata": {str(device): sample}}


def _line(event: str, data: object, pipe: str | None = None) -> str:
    return json.dumps({"event": event, "data": data, "pipe": pipe}) + "\n"


main()
