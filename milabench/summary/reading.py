"""The lines of a ``.data`` file folded as they come; nothing is kept that the summary does not need."""

from __future__ import annotations

import json
import sys
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import NoneType
from typing import Any, Final, TypeGuard

_decode: Final = json.JSONDecoder().raw_decode  # half the time of json.loads, which matters 10⁶ times
_MIB: Final = 1 << 20
_MOST: Final = 1e100
_MOST_STEPS: Final = 1_000_000  # that one line may stand for
_STRUCTURED: Final = frozenset({"data", "config", "start", "end", "error", "message"})  # their ``data`` is an object
# Lines other tools write by the thousand that say nothing a summary needs: not decoded when whole.
_IDLE: Final = (b'{"event": "line"', b'{"event": "data", "data": {"task": "early_stop"')


@dataclass(slots=True, kw_only=True)
class Reading:
    """What a file said so far. Rates in the order written, each as often as it stands for steps; times in seconds."""

    config: dict[str, Any] = field(default_factory=dict)
    start: dict[str, Any] | None = None
    end: dict[str, Any] | None = None
    stopped: bool = False
    error: str = ""
    message: str = ""
    rates: array[float] = field(default_factory=lambda: array("d"))
    unit: str = ""
    warmup: int = 0
    first_loss: float | None = None
    last_loss: float | None = None
    losses: int = 0
    nan_loss: bool = False
    device_bytes: int = 0
    lines: int = 0
    bad: int = 0
    nonfinite: int = 0
    lost: int = 0


def read(lines: Iterable[bytes], *, rates: bool = True) -> Reading:
    """Fold the lines of one process; ``rates`` False where they are read from its steps instead."""
    reading = Reading()
    for line in lines:
        reading.lines += 1
        if line.startswith(_IDLE) and line.endswith(b"}\n"):
            continue
        if not rates and b'"rate": ' in line and b'"loss": ' not in line and line.endswith(b"}\n"):
            continue
        value = _object(line)
        if value is not None and _is_event(value):
            _fold(reading, value)
        elif line.strip():
            reading.bad += 1
    return reading


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        text = line.strip().decode()
        value, end = _decode(text)
    except (ValueError, RecursionError):
        return None
    return value if end == len(text) and isinstance(value, dict) else None


def _is_event(line: dict[str, Any]) -> bool:
    """Say whether what a line says has the types that it is read as; a bare object is a ``data`` event."""
    event, data = (line["event"], line.get("data")) if "event" in line else ("data", line)
    if not isinstance(line.get("nonfinite", []), list) or type(line.get("seq", 0)) not in (int, NoneType):
        return False
    if not isinstance(event, str) or event not in _STRUCTURED:
        return True
    if not isinstance(data, dict):
        return False
    return event != "data" or type(data.get("rate")) in (int, float, NoneType)


def _fold(reading: Reading, line: dict[str, Any]) -> None:
    """Fold one event; a bare object (a script that writes metrics itself) is a ``data`` event."""
    event = line.get("event", "data")
    data = line.get("data") if "event" in line else line
    if event == "data" and isinstance(data, dict):
        _fold_data(reading, data, line)
    elif event == "config" and isinstance(data, dict):
        reading.config = data
    elif event == "start" and isinstance(data, dict):
        reading.start = data
    elif event == "end" and isinstance(data, dict):
        reading.end = data
    elif event == "stop":
        reading.stopped = True
    elif event == "error" and isinstance(data, dict) and data.get("type") != "SystemExit":
        reading.error = reading.error or ": ".join(str(data[key]) for key in ("type", "message") if data.get(key))
    elif event == "message" and isinstance(data, dict):
        reading.message = str(data.get("message", ""))
    seq = line.get("seq")
    if seq is not None:  # contiguous from 0: more numbers than lines were lost on the way
        reading.lost = max(reading.lost, seq + 1 - reading.lines)


def _fold_data(reading: Reading, data: dict[str, Any], line: dict[str, Any]) -> None:
    if "rate" in data:
        _fold_rate(reading, data)
    if "loss" in data:
        _fold_loss(reading, data["loss"], "loss" in line.get("nonfinite", ()))
    if "memory_peak_bytes" in data and is_number(data["memory_peak_bytes"]):
        reading.device_bytes = max(reading.device_bytes, int(data["memory_peak_bytes"]))
    if isinstance(data.get("gpudata"), dict):
        _fold_gpudata(reading, data["gpudata"])


def _fold_rate(reading: Reading, data: dict[str, Any]) -> None:
    rate, steps = data["rate"], data.get("steps", 1)
    steps = steps if isinstance(steps, int) and 0 < steps <= _MOST_STEPS else 1
    if data.get("task") == "warmup":
        reading.warmup += steps
    elif data.get("task") == "train":
        if not is_number(rate):
            reading.nonfinite += 1
            return
        if steps == 1:
            reading.rates.append(rate)
        else:
            reading.rates.extend([rate] * steps)
        reading.unit = reading.unit or sys.intern(str(data.get("units", "")))


def _fold_loss(reading: Reading, loss: object, nonfinite: bool) -> None:
    reading.losses += 1
    if is_number(loss):
        reading.first_loss = float(loss) if reading.first_loss is None else reading.first_loss
        reading.last_loss = float(loss)
    else:
        reading.nan_loss = reading.nan_loss or nonfinite or loss != loss  # noqa: PLR0124 - is NaN


def _fold_gpudata(reading: Reading, gpudata: dict[str, Any]) -> None:
    """Fold ``{device: {"memory": [used MiB, total MiB], …}}``; of one device where the process had one."""
    own = reading.config.get("device")
    for device, sample in gpudata.items():
        if (own is None or str(own) == device) and isinstance(sample, dict):
            memory = sample.get("memory")
            if isinstance(memory, list) and memory and is_number(memory[0]):
                reading.device_bytes = max(reading.device_bytes, int(memory[0] * _MIB))


def is_number(value: object) -> TypeGuard[int | float]:
    """Say whether a value is a number to compute with: finite, and so small that its square is too."""
    return type(value) in (int, float) and -_MOST <= value <= _MOST  # type: ignore[operator]
