"""Read the counters of energy below a tree of /sys."""

from __future__ import annotations

from pathlib import Path

import pytest

from hardware import lay, recorded
from milabench.agent.monitor.power import Rapl
from milabench.agent.monitor.reader import Missing

ZONES = "sys/class/powercap"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return lay(tmp_path, recorded("sysfs-rapl.json"))


def joules(rapl: Rapl) -> dict[str, float]:
    return dict(rapl.read()["power"]["rapl_j"])


def test_packages_and_their_memory_are_told_and_what_is_part_of_them_or_has_them_is_not(root: Path) -> None:
    assert joules(Rapl(root)) == {"package-0": 5.0, "package-0/dram": 2.5, "package-1": 7.0, "package-1/dram": 1.0}


def test_a_counter_that_turns_over_goes_on_growing(root: Path) -> None:
    counter = root / ZONES / "intel-rapl:0/energy_uj"
    counter.write_text("262143000000\n")
    rapl = Rapl(root)
    before = joules(rapl)["package-0"]
    counter.write_text("671150\n")  # the range of the counter is 262143.32885 J
    assert joules(rapl)["package-0"] - before == pytest.approx(1.0)
    counter.write_text("1671150\n")
    assert joules(rapl)["package-0"] - before == pytest.approx(2.0)


def test_where_only_root_may_read_it_is_said(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = Path.read_text

    def refuse(path: Path) -> str:
        if path.name == "energy_uj":
            raise PermissionError(13, "Permission denied", str(path))
        return read(path)

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(Missing, match="only root may read energy_uj"):
        Rapl(root)


def test_where_there_are_no_counters_it_is_said(tmp_path: Path) -> None:
    with pytest.raises(Missing, match="no counters below /sys/class/powercap"):
        Rapl(tmp_path)


def test_counters_that_go_away_are_missing_from_then_on(root: Path) -> None:
    rapl = Rapl(root)
    (root / ZONES / "intel-rapl:1/energy_uj").unlink()
    with pytest.raises(Missing, match="cannot be read any more"):
        rapl.read()
