"""Read a tree of /proc and /sys: what of it stands in a sample, and what is said of what is not there."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hardware import lay, recorded
from milabench.agent.monitor.host import Host
from milabench.agent.monitor.tree import Tree

TICKS = os.sysconf("SC_CLK_TCK")  # in a second
TICK_S = 1 / TICKS


class NoTree:
    def seconds(self) -> float:
        return 1.5


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return lay(tmp_path, recorded("sysfs-host.json"))


def host(root: Path) -> Host:
    return Host(NoTree, root)  # type: ignore[arg-type]


def test_what_a_sample_has_of_the_kernel(root: Path) -> None:
    found = host(root).read()
    assert found["cpu"] == {
        "busy_s": pytest.approx((1000 + 50 + 500 + 5 + 15) * TICK_S),
        "steal_s": pytest.approx(30 * TICK_S),
        "ours_s": 1.5,
        "pressure_s": 1.234567,
    }
    assert found["memory"] == {"used_bytes": 600 * 1024, "total_bytes": 1000 * 1024, "swap_bytes": 50 * 1024}


def test_disks_and_links_that_are_hardware_count_and_what_lies_upon_them_does_not(root: Path) -> None:
    found = host(root).read()
    assert found["disk"] == {"read_bytes": 2008 * 512, "written_bytes": 4016 * 512}
    assert found["network"] == {"received_bytes": 1000, "sent_bytes": 2000}


class Cores:
    """Cores whose ticks pass as the test says; ``khz`` are their clocks."""

    def __init__(self, root: Path, khz: list[int]) -> None:
        self._root, self._busy, self._idle = root, [1000] * len(khz), [1000] * len(khz)
        self._host = host(root)
        self.clocks(khz)
        self.pass_([0] * len(khz), 100)
        self.first = self._host.read()["cpu"]

    def clocks(self, khz: list[int]) -> None:
        for number, value in enumerate(khz):
            lay(self._root, {f"sys/devices/system/cpu/cpu{number}/cpufreq/scaling_cur_freq": f"{value}\n"})

    def pass_(self, busy: list[int], ticks: int) -> None:
        """Let ticks pass, of which each core is busy for some."""
        self._busy = [before + more for before, more in zip(self._busy, busy, strict=True)]
        self._idle = [before + ticks - more for before, more in zip(self._idle, busy, strict=True)]
        pairs = enumerate(zip(self._busy, self._idle, strict=True))
        rows = "".join(f"cpu{number} {busy} 0 0 {idle} 0 0 0 0 0 0\n" for number, (busy, idle) in pairs)
        (self._root / "proc/stat").write_text(f"cpu  1 1 1 1 1 1 1 1 0 0\n{rows}intr 5\n")

    def mhz(self, busy: list[int], ticks: int = TICKS) -> float | None:
        """Return the clock that a sample has after so many ticks."""
        self.pass_(busy, ticks)
        found: float | None = self._host.read()["cpu"].get("mhz")
        assert self._host.states["clock"]["by"]
        return found


def test_the_clock_is_that_of_the_cores_that_were_busy_since_the_last_look_by_how_busy_they_were(root: Path) -> None:
    cores = Cores(root, [1_000_000, 2_000_000, 3_000_000])
    assert "mhz" not in cores.first  # nobody has looked before
    assert cores.mhz([0, TICKS, TICKS * 6 // 10]) == pytest.approx((2000 * 1 + 3000 * 0.6) / 1.6, abs=1)


def test_one_busy_core_among_many_idle_ones_has_a_steady_clock(root: Path) -> None:
    cores = Cores(root, [3_500_000] + [800_000] * 15)
    chance = random.Random(1)
    found = []
    for _ in range(20):
        cores.clocks([3_500_000, *(chance.choice([800_000, 1_200_000, 2_800_000]) for _ in range(15))])
        found.append(cores.mhz([TICKS, *(chance.choice([0, 0, TICKS // 100]) for _ in range(15))]))
    assert found == [3500] * 20


def test_where_no_core_was_mostly_busy_nothing_is_said_of_the_clock(root: Path) -> None:
    cores = Cores(root, [3_500_000, 800_000])
    assert cores.mhz([TICKS // 3, TICKS // 10]) is None


def test_a_look_soon_after_another_says_nothing_of_the_clock_and_a_later_one_is_of_all_the_time(root: Path) -> None:
    cores = Cores(root, [3_000_000, 1_000_000])
    assert cores.mhz([TICKS, 0]) == 3000
    assert cores.mhz([0, TICKS // 10], TICKS // 10) is None
    assert cores.mhz([TICKS // 2, 0], TICKS // 2) == 3000


def test_cores_that_stay_busy_stay_those_whose_clock_is_read(root: Path) -> None:
    cores = Cores(root, [4_000_000] * 4 + [3_000_000] * 4)  # two kinds of them in one processor
    assert cores.mhz([TICKS] * 4 + [TICKS * 9 // 10] * 4) == 4000
    assert cores.mhz([TICKS * 9 // 10] * 4 + [TICKS] * 4) == 4000


def test_without_clocks_it_is_said_even_while_nothing_is_busy(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/stat").write_text("cpu  1 1 1 1 1 1 1 1 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\nintr 5\n")
    reading = host(tmp_path)
    reading.read()
    assert reading.states["clock"] == {"missing": "/sys/devices/system/cpu/*/cpufreq is not there"}


@pytest.mark.parametrize(
    ("path", "source", "section", "why"),
    [
        ("proc/pressure/cpu", "pressure", "cpu", "/proc/pressure/cpu is not there"),
        ("proc/diskstats", "disk", "disk", "/proc/diskstats is not there"),
        ("proc/meminfo", "memory", "memory", "/proc/meminfo is not there"),
    ],
)
def test_what_a_kernel_does_not_have_is_left_out_and_named(
    root: Path, path: str, source: str, section: str, why: str
) -> None:
    whole = host(root).read()
    (root / path).unlink()
    reading = host(root)
    found = reading.read()
    assert reading.states[source] == {"missing": why}
    assert found.get(section) != whole[section]
    assert {name: found[name] for name in found if name != section} == {
        name: whole[name] for name in whole if name != section
    }


def test_a_file_of_another_form_is_left_out_and_named(root: Path) -> None:
    (root / "proc/meminfo").write_text("nonsense\n")
    reading = host(root)
    assert "memory" not in reading.read()
    assert reading.states["memory"] == {"missing": "/proc/meminfo has another form than is known"}


def test_a_part_that_comes_back_is_read_again(root: Path) -> None:
    content = (root / "proc/meminfo").read_text()
    (root / "proc/meminfo").unlink()
    reading = host(root)
    assert "memory" not in reading.read()
    (root / "proc/meminfo").write_text(content)
    assert "memory" in reading.read()
    assert reading.states["memory"] == {"by": "/proc/meminfo"}


# The tree -------------------------------------------------------------------------------------------------------------

TOP, MONITOR = 10, 11


def process(  # noqa: PLR0913
    root: Path, pid: int, parent: int, *, own: int = 0, waited_for: int = 0, name: str = "sh", began: int = 100
) -> None:
    """Write the line of a process: CPU times in ticks of it and of the children that it waited for."""
    rest = f"S {parent} 1 1 0 -1 4194304 1 1 1 1 {own} 0 {waited_for} 0 20 0 1 0 {began} 0 0"
    lay(root, {f"proc/{pid}/stat": f"{pid} ({name}) {rest}\n"})


def gone(root: Path, pid: int) -> None:
    (root / f"proc/{pid}/stat").unlink(missing_ok=True)
    (root / f"proc/{pid}").rmdir()


@pytest.fixture
def agent(tmp_path: Path) -> Path:
    process(tmp_path, 1, 0, own=1000)
    process(tmp_path, TOP, 1, own=50)
    process(tmp_path, MONITOR, TOP, own=70)
    return tmp_path


def ticks(tree: Tree) -> int:
    return round(tree.seconds() / TICK_S)


def test_all_below_the_agent_counts_and_neither_it_nor_its_monitor_do(agent: Path) -> None:
    tree = Tree(agent, TOP, MONITOR)
    assert ticks(tree) == 0
    process(agent, 20, TOP, own=100)
    process(agent, 21, 20, own=10, waited_for=5)
    process(agent, 30, 1, own=10_000)
    process(agent, 31, MONITOR, own=10_000)
    assert ticks(tree) == 115


def test_a_child_whose_number_is_below_its_parents_is_found(agent: Path) -> None:
    tree = Tree(agent, TOP, MONITOR)
    process(agent, 5000, TOP, own=1)
    process(agent, 12, 5000, own=2)
    process(agent, 4000, 12, own=4)
    assert ticks(tree) == 7


def test_what_has_ended_is_counted_once_by_who_waited_for_it(agent: Path) -> None:
    tree = Tree(agent, TOP, MONITOR)
    process(agent, 20, TOP, own=100)
    process(agent, 21, 20, own=40)
    assert ticks(tree) == 140
    gone(agent, 21)
    process(agent, 20, TOP, own=100, waited_for=45)
    assert ticks(tree) == 145
    gone(agent, 20)
    process(agent, TOP, 1, own=50, waited_for=150)
    assert ticks(tree) == 150


def ended(root: Path, pid: int) -> None:
    """Have a process end after /proc was listed: it is listed and cannot be read."""
    (root / f"proc/{pid}/stat").unlink()


def test_it_never_falls_while_a_dead_child_is_between_two_counts(agent: Path) -> None:
    tree = Tree(agent, TOP, MONITOR)
    process(agent, 20, TOP, own=100)
    assert ticks(tree) == 100
    ended(agent, 20)  # and the agent had been read before it waited for it
    assert ticks(tree) == 100
    gone(agent, 20)
    process(agent, TOP, 1, own=50, waited_for=103)
    assert ticks(tree) == 103
    assert ticks(tree) == 103


def test_a_child_that_ended_before_its_parent_was_read_is_not_counted_twice(agent: Path) -> None:
    tree = Tree(agent, TOP, MONITOR)
    process(agent, 20, TOP, own=10)
    process(agent, 21, 20, own=100)
    assert ticks(tree) == 110
    ended(agent, 21)
    process(agent, 20, TOP, own=10, waited_for=104)
    assert ticks(tree) == 114
    gone(agent, 21)
    assert ticks(tree) == 114


def test_a_child_that_is_waited_for_while_its_parent_is_read_is_counted_once(agent: Path) -> None:
    class Racing(Tree):
        """Its process 21 ends, and is waited for, as soon as it has been read."""

        racing = False

        def _read(self, pid: str, before: Any) -> Any:
            found = super()._read(pid, before)
            if pid == "21" and self.racing:
                gone(agent, 21)
                process(agent, 20, TOP, own=10, waited_for=100)
            return found

    tree = Racing(agent, TOP, MONITOR)
    process(agent, 20, TOP, own=10)
    process(agent, 21, 20, own=100)
    assert ticks(tree) == 110
    tree.racing = True
    assert ticks(tree) == 110
    assert ticks(tree) == 110


@pytest.mark.parametrize("end", [gone, ended])
def test_what_nobody_waited_for_stays_counted_and_hides_nothing_that_comes_later(
    agent: Path, end: Callable[[Path, int], None]
) -> None:
    tree = Tree(agent, TOP, MONITOR)
    process(agent, 20, TOP, own=10)
    process(agent, 21, 20, own=100)
    assert ticks(tree) == 110
    end(agent, 21)  # its parent ignores SIGCHLD
    assert ticks(tree) == 110
    if end is ended:
        gone(agent, 21)
    process(agent, 20, TOP, own=40)
    assert ticks(tree) == 140
    gone(agent, 20)
    process(agent, TOP, 1, own=50, waited_for=45)
    assert ticks(tree) == 145


def test_of_a_parent_and_a_child_that_end_together_all_is_counted_once_whoever_waited(agent: Path) -> None:
    tree = Tree(agent, TOP, MONITOR)
    process(agent, 20, TOP, own=1)
    process(agent, 21, 20, own=10)
    process(agent, 22, 21, own=100)
    assert ticks(tree) == 111
    gone(agent, 21)
    ended(agent, 22)
    process(agent, 20, TOP, own=1, waited_for=10)
    assert ticks(tree) == 111
    gone(agent, 22)
    process(agent, TOP, 1, own=50, waited_for=105)  # an orphan is waited for by a subreaper
    assert ticks(tree) == 116


def test_an_orphan_stays_ours_whoever_its_new_parent_is(agent: Path) -> None:
    tree = Tree(agent, TOP, MONITOR)
    process(agent, 20, TOP, own=1)
    process(agent, 21, 20, own=10)
    assert ticks(tree) == 11
    gone(agent, 20)
    process(agent, TOP, 1, own=50, waited_for=2)
    process(agent, 21, TOP, own=30)
    assert ticks(tree) == 32


def test_another_process_of_the_same_number_is_another(agent: Path) -> None:
    tree = Tree(agent, TOP, MONITOR)
    process(agent, 20, TOP, own=100)
    assert ticks(tree) == 100
    process(agent, 20, 1, own=7000, began=200)
    process(agent, TOP, 1, own=50, waited_for=101)
    assert ticks(tree) == 101
    assert ticks(tree) == 101


def test_a_name_with_parentheses_and_blanks_harms_nothing(agent: Path) -> None:
    tree = Tree(agent, TOP, MONITOR)
    process(agent, 20, TOP, own=3, name="a) R 1 (b c")
    assert ticks(tree) == 3


def test_where_the_agent_is_not_to_be_seen_nothing_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Tree(tmp_path, TOP, MONITOR)
