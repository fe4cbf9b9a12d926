"""Metrics that a program prints: JSON lines on its standard output, stamped as they arrive."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from benchmate.observations import Observations
from benchmate.wire import LINE_BYTES, MEASURED, UNIT_BYTES, EventWriter, Lines, StepsWriter, is_number, unit_of_rates

_DEPTH = 100  # what is nested deeper is no metric, and less than what a writer of JSON takes
_AMOUNT = frozenset({"count", "rate", "unit", "units"})  # the keys that say how much was done; what else is kept
_NAME = 40  # characters of a unit that is repeated to say why a line is refused


class PrintedMetrics:
    """Turn ``{"count": 64, "unit": "MB"}`` into rows of ``.steps`` and ``{"rate": 3.2, "units": "GB/s"}`` into events.

    A row runs from the row before (the first from the start of the process) to the arrival of its line; lines that
    arrive together (a program that does not flush each) are one row, for nothing tells their times apart. What a line
    says beside its count (a loss) is an event for each line, for a row has no place for it; also where the count, or a
    rate, is refused. The first ``skip`` observations are warm-up; ``full`` is called once, when the wanted amount has
    been measured.
    """

    def __init__(self, request: dict[str, Any], full: Callable[[], None]) -> None:
        self._events_path, self._steps_path = request["events"], request["steps"]
        self._seq: int = request["seq"]
        self._full: Callable[[], None] | None = full
        self._events: EventWriter | None = None
        self._steps: StepsWriter | None = None
        self._unit = ""  # of the counts, or of the rates: a process has one of them, in the unit that it said first
        self._rated = False
        self._lines = Lines(too_long=self._too_long)
        self._count = 0  # of the lines that arrived together
        self._last_ns = time.monotonic_ns()
        limit = request["limit"] if request["stop"] == "runner" else {"skip": request["limit"]["skip"]}
        self._observations = Observations(**limit, since_ns=self._last_ns)

    def feed(self, chunk: bytes) -> None:
        """Take what the program printed. Raises OSError when it cannot be written down."""
        self._take(self._lines.feed(chunk), time.monotonic_ns())

    def _take(self, lines: list[bytes], now_ns: int) -> None:
        for line in lines:
            if line.lstrip().startswith(b"{"):
                self._line(line, now_ns)
        if self._count:
            self._step(now_ns)

    def close(self) -> None:
        try:
            self._take(self._lines.end(), time.monotonic_ns())
        finally:
            if self._events:
                self._events.close()
            if self._steps:
                self._steps.close()

    def _line(self, line: bytes, now_ns: int) -> None:
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            self._refuse(line, "no JSON")
            return
        if _is_deep(line, value):
            self._refuse(line, f"nested more than {_DEPTH} deep")
        elif "rate" in value:
            self._rate(line, value, now_ns)
        elif "count" in value:
            self._add(line, value["count"], str(value.get("unit", "items")))
            self._write_rest(value)
        else:
            self._write("data", value)

    def _rate(self, line: bytes, value: dict[str, Any], now_ns: int) -> None:
        is_train = value.get("task", "train") == "train"
        units = {"units": value["unit"]} if "unit" in value and "units" not in value else {}
        unit = str({**value, **units}.get("units") or "")
        if why := self._why_no_rate(value["rate"], unit, is_train):
            self._refuse(line, why)
            self._write_rest(value)
        elif is_train:
            self._rated, self._unit = True, self._unit or unit
            task = "train" if self._observe(now_ns, rate=value["rate"]) == MEASURED else "warmup"
            self._write("data", {**value, **units, "task": task})
        else:
            self._write("data", value)

    def _why_no_rate(self, rate: object, unit: str, is_train: bool) -> str:
        """Say why a rate counts for nothing, nothing where it does; one without a unit is in that of the others."""
        if not is_number(rate):
            return "rate is no number"
        if rate <= 0:
            return "rate is not above 0"
        if is_train and (self._steps is not None or self._count):
            return "steps are counted already: a rate beside them would count them twice"
        if is_train and unit_of_rates(self._unit, unit) is None:
            return f"rates are in {self._unit[:_NAME].encode(errors='replace').decode()}"
        return ""

    def _write_rest(self, value: dict[str, Any]) -> None:
        """Keep what a line says beside an amount, as if it stood on a line of its own; of a task alone, nothing."""
        rest = {key: item for key, item in value.items() if key not in _AMOUNT}
        if rest.keys() - {"task"}:
            self._write("data", rest)

    def _add(self, line: bytes, count: object, unit: str) -> None:
        """Add a line's count to the row that its arrival ends."""
        if not (is_number(count) and count < 2**63):
            self._refuse(line, "count is no number of items")
        elif round(count) <= 0:
            self._refuse(line, "count is not above 0, as a whole number")
        elif self._rated:
            self._refuse(line, "rates are printed already: a count beside them would count them twice")
        elif self._steps is None and Path(self._steps_path).exists():
            self._refuse(line, "the process writes its steps itself")
        elif len(unit.encode(errors="surrogatepass")) > UNIT_BYTES:
            self._refuse(line, f"a unit of more than {UNIT_BYTES} bytes")
        elif any("\ud800" <= letter <= "\udfff" for letter in unit):  # JSON can write halves of letters
            self._refuse(line, "a unit that is no text")
        elif self._unit not in ("", unit):
            self._refuse(line, f"steps are counted in {self._unit}")
        else:
            self._unit = unit
            self._count += round(count)

    def _step(self, now_ns: int) -> None:
        if self._steps is None:
            zero_ns = time.time_ns() - time.monotonic_ns()
            self._steps = StepsWriter(self._steps_path, unit=self._unit, zero_ns=zero_ns)
        start_ns, count, self._count = self._last_ns, self._count, 0
        phase = self._observe(now_ns, count=count, duration_ns=now_ns - start_ns)
        self._steps.append(start_ns, now_ns, min(count, 2**63 - 1), phase, 0)

    def _observe(self, now_ns: int, **observation: Any) -> int:
        """Count one observation and return its phase."""
        self._last_ns = now_ns
        phase = self._observations.add(now_ns, **observation)
        stop = self._observations.reached(now_ns)
        if stop is not None and self._full is not None:
            full, self._full = self._full, None
            self._write("stop", stop)
            full()
        return phase

    def _refuse(self, line: bytes, why: str) -> None:
        self._write("line", {"line": line.decode(errors="replace"), "why": why})

    def _too_long(self, beginning: bytes, length: int) -> None:
        if beginning.lstrip().startswith(b"{"):
            self._refuse(beginning, f"{length} bytes in one line: at most {LINE_BYTES} are read")

    def _write(self, event: str, data: object) -> None:
        if self._events is None:
            self._events = EventWriter(self._events_path, first_seq=self._seq)
        self._events.write(event, data, pipe="stdout" if event == "line" else None)


def _is_deep(line: bytes, value: object) -> bool:
    """Say whether what a line holds is nested too deeply; a line of few brackets is not looked into."""
    if line.count(b"[") + line.count(b"{") <= _DEPTH:
        return False
    level = [value]
    for _ in range(_DEPTH):
        level = [item for each in level for item in _inner(each) if isinstance(item, dict | list)]
    return bool(level)


def _inner(value: object) -> Iterable[object]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
