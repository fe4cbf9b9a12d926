"""Limits of a measurement, in every way in which a process is measured: what is met first ends it, and is said."""

from __future__ import annotations

import json
from typing import Any

import pytest

from harness import Project

OBSERVED = """
    import time
    from benchmate.observe import Observer

    observer = Observer(unit="items")
    for batch in observer.iterate([[0] * 8] * 100_000):
        observer.record_loss(0.5)
        time.sleep(0.002)
"""
GROUP = """
    from milabench.commands import CmdCommand, ListCommand
    from milabench.pack import Package

    class Group(Package):
        def build_run_plan(self):
            return ListCommand(*map(self.rank, range(2)))

        def rank(self, rank):
            silent = ["nolog"] if rank else []  # the first one measures for both
            pack = self.copy({"tag": [*self.config["tag"], f"rank-{rank}", *silent]})
            env = {"RANK": str(rank), "WORLD_SIZE": "2"}
            return CmdCommand(pack, self.interpreter, str(self.dirs.code / "main.py"), env=env)

    __pack__ = Group
"""
COUNTS = """while true; do echo '{"count": 10}'; sleep 0.002; done"""
RATES = """i=0; while true; do i=$((i + 1)); echo "{\\"rate\\": 3.$((i * i % 7))}"; sleep 0.002; done"""
LEADERS = {"script": "script", "group": "group.rank-0", "counts": "counts", "rates": "rates"}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("limits"))
    for name in ("script", "group"):
        project.write(f"{name}/main.py", OBSERVED)
    project.write("group/benchfile.py", GROUP)
    write(project, "7")
    done = project.verb("install")
    assert done.code == 0, done.err
    return project


def write(project: Project, stop: Any) -> None:
    shared = {"plan": {"method": "njobs", "n": 1}, "voir": {"options": {"skip": 3, "stop": stop}}}
    project.suite(
        **{name: {"definition": name, **shared} for name in ("script", "group")},
        **{
            name: {"command": {"argv": ["sh", "-c", loop]}, **shared}
            for name, loop in (("counts", COUNTS), ("rates", RATES))
        },
    )


def said(project: Project, tag: str, event: str) -> list[Any]:
    lines = map(json.loads, project.run().files(tag).events.read_text().splitlines())
    return [line["data"] for line in lines if line["event"] == event]


@pytest.mark.parametrize(
    ("stop", "reason"),
    [
        ({"precision": "90%", "seconds": "60s"}, "precision"),
        ({"precision": "0.0001%", "seconds": "0.3s"}, "seconds"),
        ({"precision": "0.0001%", "observations": 45}, "observations"),
    ],
    ids=["precision", "seconds", "observations"],
)
def test_what_is_met_first_ends_each_of_them(installed: Project, stop: Any, reason: str) -> None:
    write(installed, stop)
    result = installed.verb("run", timeout_s=120)
    assert result.code == 0, result.err
    report = installed.report()
    for name, leader in LEADERS.items():
        (stopped,) = said(installed, leader, "stop")
        assert stopped["reason"] == reason, name
        assert report[name]["failed"] == 0
        measured = [data for data in said(installed, leader, "data") if data.get("task") == "train" and "rate" in data]
        if reason != "seconds":
            assert len(measured) >= 40, name
    assert installed.processes() == []


def test_a_script_says_what_was_used_while_it_measured(installed: Project) -> None:
    write(installed, 30)
    assert installed.verb("run", timeout_s=120).code == 0
    for leader in ("script", "group.rank-0"):
        (measured,) = said(installed, leader, "measured")
        assert measured["steps"] == 30
        wall_s = (measured["end_ns"] - measured["begin_ns"]) / 1e9
        assert 0 <= measured["cpu_s"] <= wall_s + 0.1
        assert wall_s >= 0.06
        assert 0 < measured["overhead_ns"] < 1_000_000
