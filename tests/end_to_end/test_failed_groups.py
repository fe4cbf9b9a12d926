"""A rank of a group fails: the others are ended as what they are, its own end is the reason, nothing hangs."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from harness import Project, assert_whole

# Ranks that make their steps together: each tells the next one, around a ring, over the sockets of one machine. One
# that waits for a dead rank waits for ever (``waits``), or fails by that as well, as soon as that has ended.
RANK = """
    import os, signal, socket, subprocess, sys, time
    from pathlib import Path
    from benchmate.observe import Observer

    rank, how, waits = int(os.environ["RANK"]), os.environ["HOW"], os.environ["WAITS"] == "1"
    folder = Path(os.environ["MEET"])

    def meet():
        server = socket.socket(socket.AF_UNIX)
        server.bind(str(folder / f"{rank}"))
        server.listen()
        other = socket.socket(socket.AF_UNIX)
        while other.connect_ex(str(folder / f"{(rank + 1) % 3}")):
            time.sleep(0.01)
        return server.accept()[0], other

    def wait_for_the_end_of(other):
        status = Path(f"/proc/{(folder / f'{other}.pid').read_text()}/stat")
        while status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z":
            time.sleep(0.01)

    (folder / f"{rank}.pid").write_text(f"{os.getpid()}")
    before, after = meet()
    for step, batch in enumerate(Observer(unit="items").iterate([[0] * 8] * 100_000)):
        time.sleep(0.005)
        if rank == 1 and step == 8 and how != "well":
            if how == "exit":
                raise ValueError("this rank is broken")
            if how.endswith("beside a worker"):  # which outlives it for a while, so that its end is told late
                subprocess.Popen(["sh", "-c", "trap '' TERM; sleep 1000; sleep 1000"], stdout=subprocess.DEVNULL)
                time.sleep(0.3)
            os.kill(os.getpid(), getattr(signal, how.split()[0]))
            time.sleep(1000)
        try:
            after.send(b"x")
            if not before.recv(1):
                raise ConnectionResetError(f"rank {(rank - 1) % 3} is gone")
        except OSError:
            if waits:
                time.sleep(1000)
            wait_for_the_end_of((rank - 1) % 3)
            raise
"""
GROUP = """
    import os
    from milabench.commands import CmdCommand, ListCommand
    from milabench.pack import Package

    class Group(Package):
        def build_run_plan(self):
            return ListCommand(*map(self.rank, range(3)))

        def rank(self, rank):
            silent = ["nolog"] if rank else []  # the first one measures for all
            pack = self.copy({"tag": [*self.config["tag"], f"rank-{rank}", *silent]})
            env = {"RANK": str(rank), "WORLD_SIZE": "3"}
            return CmdCommand(pack, self.interpreter, str(self.dirs.code / "main.py"), env=env)

    __pack__ = Group
"""
SIBLING = "ended because a process it belongs with failed"


@dataclass(frozen=True, kw_only=True)
class Case:
    """How rank 1 ends, and what comes of the group."""

    how: str
    kind: str
    reason: str


CASES = {
    "killed": Case(how="SIGKILL", kind="killed", reason="killed by SIGKILL"),
    "killed beside a worker": Case(how="SIGKILL beside a worker", kind="killed", reason="killed by SIGKILL"),
    "crashed": Case(how="SIGSEGV", kind="killed", reason="killed by SIGSEGV"),
    "failed": Case(how="exit", kind="failed", reason="exit code 1: ValueError: this rank is broken"),
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("groups"))
    project.write("mine/main.py", RANK)
    project.write("mine/benchfile.py", GROUP)
    options = {"voir": {"options": {"stop": 20, "skip": 2}}, "plan": {"method": "njobs", "n": 1}}
    project.suite(mine={"definition": "mine", **options})
    done = project.verb("install")
    assert done.code == 0, done.err
    return project


def run(project: Project, how: str, *, waits: bool):
    meet = project.folder / f"meet-{how}-{waits}"
    meet.mkdir()
    return project.verb("run", HOW=how, WAITS=str(int(waits)), MEET=str(meet), timeout_s=60)


@pytest.mark.parametrize("waits", [True, False], ids=["others wait for it", "others fail by it"])
@pytest.mark.parametrize("name", CASES)
def test_the_first_rank_that_failed_is_the_reason(installed: Project, name: str, waits: bool) -> None:
    case = CASES[name]
    result = run(installed, case.how, waits=waits)
    assert (result.code, "\nTraceback" in result.err) == (1, False), result.err  # last words have a mark before them
    outcome = installed.run().outcomes()["mine"]
    assert (outcome.kind, outcome.reason, outcome.tag) == (case.kind, case.reason, "mine.rank-1")
    assert f"FAIL mine ({case.kind}" in result.err
    assert "mine.rank-1.{stdout,stderr}" in result.err
    assert installed.processes() == []
    assert_whole(installed)
    found = installed.report()["mine"]
    assert (found["n"], found["failed"], found["score"]) == (3, 3, 0)
    reasons = {failure["tag"]: failure["reason"] for failure in found["failures"]}
    assert reasons["mine.rank-1"] == case.reason
    if waits:
        assert (reasons["mine.rank-0"], reasons["mine.rank-2"]) == (SIBLING, SIBLING)


def test_without_a_failure_the_group_measures(installed: Project) -> None:
    result = run(installed, "well", waits=False)
    assert result.code == 0, result.err
    assert installed.report()["mine"]["failed"] == 0
