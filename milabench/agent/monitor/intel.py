"""Intel's accelerators by their tools: GPUs by xpu-smi, Gaudi by hl-smi. Not yet run on hardware."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from milabench.agent.monitor.stream import Row, Stream

_MIB: Final = 1 << 20
_Column = tuple[str, float]  # a sample's name of it, and what its values are divided by
# By the beginning of the column's heading, which goes on with its unit.
_OF_XPU: Final[Mapping[str, _Column]] = {
    "GPU Utilization": ("load", 100),
    "GPU Power": ("power_w", 1),
    "GPU Frequency": ("clock_mhz", 1),
    "GPU Core Temperature": ("temperature_c", 1),
    "GPU Energy Consumed": ("energy_j", 1),
    "GPU Memory Used": ("memory_bytes", 1 / _MIB),
}
_XPU_METRICS: Final = "0,1,2,3,8,18"  # xpu-smi's numbers of those
_OF_GAUDI: Final[Mapping[str, _Column]] = {
    "utilization.aip": ("load", 100),
    "memory.used": ("memory_bytes", 1 / _MIB),
    "temperature.aip": ("temperature_c", 1),
    "power.draw": ("power_w", 1),
}


def xpu(devices: Iterable[Mapping[str, Any]]) -> Stream:
    """Return the reader of xpu-smi, which prints a row for each device and second. Raises Missing."""
    rows = XpuRows({each["id"]: each.get("uuid") for each in devices})
    return Stream(("xpu-smi", "dump", "-d", "-1", "--metrics", _XPU_METRICS), rows)


def gaudi(devices: Iterable[Mapping[str, Any]]) -> Stream:
    """Return the reader of hl-smi. Raises Missing."""
    columns = ("index", "uuid", *_OF_GAUDI)
    argv = ("hl-smi", "-Q", ",".join(columns), "-f", "csv,noheader,nounits", "-l", "1")
    return Stream(argv, gaudi_rows({each["id"] for each in devices}, columns))


class XpuRows:
    """Reads ``Timestamp, DeviceId, GPU Utilization (%), …``: the heading says what stands where."""

    def __init__(self, known: Mapping[int, str | None]) -> None:
        self._known = known
        self._heading: list[str] = []

    def __call__(self, words: list[str]) -> Row | None:
        if "DeviceId" in words:
            self._heading = words
            return None
        if not self._heading:
            return None
        said = dict(zip(self._heading, words, strict=True))
        number = int(said["DeviceId"])
        if number not in self._known:
            return None
        found: Row = {"id": number, "uuid": self._known[number]}
        for heading, word in said.items():
            for beginning, column in _OF_XPU.items():
                if heading.startswith(beginning):
                    found |= _value(word, column)
        return found


def gaudi_rows(known: Iterable[int], columns: tuple[str, ...]) -> Callable[[list[str]], Row | None]:
    def row(words: list[str]) -> Row | None:
        said = dict(zip(columns, words, strict=True))
        number = int(said["index"])
        if number not in known:
            return None
        found: Row = {"id": number, "uuid": said["uuid"]}
        for name, column in _OF_GAUDI.items():
            found |= _value(said[name], column)
        return found

    return row


def _value(word: str, column: _Column) -> Row:
    """Return a value by its name; nothing where the tool does not know it."""
    name, unit = column
    try:
        number = float(word) / unit
    except ValueError:
        return {}
    return {name: int(number) if name.endswith("_bytes") else number}
