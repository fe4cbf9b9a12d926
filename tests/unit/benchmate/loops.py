"""A clock and a device that only the test moves, and what an Observer wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmate.device import Cpu
from benchmate.wire import Clock, Steps, read_steps

MS = 1_000_000


class FakeTime:
    """A clock in ns that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000

    def monotonic_ns(self) -> int:
        return self.now

    def time_ns(self) -> int:
        return self.now + 5_000

    def pass_ms(self, ms: float) -> None:
        self.now += int(ms * MS)


class FakeEvent:
    def __init__(self, device: FakeDevice) -> None:
        self.device, self.at_ns = device, device.queued_ns

    def query(self) -> bool:
        self.device.queries += 1
        return self.at_ns <= self.device.done_ns

    def elapsed_time(self, end: FakeEvent) -> float:
        return (end.at_ns - self.at_ns) / MS


class FakeDevice(Cpu):
    """A device that has work queued up to ``queued_ns`` and has done it up to ``done_ns``."""

    arch = "cuda"  # type: ignore[misc]
    clock: Clock = "device"
    name = "Fake 1"  # type: ignore[misc]

    def __init__(self) -> None:
        self.queued_ns = self.done_ns = self.queries = self.synchronized = 0

    def event(self) -> FakeEvent:  # type: ignore[override]
        return FakeEvent(self)

    def synchronize(self) -> None:
        self.synchronized += 1
        self.done_ns = self.queued_ns

    def peak_memory(self) -> tuple[int, str]:  # type: ignore[override]
        return 2**30, "torch.cuda.max_memory_reserved"


def events(folder: Path) -> list[tuple[str, Any]]:
    lines = [json.loads(line) for line in (folder / "a.data").read_text().splitlines()]
    assert [line["seq"] for line in lines] == list(range(len(lines)))
    return [(line["event"], line["data"]) for line in lines]


def rows(folder: Path) -> list[tuple[int, ...]]:
    columns = steps(folder).columns
    return list(zip(*(columns[name] for name in ("start", "end", "count", "phase", "status")), strict=True))


def steps(folder: Path) -> Steps:
    return read_steps(folder / "a.steps")
