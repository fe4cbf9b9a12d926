"""Whatever a monitor's file holds, what is shown of devices now is something that can be shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from milabench.agent.monitor import now
from milabench.console.usage import Meter
from milabench.plan.types import Command

NOW_NS = 1_900_000_000 * 10**9


def written(folder: Path, data: object, time_ns: object = NOW_NS) -> Path:
    path = folder / "n.monitor.jsonl"
    path.write_text(json.dumps({"event": "sample", "time_ns": time_ns, "data": data}) + "\n")
    return path


@pytest.mark.parametrize(
    ("devices", "known"),
    [
        ([{"id": 0, "load": 0.5, "memory_bytes": 2}], [{"id": 0, "load": 0.5, "memory_bytes": 2}]),
        (3, []),
        ({"id": 0}, []),
        ([3, None, "x", [0]], []),
        ([{"id": 0, "load": "x", "memory_bytes": 10**400}, {"id": 1}], [{"id": 0}, {"id": 1}]),
        ([{"id": [], "load": True, "memory_bytes": float("nan")}], [{"id": []}]),
    ],
)
def test_of_devices_is_told_what_can_be_shown(tmp_path: Path, devices: Any, known: list[Any]) -> None:
    found = now.devices(written(tmp_path, {"devices": devices}), NOW_NS)
    assert found == known
    command = Command(tag="a", node="n", argv=("true",), cwd="/", devices=(0,), benchmark="a")
    meter = Meter()
    meter.take({}, found, [command])
    assert meter.known["a"].load == (known[0].get("load") if known and known[0]["id"] == 0 else None)


@pytest.mark.parametrize("time_ns", [10**400, -(10**400), NOW_NS + 3600 * 10**9])
def test_a_sample_of_no_possible_time_tells_nothing_of_now(tmp_path: Path, time_ns: int) -> None:
    assert now.devices(written(tmp_path, {"devices": [{"id": 0}]}, time_ns), NOW_NS) == []
