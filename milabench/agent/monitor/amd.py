"""AMD's GPUs by the files of their driver below /sys: nothing has to be installed. Not yet run on hardware."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from milabench.agent.monitor.reader import Fragment, Missing

Values = dict[str, Any]
_VENDOR: Final = "0x1002"
_STATE = re.compile(r"(\d+)\s*[Mm][Hh]z(\s*\*)?")  # of "1: 1700Mhz *"
_ERRORS = re.compile(r"(ue|ce):\s*(\d+)")
_SELDOM: Final = 10  # readings: error counts are fetched from the firmware
_UNREADABLE = (OSError, ValueError, IndexError)


class Amd:
    """The devices that a run knows: by the unique ids of their cards, by their order where those have none."""

    by = "amdgpu's files below /sys/class/drm"

    def __init__(self, devices: Iterable[Mapping[str, Any]], root: Path = Path("/")) -> None:
        cards = sorted(_cards(root), key=lambda card: card.resolve().name)  # by their PCI addresses
        if not cards:
            raise Missing("there is no card of amdgpu below /sys/class/drm")
        self._cards = [_Card(card, known) for card, known in _matched(cards, list(devices))]
        if not self._cards:
            raise Missing("none of the run's devices is a card of amdgpu here")

    def read(self) -> Fragment:
        return {"devices": [card.read() for card in self._cards]}


def _cards(root: Path) -> list[Path]:
    folders = (card / "device" for card in root.glob("sys/class/drm/card*") if card.name[4:].isdigit())
    return [folder for folder in folders if _word(folder / "vendor") == _VENDOR and (folder / "gpu_metrics").exists()]


def _matched(cards: list[Path], devices: list[Mapping[str, Any]]) -> list[tuple[Path, Mapping[str, Any]]]:
    by_uuid = {number: each for each in devices if (number := _number(each.get("uuid"))) is not None}
    found = [(card, by_uuid.get(_number(_word(card / "unique_id")) or 0)) for card in cards]
    if any(known for _, known in found):
        return [(card, known) for card, known in found if known is not None]
    return list(zip(cards, devices, strict=True)) if len(cards) == len(devices) else []


def _number(unique_id: object) -> int | None:
    """Return an id as a number: the tool writes it with ``0x``, the kernel without; None where there is none."""
    with suppress(ValueError):
        return int(str(unique_id), 16)
    return None


class _Card:
    def __init__(self, folder: Path, device: Mapping[str, Any]) -> None:
        self._folder = folder
        self._own = {"id": device["id"], "uuid": device.get("uuid")}
        self._sensors = next(iter(sorted(folder.glob("hwmon/hwmon*"))), folder / "hwmon")
        self._temperature = _hottest(self._sensors)
        self._residencies: dict[str, int] = {}
        self._ecc: Values = {}
        self._readings = 0

    def read(self) -> Values:
        found = {
            "load": _scaled(self._folder / "gpu_busy_percent", 100),
            "memory_bytes": _scaled(self._folder / "mem_info_vram_used"),
            "temperature_c": None if self._temperature is None else _scaled(self._temperature, 1000),
            "power_w": _first(_scaled(self._sensors / name, 1e6) for name in ("power1_average", "power1_input")),
            **_clocks(self._folder / "pp_dpm_sclk", "clock_mhz", "max_clock_mhz"),
            **_clocks(self._folder / "pp_dpm_mclk", "memory_clock_mhz"),
            **self._metrics(),
        }
        if self._readings % _SELDOM == 0:
            self._ecc = _errors(self._folder / "ras/umc_err_count")
        self._readings += 1
        return {**self._own, **{name: value for name, value in found.items() if value is not None}, **self._ecc}

    def _metrics(self) -> Values:
        try:
            metrics = Metrics((self._folder / "gpu_metrics").read_bytes())
        except (OSError, struct.error):
            return {}
        before, self._residencies = self._residencies, metrics.residencies
        grown = [word for word, count in metrics.residencies.items() if count > before.get(word, count)]
        throttle = grown if metrics.residencies else metrics.throttle
        return {"energy_j": metrics.energy_j, "throttle": throttle}


class Metrics:
    """What is used of a ``gpu_metrics`` file (kgd_pp_interface.h), whose form its header names; None: not in it.

    ``residencies``: for how long each cause has throttled so far, in counts that only grow.
    """

    _ENERGY: Final[Mapping[tuple[int, int], int]] = {
        (1, 3): 24,
        (1, 4): 24,
        (1, 5): 88,
        (1, 6): 88,
        (1, 7): 24,
        (1, 8): 24,
    }
    _STATUS: Final[Mapping[tuple[int, int], int]] = {(1, 3): 112}
    _RESIDENCIES: Final[Mapping[tuple[int, int], int]] = {(1, 6): 108, (1, 7): 44, (1, 8): 44}
    _JOULE: Final = 1 << 16  # counts of the energy accumulator

    def __init__(self, content: bytes) -> None:
        """Read one. Raises struct.error where it is shorter than its header says."""
        _, *form = struct.unpack_from("<HBB", content)
        self.energy_j: float | None = None
        self.throttle: list[str] | None = None
        self.residencies: dict[str, int] = {}
        version = (form[0], form[1])
        if version in self._ENERGY:
            (energy,) = struct.unpack_from("<Q", content, self._ENERGY[version])
            self.energy_j = None if energy in (0, (1 << 64) - 1) else energy / self._JOULE
        if version in self._STATUS:
            (status,) = struct.unpack_from("<Q", content, self._STATUS[version])
            self.throttle = None if status == (1 << 64) - 1 else _words(status)
        if version in self._RESIDENCIES:
            hot, power, *thermal = struct.unpack_from("<5I", content, self._RESIDENCIES[version])
            self.residencies = {"hw slowdown": hot, "power cap": power, "thermal": sum(thermal)}


def _words(status: int) -> list[str]:
    """Return the causes in ``indep_throttle_status``: its bytes are groups of them."""
    groups = {"power cap": 0x00000000000000FF, "current limit": 0x0000000000FF0000, "thermal": 0x00003FFF00000000}
    groups |= {"hw slowdown": 0x0000C00000000000, "reliability": 0x0300000000000000}
    return [word for word, mask in groups.items() if status & mask]


def _hottest(sensors: Path) -> Path | None:
    """Return the file of the junction's temperature, of the first sensor where none is named so."""
    labels = {_word(label): label for label in sorted(sensors.glob("temp*_label"))}
    label = labels.get("junction") or next(iter(labels.values()), sensors / "temp1_label")
    path = label.with_name(label.name.replace("_label", "_input"))
    return path if path.exists() else None


def _clocks(path: Path, now: str, most: str | None = None) -> Values:
    """Read the states of a clock: ``0: 500Mhz``, and ``1: 1700Mhz *`` for the one that it is in."""
    with suppress(*_UNREADABLE):
        states = [(int(mhz), bool(star)) for mhz, star in _STATE.findall(path.read_text())]
        current = [mhz for mhz, is_current in states if is_current]
        found: Values = {now: current[0]} if current else {}
        return {**found, most: max(mhz for mhz, _ in states)} if most else found
    return {}


def _errors(path: Path) -> Values:
    with suppress(*_UNREADABLE):
        counts = {kind: int(count) for kind, count in _ERRORS.findall(path.read_text())}
        if counts:
            return {"ecc": {"corrected": counts.get("ce", 0), "uncorrected": counts.get("ue", 0)}}
    return {}


def _scaled(path: Path, unit: float = 1) -> float | None:
    with suppress(*_UNREADABLE):
        number = int(path.read_text())
        return number if unit == 1 else number / unit
    return None


def _first(values: Iterable[float | None]) -> float | None:
    return next((value for value in values if value is not None), None)


def _word(path: Path) -> str | None:
    with suppress(*_UNREADABLE):
        return path.read_text().strip()
    return None
