"""What milabench's report makes of a run, worked out from the lines of its files: plain Python, nothing of milabench.

Beside it what else each benchmark's files hold, to see that nothing is lost on the way: how many rates and losses, the
largest sample of memory on the devices a process had, how long it took.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

KEYS = ("n", "fail", "ngpu", "perf", "std", "sem", "score", "weight", "enabled")
HELD = ("rates", "losses", "first_loss", "last_loss", "memory", "seconds")
Row = dict[str, float | None]
_MIB = 1 << 20


@dataclass
class Process:
    """One file as the formula sees it; memory in bytes, times in seconds."""

    path: Path
    config: dict[str, Any] = field(default_factory=dict)
    started: float | None = None
    ended: float | None = None
    code: object = None
    stopped: bool = False
    nan: bool = False
    rates: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    memory: float = 0.0

    @property
    def good(self) -> bool:
        nolog = "nolog" in self.config["tag"]
        return self.stopped or nolog or (self.code == 0 and not self.nan and bool(self.rates))

    @property
    def repeat(self) -> tuple[Path, str]:
        told = (part for part in self.config["tag"][1:] if part[0] == "R" and part[1:].isdigit())
        return self.path.parent, next(told, "R0")

    @property
    def seconds(self) -> float:
        return 0.0 if self.started is None or self.ended is None else self.ended - self.started


def processes(runs: Sequence[Path], kinds: Counter[str]) -> dict[str, list[Process]]:
    """Return the processes of runs by benchmark; ``kinds`` counts their lines by the kind of event."""
    found: dict[str, list[Process]] = {}
    for path in sorted(path for run in runs for path in run.glob("*.data")):
        one = _process(path, kinds)
        setup = one.config.get("definition") == "."  # of milabench's own commands, which are no benchmark
        if one.config and one.started is not None and not setup:
            found.setdefault(one.config["name"], []).append(one)
    return found


def _process(path: Path, kinds: Counter[str]) -> Process:
    found = Process(path)
    for raw in path.read_bytes().splitlines():
        try:
            line = json.loads(raw)
            kind, data = line["event"], line["data"]
        except (ValueError, KeyError, TypeError):
            kinds["(damaged)"] += 1
            continue
        kinds[kind] += 1
        found.stopped |= kind == "stop"
        if kind == "config":
            found.config = data
        elif kind == "start":
            found.started = data["time"]
        elif kind == "end":
            found.ended, found.code = data["time"], data["return_code"]
        elif kind == "data":
            _measured(found, data)
    return found


def _measured(found: Process, data: Mapping[str, Any]) -> None:
    if data.get("task") == "train" and data.get("rate") is not None:
        found.rates.extend([data["rate"]] * data.get("steps", 1))
    if "loss" in data:
        found.losses.append(math.nan if data["loss"] is None else data["loss"])
        found.nan |= math.isnan(found.losses[-1])
    own = found.config.get("device")
    for device, sample in data.get("gpudata", {}).items():
        if own is None or str(own) == device:
            found.memory = max(found.memory, sample["memory"][0] * _MIB)
    found.memory = max(found.memory, data.get("memory_peak", 0) * _MIB, data.get("memory_peak_bytes", 0))


def trimmed(rates: Sequence[float]) -> list[float]:
    return sorted(rates)[1:-1] if len(rates) >= 5 else sorted(rates)


def mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def row(several: Sequence[Process]) -> Row:
    """Return what the formula makes of a benchmark."""
    rates = trimmed([rate for each in several for rate in each.rates])
    perf = mean(rates) if rates else None
    std = math.sqrt(mean([(rate - perf) ** 2 for rate in rates])) if perf is not None else None
    failed = sum(not each.good for each in several)
    config = several[-1].config
    return {
        "n": len(several),
        "fail": failed,
        "ngpu": max(_ngpu(each.config) for each in several),
        "perf": perf,
        "std": std,
        "sem": None if std is None else std / math.sqrt(len(rates)),
        "score": (_machine(several) or perf or 0.0) * (1 - failed / len(several)),
        "weight": config.get("weight", 0),
        "enabled": float(config.get("enabled", True)),
    }


def _machine(several: Sequence[Process]) -> float:
    """Return the sum of what each device did, 0 where processes had none of their own."""
    devices: dict[str, list[float]] = {}
    for each in several:
        if each.config.get("device") is not None:
            devices.setdefault(str(each.config["device"]), []).extend(each.rates)
    return math.fsum(mean(trimmed(rates)) for rates in devices.values() if rates)


def _ngpu(config: Mapping[str, Any]) -> int:
    local = len(config.get("devices") or []) if config.get("plan", {}).get("method") == "njobs" else 1
    return int(config.get("num_machines") or 1) * local


def total(rows: Mapping[str, Row]) -> float | None:
    """Return exp(Σ w·ln(score + 1) / Σ w) over enabled benchmarks, None where no weight is above 0."""
    pairs = [((each["weight"] or 0) * (each["enabled"] or 0), each["score"] or 0.0) for each in rows.values()]
    weights = sum(weight for weight, _ in pairs)
    return math.exp(sum(weight * math.log(score + 1) for weight, score in pairs) / weights) if weights else None


def held(several: Sequence[Process]) -> Row:
    """Return how much the files of a benchmark hold."""
    finite = [[loss for loss in each.losses if math.isfinite(loss)] for each in several]
    seconds: dict[tuple[Path, str], float] = {}
    for each in several:
        seconds[each.repeat] = max(seconds.get(each.repeat, 0.0), each.seconds)
    return {
        "rates": sum(len(each.rates) for each in several),
        "losses": sum(len(each.losses) for each in several),
        "first_loss": mean([losses[0] for losses in finite if losses]) if any(finite) else None,
        "last_loss": mean([losses[-1] for losses in finite if losses]) if any(finite) else None,
        "memory": max(int(each.memory) for each in several),
        "seconds": math.fsum(seconds.values()),
    }
