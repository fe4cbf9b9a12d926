"""Writing a benchmark: from a template to a run, a shell in its surroundings, locks, logs, cleaning up."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from harness import OBSERVED, Project

# A rank of a group without torch: torchrun's variables are all that an Observer looks at. The ranks make their steps
# together: each leaves a byte in a file they share, and waits for those of the others.
RANK = """
    import os, sys, time
    from pathlib import Path
    from benchmate.observe import Observer

    observer, made = Observer(unit="items"), 0
    meeting = Path(os.environ["MEET"])
    while True:
        for batch in observer.iterate([[0] * 10] * 100):
            time.sleep(0.01)
            if os.environ["RANK"] == os.environ.get("FAILS"):
                raise ValueError("this rank is broken")
            made += 1
            with meeting.open("ab") as file:
                file.write(b"x")
            while meeting.stat().st_size < 3 * made:
                time.sleep(0.001)
"""
GROUP = """
    from milabench.commands import CmdCommand, ListCommand
    from milabench.pack import Package

    class Group(Package):
        def build_run_plan(self):
            script = (self.interpreter, self.dirs.code / "main.py")
            started = "for rank in 0 1 2; do RANK=$rank WORLD_SIZE=3 \\"$@\\" & done; wait -n"
            return CmdCommand(self, "bash", "-c", started, "bash", *script)

    __pack__ = Group
"""


@pytest.fixture
def mine(project: Project, furnish: Callable[[str], None]) -> Project:
    """A project with a benchmark that needs no package, installed."""
    project.write("mine/main.py", OBSERVED)
    project.suite(mine={"definition": "mine", "plan": {"method": "njobs"}, "argv": {"--words": "a b"}})
    furnish("mine")
    return project


def test_dev_runs_a_command_as_a_process_of_the_benchmark_sees_the_world(mine: Project) -> None:
    code = "import json, os; print(json.dumps([os.getcwd(), os.environ['MILABENCH_DIR_DATA'], dict(os.environ)]))"
    done = mine.milabench("dev", "mine", "--config", "suite.yaml", "--", "python", "-c", code)
    folder, data, environ = done.json
    assert (folder, data) == (str(mine.base / "code/mine"), str(mine.base / "data"))
    assert environ["VIRTUAL_ENV"] == str(mine.base / "venv/mine")
    config = json.loads(environ["MILABENCH_CONFIG"])
    assert (config["argv"], config["tag"], config["devices"]) == ({"--words": "a b"}, ["mine"], [0])
    assert not {"MILABENCH_EVENTS", "PYTHONPATH"} & environ.keys()


def test_dev_runs_the_newest_state_of_the_script_and_hands_on_its_exit_code(mine: Project) -> None:
    mine.write("mine/main.py", "import sys; sys.exit(int(sys.argv[1]))\n")
    assert mine.milabench("dev", "mine", "--config", "suite.yaml", "python", "main.py", "7").code == 7


def test_dev_finds_the_suite_by_the_benchmarks_name(project: Project) -> None:
    project.write("config/broken.yaml", "x: [")
    project.write("config/own.yaml", json.dumps({"mine": {"definition": "../mine", "plan": {"method": "njobs"}}}))
    project.write("mine/main.py", OBSERVED)
    missing = project.milabench("dev", "mine", "--", "true")
    assert (missing.code, "milabench install --config config/own.yaml --select mine" in missing.err) == (4, True)
    assert project.milabench("install", "--config", "config/own.yaml").code == 0
    assert project.milabench("dev", "mine", "--", "true").code == 0


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("nothing-of-the-kind", "--", "true"), 2, "no suite in ./config and none that milabench brings"),
        (("resnet-18", "--", "true"), 2, "did you mean 'resnet18'?"),
        (("mine", "--config", "suite.yaml", "--", "no-such-program"), 4, "no-such-program cannot be started"),
        (("other", "--config", "suite.yaml"), 2, "other"),
    ],
)
def test_dev_says_what_is_wrong(mine: Project, words: tuple[str, ...], code: int, says: str) -> None:
    done = mine.milabench("dev", *words)
    assert (done.code, says in done.err) == (code, True), done.err


def test_dev_takes_the_benchmark_of_that_name_not_of_that_tag(project: Project, furnish: Callable[[str], None]) -> None:
    project.write("mine/main.py", OBSERVED)
    entry = {"definition": "mine", "plan": {"method": "njobs"}, "install_group": "all"}
    project.suite(other={**entry, "tags": ["mine"]}, mine=entry)
    furnish("all")
    show = ("--", "sh", "-c", "echo $MILABENCH_CONFIG")
    assert '"name": "mine"' in project.milabench("dev", "mine", "--config", "suite.yaml", *show).out


def test_a_job_that_milabench_runs_in_makes_no_ranks_of_its_benchmarks(mine: Project) -> None:
    surroundings = {"RANK": "3", "WORLD_SIZE": "8", "MASTER_ADDR": "elsewhere", "MILABENCH_STEPS": "/nowhere"}
    done = mine.verb("run", **surroundings)
    assert done.code == 0, done.err
    assert mine.report()["mine"]["outcomes"] == {"early_stop": 1}


COMBINED = """
    from milabench.commands import ClientServer, CmdCommand, PackCommand, SequenceCommand
    from milabench.pack import Package

    class Mine(Package):
        def build_run_plan(self):
            measured = PackCommand(self, lazy=True)
            return {command}

    __pack__ = Mine
"""
SERVER = 'CmdCommand(ClientServer.new_server_pack(self), "sh", "-c", "echo serving; exec sleep 1000")'


@pytest.mark.parametrize(
    ("command", "code", "tags"),
    [
        (f"ClientServer(self, client=measured, server={SERVER})", 0, {"mine", "mine.server"}),
        ('SequenceCommand(CmdCommand(self, "echo", "first"), measured)', 0, {"mine.1", "mine.2"}),
        ('SequenceCommand(CmdCommand(self, "false"), measured)', 1, {"mine.1"}),
    ],
)
def test_processes_that_serve_or_follow_each_other(
    project: Project, furnish: Callable[[str], None], command: str, code: int, tags: set[str]
) -> None:
    project.write("mine/main.py", OBSERVED)
    project.write("mine/benchfile.py", COMBINED.format(command=command))
    project.suite(mine={"definition": "mine", "plan": {"method": "njobs"}, "voir": {"options": {"stop": 5}}})
    furnish("mine")
    done = project.verb("run")
    assert (done.code, set(project.run().tags())) == (code, tags), done.err
    assert project.processes() == []


@pytest.fixture
def group(project: Project, furnish: Callable[[str], None]) -> Project:
    """Three ranks, started by a shell that leaves with the first of them."""
    project.write("mine/main.py", RANK)
    project.write("mine/benchfile.py", GROUP)
    options = {"stop": 5, "skip": 1}
    project.suite(mine={"definition": "mine", "plan": {"method": "njobs"}, "voir": {"options": options}})
    furnish("mine")
    return project


def test_a_group_is_measured_as_one_and_ended_when_its_leader_has_enough(group: Project) -> None:
    done = group.verb("run", MEET=str(group.folder / "meeting"))
    assert done.code == 0, done.err
    found = group.report()["mine"]
    assert (found["outcomes"], found["steps"]) == ({"early_stop": 1}, {"warmup": 1, "measured": 5})
    assert "milabench: enough is measured" in group.run().files("mine").stderr.read_text()
    (steps,) = group.run().steps("mine")
    assert set(steps.columns["count"]) == {30}  # the ten of each rank
    assert found["perf"] < 3001  # and a step is a hundredth of a second at least
    assert group.processes() == []


def test_the_rank_that_failed_is_named(group: Project) -> None:
    done = group.verb("run", FAILS="2", MEET=str(group.folder / "meeting"))
    assert done.code == 1
    (failure,) = group.report()["mine"]["failures"]
    assert failure["reason"] == "exit code 1: rank 2: ValueError: this rank is broken"
    assert group.processes() == []


def test_requirements_are_locked_beside_the_folder_and_installed_from_there(
    project: Project, index: dict[str, str]
) -> None:
    del index
    project.write("mine/main.py", OBSERVED)
    project.write("mine/requirements.in", "ptera\n")
    project.suite(mine={"definition": "mine", "plan": {"method": "njobs"}})
    done = project.verb("pin", "--arch", "cpu")
    assert (done.code, "wrote: mine/requirements.cpu.txt" in done.err) == (0, True), done.err
    lock = (project.folder / "mine/requirements.cpu.txt").read_text()
    assert "ptera==" in lock
    assert [word for word in ("://", "file:", str(project.folder)) if word in lock] == []
    assert "unchanged: mine/requirements.cpu.txt" in project.verb("pin", "--arch", "cpu").err
    installed = project.verb("install")
    assert (installed.code, "unpinned" in installed.err) == (0, False)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("--arch", "hpu"), 4, "torch for hpu comes with its vendor's installer"),
        (("--arch", "cpu", "--hashes"), 2, "--hashes"),
        (("--arch", "cpu"), 2, "nothing to pin"),
    ],
)
def test_what_cannot_be_locked_is_said_and_nothing_written(
    project: Project, words: tuple[str, ...], code: int, says: str
) -> None:
    project.write("mine/main.py", OBSERVED)
    project.suite(mine={"definition": "mine", "plan": {"method": "njobs"}})
    done = project.verb("pin", *words)
    assert (done.code, says in done.err) == (code, True), done.err
    assert sorted(path.name for path in (project.folder / "mine").iterdir()) == ["main.py"]


def test_logs_and_clean_of_a_run(mine: Project) -> None:
    mine.write("mine/main.py", "    print('still here', flush=True)\n" + OBSERVED)
    assert mine.verb("run").code == 0
    assert "still here" in mine.milabench("logs", "mine").out
    asked = mine.milabench("clean")
    assert (asked.code, "environments" in asked.out, "--yes" in asked.err) == (2, True, True)
    assert (mine.base / "venv/mine").exists()
    assert mine.milabench("clean", "--yes").code == 0
    assert sorted(path.name for path in mine.base.iterdir()) == ["runs"]
    assert mine.milabench("report").code == 0


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    path = tmp_path / "repository"
    (path / "src/deep").mkdir(parents=True)
    for name in ("src/train.py", "src/deep/a.txt", "src/deep/b.log", "README"):
        (path / name).write_text(name)
    git = ["git", "-C", str(path), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for words in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "all"]):
        subprocess.run([*git, *words], check=True)
    return path


def test_a_benchfile_fetches_a_commit_and_merges_parts_of_it(project: Project, repository: Path) -> None:
    project.write("mine/main.py", OBSERVED)
    project.write(
        "mine/benchfile.py",
        f"""
        from milabench.pack import Package

        class Mine(Package):
            async def install(self):
                await super().install()
                (self.dirs.code / "whole").clone_subtree({str(repository)!r}, "main")
                (self.dirs.code / "part").clone_subtree({str(repository)!r}, "main", subtree="src")
                (self.dirs.code / "whole").merge_into(self.dirs.code / "merged", "/src/**\\n!*.log\\n!*/\\n")
                part = self.dirs.code / "part"
                (part / "train.py").sub("train", "run")
                (part / "train.py").prepend_lines("# first")
                (part / "train.py").append_lines("# last")
                part.download((self.dirs.code / "whole/README").as_uri(), "fetched")
                part.merge_into(self.dirs.code / "moved", "deep/", move=True, readonly=True)
                part.copy(self.dirs.code / "new/copy")
                (self.dirs.code / "whole/src").rm()

        __pack__ = Mine
        """,
    )
    project.suite(mine={"definition": "mine", "plan": {"method": "njobs"}})
    done = project.verb("install")
    assert done.code == 0, done.err
    code = project.base / "code/mine"
    names = {
        folder: sorted(str(path.relative_to(code / folder)) for path in (code / folder).rglob("*") if path.is_file())
        for folder in ("whole", "part", "merged", "moved", "new")
    }
    assert names == {
        "whole": ["README"],
        "part": ["fetched", "train.py"],
        "merged": ["src/deep/a.txt", "src/train.py"],
        "moved": ["deep/a.txt", "deep/b.log"],
        "new": ["copy/fetched", "copy/train.py"],
    }
    assert (code / "part/train.py").read_text() == "# first\nsrc/run.py\n# last\n"
    assert not (code / "moved/deep/a.txt").stat().st_mode & 0o222
    assert (code / "whole/README").read_text() == (code / "part/fetched").read_text() == "README"
