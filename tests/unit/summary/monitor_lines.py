"""Lines as a monitor writes them: a sample a second of a machine that does the same all the time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

SECOND = 10**9
T0 = 1_900_000_000 * SECOND  # when the first sample is of
Line = Mapping[str, Any]


def at(seconds: float) -> int:
    """Return so many seconds after the first sample as the wall clock has it."""
    return T0 + round(seconds * SECOND)


def header(cores: int = 4, time_s: float = 0) -> Line:
    data = {"version": 1, "node": "local", "interval_s": 1.0, "cores": cores, "sources": {}}
    return {"event": "monitor", "time_ns": at(time_s), "data": data}


def sample(time_s: float, **data: Any) -> Line:
    return {"event": "sample", "time_ns": at(time_s), "data": data}


def cpu(time_s: float, *, busy: float = 0.0, ours: float = 0.0, pressure: float = 0.0, steal: float = 0.0) -> Line:
    """Return a sample of counters that grow by so many s in each second."""
    rates = {"busy_s": busy, "ours_s": ours, "pressure_s": pressure, "steal_s": steal}
    return sample(time_s, cpu={name: 1000 + rate * time_s for name, rate in rates.items()}, own_cpu_s=0.01 * time_s)


def device(id_: int, time_s: float, **values: Any) -> dict[str, Any]:
    """Return a device that takes 100 W (by its counter), whatever else is said of it."""
    counted = {} if "power_w" in values else {"energy_j": 5000.0 + 100.0 * time_s}
    return {"id": id_, "uuid": f"GPU-{id_}", **counted, **values}


def gpus(times_s: Iterable[float], *ids: int, **values: Any) -> list[Line]:
    return [sample(t, devices=[device(each, t, **values) for each in ids]) for t in times_s]
