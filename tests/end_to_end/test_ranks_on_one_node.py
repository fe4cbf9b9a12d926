"""A group of ranks on one node: one that hangs before its first word is named, and so is one that measures nothing."""

from __future__ import annotations

from typing import Any

import pytest

from harness import Project, Result, assert_whole

# What every rank does until it is ended; the leader goes on once all that are to measure have made more steps.
RANK = """
    import os, time
    from pathlib import Path
    from benchmate.observe import Observer

    rank, how, folder = int(os.environ["RANK"]), os.environ["HOW"], Path(os.environ["MEET"])
    print(f"rank {rank} is there", flush=True)
    if how == "hangs" and rank == 1:
        time.sleep(1000)
    measuring = {"each": {0, 1, 2}, "alone": {0}, "part": {0, 2}, "hangs": {0, 1, 2}}[how]
    if rank not in measuring:
        time.sleep(1000)
    for step, batch in enumerate(Observer(unit="items").iterate([[0] * 8] * 100_000)):
        time.sleep(0.002)
        if rank and step == 40:
            (folder / f"{rank}").touch()
        while rank == 0 and step == 1 and not all((folder / f"{other}").exists() for other in measuring - {0}):
            time.sleep(0.01)
        if how == "hangs":
            time.sleep(1000)
"""
SPAWN = """
    import os, subprocess, sys

    argv = [sys.executable, *sys.argv[sys.argv.index("--") + 1 :]]
    ranks = [
        subprocess.Popen(argv, env={**os.environ, "RANK": f"{rank}", "LOCAL_RANK": f"{rank}", "WORLD_SIZE": "3"})
        for rank in range(3)
    ]
    sys.exit(max(rank.wait() for rank in ranks))
"""
# A launcher without torch: it takes torchrun's options, and starts ranks as that does.
BENCHFILE = """
    from milabench.commands import TorchrunAllGPU
    from milabench.pack import Package

    class Spawned(TorchrunAllGPU):
        def device_count(self):
            return 3

        def argv(self):
            return [self.pack.interpreter, str(self.pack.dirs.code / "spawn.py"), *super().argv()[1:]]

    class Benchmark(Package):
        def build_run_plan(self):
            return Spawned(super().build_run_plan())

    __pack__ = Benchmark
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("ranks"))
    for name, text in {"main.py": RANK, "spawn.py": SPAWN, "benchfile.py": BENCHFILE}.items():
        project.write(f"mine/{name}", text)
    options = {"voir": {"options": {"stop": 20, "skip": 2}}, "plan": {"method": "njobs", "n": 1}}
    project.suite(mine={"definition": "mine", **options})
    done = project.verb("install")
    assert done.code == 0, done.err
    return project


def run(project: Project, how: str, **environ: str) -> tuple[Result, dict[str, Any]]:
    meet = project.folder / f"meet-{how}"
    meet.mkdir()
    done = project.verb("run", HOW=how, MEET=str(meet), timeout_s=120, **environ)
    assert project.processes() == []
    return done, project.report()["mine"]


@pytest.mark.parametrize(("how", "ranks"), [("each", 3), ("alone", 1)])
def test_a_group_is_measured_where_each_rank_does_or_rank_0_alone(installed: Project, how: str, ranks: int) -> None:
    done, found = run(installed, how)
    assert done.code == 0, done.err
    assert_whole(installed)
    assert (found["failed"], found["processes"][0]["missing_ranks"]) == (0, [])
    (steps,) = installed.run().steps("mine")
    assert set(steps.columns["count"]) == {8 * ranks}


def test_a_rank_that_measures_nothing_while_others_do_is_named_and_there_is_no_rate(installed: Project) -> None:
    done, found = run(installed, "part")
    assert done.code == 1
    assert "the steps of rank 1 of 3 are missing" in done.err
    assert (found["failed"], found["perf"], found["score"]) == (1, None, 0)
    assert found["processes"][0]["missing_ranks"] == [1]


def test_a_rank_that_hangs_before_its_first_word_ends_the_group_and_is_named(installed: Project) -> None:
    done, found = run(installed, "hangs", MILABENCH_TORCHRUN_FIRST_EVENT_S="6")
    assert done.code == 1
    (failure,) = found["failures"]
    assert failure["reason"].startswith("nothing was heard of rank 1 on ")
    assert "within 6 s after ranks 0 and 2 had spoken; the group printed last: " in failure["reason"]
    assert "see mine.stderr" in failure["reason"]
