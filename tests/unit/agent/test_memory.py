"""What the kernel counts of its kills for want of memory, in the two versions of its files."""

from __future__ import annotations

from pathlib import Path

import pytest

from milabench.agent.memory import OomKills

V2 = ("0::/job\n", "job/memory.events", "low 0\noom 3\noom_kill {}\noom_group_kill 0\n")
V1 = ("4:cpu,memory:/job\n0::/\n", "memory/job/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill {}\n")
SEEN_FROM_INSIDE = ("0::/not/there\n", "memory.events", "oom_kill {}\n")
FORMS = pytest.mark.parametrize("form", [V2, V1, SEEN_FROM_INSIDE], ids=["version 2", "version 1", "in a container"])


class Machine:
    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, path: str, text: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def kills(self) -> OomKills:
        return OomKills(str(self.root / "proc"), str(self.root / "cgroup"))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@FORMS
def test_each_kill_since_the_start_is_told_once(machine: Machine, form: tuple[str, str, str]) -> None:
    cgroup, file, content = form
    machine.write("proc/self/cgroup", cgroup)
    machine.write(f"cgroup/{file}", content.format(5))
    kills = machine.kills()
    before = kills.seen()
    assert not kills.told(7, before)
    machine.write(f"cgroup/{file}", content.format(7))
    after = kills.seen()
    assert [kills.told(pid, before) for pid in (7, 8, 9)] == [True, True, False]
    assert not kills.told(10, after)


def test_a_kill_before_the_start_of_the_one_that_fails_is_none_of_its_own(machine: Machine) -> None:
    machine.write("proc/self/cgroup", "0::/job\n")
    machine.write("cgroup/job/memory.events", "oom_kill 1\n")
    kills = machine.kills()
    machine.write("cgroup/job/memory.events", "oom_kill 2\n")
    assert not kills.told(7, kills.seen())


def test_a_process_that_went_to_a_cgroup_of_its_own_is_looked_for_there(machine: Machine) -> None:
    machine.write("proc/self/cgroup", "0::/job\n")
    machine.write("cgroup/job/memory.events", "oom_kill 0\n")
    machine.write("proc/7/cgroup", "0::/scope\n")
    machine.write("cgroup/scope/memory.events", "oom_kill 1\n")
    machine.write("proc/8/cgroup", "0::/job\n")
    kills = machine.kills()
    before = kills.seen()
    assert [kills.told(8, before), kills.told(7, before), kills.told(7, before)] == [False, True, False]


def test_what_version_1_says_of_a_dead_process_is_not_the_whole_machine(machine: Machine) -> None:
    machine.write("proc/self/cgroup", "4:memory:/job\n")
    machine.write("proc/7/cgroup", "4:memory:/\n")
    machine.write("cgroup/memory/memory.oom_control", "oom_kill 9\n")
    machine.write("cgroup/memory/job/memory.oom_control", "oom_kill 0\n")
    kills = machine.kills()
    assert not kills.told(7, kills.seen())


def test_for_a_process_in_a_container_kills_of_the_whole_machine_count(machine: Machine) -> None:
    machine.write("proc/self/cgroup", "0::/job\n")
    machine.write("proc/vmstat", "pgfault 3\noom_kill 4\nnr_other 1\n")
    kills = machine.kills()
    inside, outside = kills.seen(anywhere=True), kills.seen()
    machine.write("proc/vmstat", "pgfault 3\noom_kill 5\nnr_other 1\n")
    assert [kills.told(7, outside), kills.told(7, inside), kills.told(8, inside)] == [False, True, False]


@pytest.mark.parametrize("content", ["", "oom_kill many\n", "oom_kill\n"])
def test_where_nothing_is_counted_nothing_is_told(machine: Machine, content: str) -> None:
    kills = machine.kills()
    assert (kills.seen(), kills.told(7, {})) == ({}, False)
    machine.write("proc/self/cgroup", "0::/job\nnonsense\n")
    machine.write("cgroup/job/memory.events", content)
    assert machine.kills().seen() == {}
