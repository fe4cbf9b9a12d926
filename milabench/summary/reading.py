"""The lines of a ``.data`` file folded as they come; nothing is kept that the summary does not need."""

from __future__ import annotations

import json
import re
import sys
from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from itertools import repeat
from types import NoneType
from typing import Any, Final

from benchmate.wire import is_number, unit_of_rates
from milabench.summary import legacy

_decode: Final = json.JSONDecoder().raw_decode  # half the time of json.loads, which matters 10⁶ times
_MIB: Final = 1 << 20
_NAME: Final = 40  # characters of a name that is repeated in a warning
_MOST_STEPS: Final = 1_000_000  # that one line may stand for
_STRUCTURED: Final = frozenset({"data", "config", "start", "end", "error", "message", "measured"})  # ``data`` is a map
_RUNNERS: Final = frozenset({"config", "start", "end"})
# What a process printed, by the thousand: not decoded when whole.
_IDLE: Final = b'{"event": "line"'
_NUMBER: Final = rb"(-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)"
_WORD: Final = rb"([ !#-\[\]-~]*)"
_BESIDE: Final = rb'(?:, "(?:time|t|elapsed|batch_id|schedule_time)": [-+.0-9eE]+|, "schedule_time": null)*'
# The lines of which older runs have thousands, in the words of their releases: taken apart without decoding them.
_PLAIN: Final = re.compile(
    rb'\{"event": "data", "data": \{(?:'
    rb'"task": "train", "rate": %(number)s, "units": "%(word)s"%(beside)s'
    rb'|"rate": %(number)s, "units": "%(word)s", "task": "train"%(beside)s'
    rb'|"task": "train", "loss": %(number)s'
    rb'|"loss": %(number)s(?:, "task": "train")?'
    rb'|"progress": \[\d+, \d+\], "task": "early_stop"'
    rb'|"task": "(?:train|main|early_stop)", "progress": \[\d+, \d+\]'
    rb')\}, "pipe": "data"\}' % {b"number": _NUMBER, b"word": _WORD, b"beside": _BESIDE}
)
_RATES: Final = (2, 4)  # its groups that are the last of a rate: the unit; before it the number
_FROM_STDERR: Final = b'"pipe": "stderr"}'
_UNITS: Final = {"B": 1, "KiB": 1 << 10, "MiB": _MIB, "GiB": 1 << 30}


@dataclass(slots=True, kw_only=True)
class Reading:
    """What a file said so far. Rates in the order written, each as often as it stands for steps; times in seconds.

    A file that several attempts wrote into (milabench appends) says what the last one did; ``earlier`` counts the
    others, ``earlier_rates`` what they measured. ``bad`` lines are no events: ``salvaged`` records stood on them whole
    all the same, and count; ``lost_rates`` more rates could not be read. ``torn`` lines are those that milabench could
    not take apart when it wrote the file, and kept as text with ``torn_rates`` rates in them.
    """

    config: dict[str, Any] = field(default_factory=dict)
    start: dict[str, Any] | None = None
    end: dict[str, Any] | None = None
    stopped: bool = False
    limit: str = ""  # which limit ended the measurement
    error: str = ""
    said: str = ""  # the first error that standard error tells
    instrument: str = ""  # what broke in the instrumentation
    deadline: str = ""  # what the runner said as it ended the process
    message: str = ""
    rates: array[float] = field(default_factory=lambda: array("d"))
    unit: str = ""
    warmup: int = 0
    first_loss: float | None = None
    last_loss: float | None = None
    losses: int = 0
    nan_loss: bool = False
    task: str = ""  # what it says it measures
    world_size: int | None = None  # of its group, as it says
    measured: dict[str, Any] = field(default_factory=dict)  # what the process says of its measurement as a whole
    rated_ns: tuple[int, int] | None = None  # when the first and the last rate were told
    device_bytes: int = 0
    host_bytes: int = 0
    nonfinite: int = 0
    tasks: Counter[str] = field(default_factory=Counter)  # rates of other tasks than train, by task
    units: Counter[str] = field(default_factory=Counter)  # rates in other units than the first that was said, by unit
    lines: int = 0
    bad: int = 0
    refused: int = 0  # lines printed that look like metrics and are none
    why_refused: str = ""  # why the first of them is none
    salvaged: int = 0
    lost_rates: int = 0
    torn: int = 0
    torn_rates: int = 0
    unknown: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    earlier: int = 0
    earlier_rates: int = 0


_OF_THE_FILE: Final = ("lines", "bad", "salvaged", "lost_rates", "torn", "torn_rates", "unknown", "lost")


def read(lines: Iterable[bytes], *, rates: bool = True) -> Reading:
    """Fold the lines of one process, without newlines; ``rates`` False where they are read from its steps instead."""
    reading, plain = Reading(), _PLAIN.fullmatch
    for line in lines:
        reading.lines += 1
        if match := plain(line):
            _fold_plain(reading, match, rates)
            continue
        if line.startswith(_IDLE) and line.endswith(b"}"):
            if b'"why": ' in line:
                _fold_refused(reading, line)
            if line.endswith(_FROM_STDERR) and not reading.said and legacy.tells_error(line):
                reading.said = legacy.last_words(_object(line) or {})
            continue
        if not rates and b'"rate": ' in line and b'"loss": ' not in line and line.endswith(b"}"):
            continue
        value = _object(line)
        if value is not None and _is_event(value):
            _fold(reading, value)
        elif line.strip():
            _fold_damaged(reading, line.decode(errors="replace"))
    return reading


def _fold_plain(reading: Reading, match: re.Match[bytes], rates: bool) -> None:
    """Fold a line of known words; what is not read off it here says nothing."""
    which = match.lastindex
    if which in _RATES:
        rate = float(match[which - 1])
        if not rates:
            return
        if not is_number(rate):
            reading.nonfinite += 1
        elif _is_in_unit(reading, match[which].decode(errors="replace"), 1):
            reading.rates.append(rate)
    elif which is not None:
        _fold_loss(reading, float(match[which]), False)


def _fold_refused(reading: Reading, line: bytes) -> None:
    """Count a line that was printed and is no metric; only the first of them is decoded."""
    reading.refused += 1
    if reading.refused == 1 and isinstance(data := (_object(line) or {}).get("data"), dict):
        reading.why_refused = str(data.get("why", ""))


def _fold_damaged(reading: Reading, text: str) -> None:
    """Count a line that is no event, and fold the records that stand on it whole."""
    reading.bad += 1
    before = len(reading.rates)
    for record in legacy.records(text):
        if _is_event(record):
            reading.salvaged += 1
            _fold(reading, record)
    reading.lost_rates += max(legacy.rates_in(text) - (len(reading.rates) - before), 0)


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
    return event != "data" or type(data.get("rate", data.get("train_rate"))) in (int, float, NoneType)


def _fold(reading: Reading, line: dict[str, Any]) -> None:
    """Fold one event; a bare object (a script that writes metrics itself) is a ``data`` event."""
    event = line.get("event", "data")
    data = line.get("data") if "event" in line else line
    if event == "data" and isinstance(data, dict):
        if "event" not in line and legacy.is_hashed(line):
            _fold_hashed(reading, line)
        else:
            _fold_data(reading, data, line)
    elif isinstance(event, str) and event in _RUNNERS and isinstance(data, dict):
        _fold_runners(reading, event, data)
    elif event == "stop":
        reading.stopped = True
        limit = data.get("reason") if isinstance(data, dict) else None
        reading.limit = limit[:_NAME] if isinstance(limit, str) else reading.limit
    else:
        _fold_told(reading, event, data, line)
    seq = line.get("seq")
    if seq is not None:  # contiguous from 0: more numbers than lines were lost on the way
        reading.lost = max(reading.lost, seq + 1 - reading.lines)


def _fold_told(reading: Reading, event: object, data: Any, line: dict[str, Any]) -> None:
    """Fold what is told in words: errors, messages, what the process printed."""
    if event == "error":
        if isinstance(data, dict) and data.get("type") != "SystemExit":
            reading.error = reading.error or _error(data)
    elif event == "message" and isinstance(data, dict):
        reading.message = str(data.get("message", ""))
        if legacy.is_deadline(reading.message):
            reading.deadline = reading.message
    elif event == "overseer_error" and isinstance(data, dict):
        reading.instrument = reading.instrument or _error(data)
    elif event == "format_error":
        text = data.get("line") if isinstance(data, dict) else data
        reading.torn += not isinstance(text, str) or bool(text.strip())
        reading.torn_rates += legacy.rates_in(text)
    elif event == "line":
        reading.said = reading.said or legacy.last_words(line)
    elif event == "measured" and isinstance(data, dict):
        if not reading.measured or data.get("task") == "train":
            reading.measured, reading.task = data, _task(data) or reading.task
    elif event == "hello" and isinstance(data, dict):  # a process that is killed says nothing else of it
        reading.task = reading.task or _task(data)
        reading.world_size = data["world_size"] if type(data.get("world_size")) is int else reading.world_size
    elif (kind := str(event)[:_NAME]) not in legacy.SILENT:
        reading.unknown[kind] += 1


def _task(data: dict[str, Any]) -> str:
    task = data.get("task")
    return task[:_NAME] if isinstance(task, str) else ""


def _error(data: dict[str, Any]) -> str:
    return ": ".join(str(data[key]) for key in ("type", "message") if data.get(key))


def _fold_hashed(reading: Reading, line: dict[str, Any]) -> None:
    """Fold a line of milabench's first releases."""
    several = list(legacy.events(line))
    for event in several:
        if _is_event(event):
            _fold(reading, event)
    if not several:
        reading.unknown.update(key for key in line if key.startswith("#"))


def _begin_again(reading: Reading) -> None:
    """Forget what an earlier attempt did, but that there was one; what is wrong with the file stays told."""
    fresh = Reading(earlier=reading.earlier + 1, earlier_rates=reading.earlier_rates + len(reading.rates))
    for each in fields(Reading):
        if each.name not in _OF_THE_FILE:
            setattr(reading, each.name, getattr(fresh, each.name))


def _fold_runners(reading: Reading, event: str, data: dict[str, Any]) -> None:
    """Fold what the runner writes. Where its ``start`` has a mark, what the process wrote by these names is bad."""
    mark = (reading.start or {}).get("seal")
    if mark is not None and (event != "end" or data.get("seal") != mark):
        reading.bad += 1
        return
    if event == "config" and reading.config and reading.start is not None and "tag" in data:
        _begin_again(reading)
    setattr(reading, event, data)


def _fold_data(reading: Reading, data: dict[str, Any], line: dict[str, Any]) -> None:
    if "rate" in data:
        _fold_rate(reading, data, data["rate"], data.get("task"))
        if type(line.get("time_ns")) is int and data.get("task") == "train":
            reading.rated_ns = (reading.rated_ns or (line["time_ns"],))[0], line["time_ns"]
    elif "train_rate" in data:  # as the first releases named it
        _fold_rate(reading, data, data["train_rate"], "train")
    if "loss" in data:
        _fold_loss(reading, data["loss"], "loss" in line.get("nonfinite", ()))
    if "memory_peak_bytes" in data and is_number(data["memory_peak_bytes"]):
        reading.device_bytes = max(reading.device_bytes, int(data["memory_peak_bytes"]))
    elif "memory_peak" in data and is_number(data["memory_peak"]):
        scale = _UNITS.get(str(data.get("units")), _MIB)
        reading.device_bytes = max(reading.device_bytes, int(data["memory_peak"] * scale))
    if isinstance(data.get("gpudata"), dict):
        _fold_gpudata(reading, data["gpudata"])
    if isinstance(data.get("process"), dict):
        reading.host_bytes = max(reading.host_bytes, _used(data["process"]))


def _fold_rate(reading: Reading, data: dict[str, Any], rate: object, task: object) -> None:
    steps = data.get("steps", 1)
    steps = steps if isinstance(steps, int) and 0 < steps <= _MOST_STEPS else 1
    if task == "train" and not is_number(rate):
        reading.nonfinite += 1
    elif task not in ("warmup", "train"):
        reading.tasks[str(task or "none")[:_NAME]] += steps
    elif _is_in_unit(reading, str(data.get("units") or ""), steps):
        if task == "warmup":
            reading.warmup += steps
        elif is_number(rate):
            reading.rates.extend(repeat(rate, steps))


def _is_in_unit(reading: Reading, unit: str, steps: int) -> bool:
    """Say whether a rate is in the unit that was said first; count those in others, which cannot be put together.

    One without a unit, or whose unit is damaged, is in that of the rest.
    """
    if unit == reading.unit:
        return True
    known = unit_of_rates(reading.unit, "" if "\ufffd" in unit else unit)
    if known is None:
        reading.units[unit[:_NAME]] += steps
        return False
    reading.unit = sys.intern(known)
    return True


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
            reading.device_bytes = max(reading.device_bytes, _used(sample, _MIB))


def _used(sample: dict[str, Any], scale: int = 1) -> int:
    """Return the bytes that a sample says are used: ``{"memory": [used, total]}``."""
    memory = sample.get("memory")
    return int(memory[0] * scale) if isinstance(memory, list) and memory and is_number(memory[0]) else 0
