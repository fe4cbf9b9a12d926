"""What a node takes of power: its processors by RAPL, all of it by IPMI, each where it is there and may be read."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from milabench.agent import processes, tools
from milabench.agent.monitor.reader import Fragment, Missing

_ZONES: Final = "sys/class/powercap"
_EVERY_S: Final = 10.0  # a management controller is slow, and serves others
_TIMEOUT_S: Final = 20.0
_WATTS = re.compile(r"Instantaneous power reading:\s*(\d+)\s*Watts")


@dataclass(slots=True, kw_only=True)
class _Zone:
    name: str
    path: Path
    range_uj: int
    passed_uj: int = 0  # in the turns of the counter that are over
    last_uj: int = 0


class Rapl:
    """The counters of energy of the processors and their memory; they turn over, what is told does not.

    Cores are part of their package, and all is part of the platform (``psys``): neither is told, so that the sum of
    what is told counts nothing twice.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        folder = root / _ZONES
        if not (zones := sorted(folder.glob("intel-rapl:*"))):
            raise Missing(f"there are no counters below /{_ZONES}")
        self.by = f"/{_ZONES}/intel-rapl:*/energy_uj"
        try:
            self._zones = [zone for path in zones if (zone := _zone(path)) is not None]
        except PermissionError:
            raise Missing(f"/{_ZONES}: only root may read energy_uj here") from None
        except (OSError, ValueError) as error:
            raise Missing(f"/{_ZONES} cannot be read: {error}") from None
        if not self._zones:
            raise Missing(f"no counter below /{_ZONES} is of a package")

    def read(self) -> Fragment:
        try:
            return {"power": {"rapl_j": {zone.name: _joules(zone) for zone in self._zones}}}
        except (OSError, ValueError) as error:
            raise Missing(f"/{_ZONES} cannot be read any more: {error}") from None


def _zone(path: Path) -> _Zone | None:
    """Return a zone that counts: a package, or the memory of one."""
    name = (path / "name").read_text().strip()
    if path.name.count(":") > 1:
        if name != "dram":
            return None
        name = f"{(path.with_name(path.name.rpartition(':')[0]) / 'name').read_text().strip()}/dram"
    elif not name.startswith("package"):
        return None
    zone = _Zone(name=name, path=path / "energy_uj", range_uj=int((path / "max_energy_range_uj").read_text()))
    zone.last_uj = int(zone.path.read_text())
    return zone


def _joules(zone: _Zone) -> float:
    now = int(zone.path.read_text())
    if now < zone.last_uj:
        zone.passed_uj += zone.range_uj
    zone.last_uj = now
    return (zone.passed_uj + now) / 1e6


class Ipmi:
    """The power of the whole node, by its management controller, asked seldom."""

    by = "ipmitool dcmi power reading"

    def __init__(self) -> None:
        path = shutil.which("ipmitool")
        if path is None:
            raise Missing("ipmitool is not there")
        self._path = path
        self._asked = time.monotonic()
        self._first: float | None = self._watts()  # one that does not answer now is not asked again

    def read(self) -> Fragment:
        if self._first is not None:
            watts, self._first = self._first, None
            return {"power": {"ipmi_w": watts}}
        if time.monotonic() - self._asked < _EVERY_S:
            return {}
        self._asked = time.monotonic()
        return {"power": {"ipmi_w": self._watts()}}

    def _watts(self) -> float:
        try:
            words = ("dcmi", "power", "reading")
            done = tools.ask(self._path, *words, within_s=_TIMEOUT_S, before=processes.end_with_parent)
        except subprocess.TimeoutExpired:
            raise Missing(f"ipmitool has not answered in {_TIMEOUT_S:.0f} s") from None
        except OSError as error:
            raise Missing(f"ipmitool cannot be started: {error.strerror}") from None
        found = _WATTS.search(done.stdout)
        if found is None or not int(found[1]):  # what it cannot measure it says is nothing
            said = (done.stderr or done.stdout).strip().splitlines()
            raise Missing(f"ipmitool tells no power{f': {said[0]}' if said else ''}")
        return float(found[1])
