"""How far a run is, from outside of it: while it runs, when it has been cut off, when it is done; changing nothing."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from harness import PRINTER, Project, folder, printing_until, shell, wait_until

SLOW = """
    import time
    from benchmate.observe import Observer

    observer = Observer(unit="items")
    for batch in observer.iterate([[0] * 8] * 100_000):
        observer.record_loss(0.5)
        time.sleep(0.01)
"""
FAILING = "echo 'no more memory' >&2; exit 3"
# Runs the command line and says what it has opened to write, made, moved, removed and started.
WATCHED = """
import json, os, sys

seen = []
CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod", "os.truncate", "os.utime", "subprocess.Popen")

def watch(event, args):
    writing = event == "open" and (args[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC)
    if (writing and args[0] != os.devnull) or event in CHANGES:
        seen.append([event, str(args[0])])

sys.addaudithook(watch)
from milabench.cli import main
try:
    main()
finally:
    sys.stderr.write("\\n" + json.dumps(seen) + "\\n")
"""


@pytest.fixture
def begun(project: Project) -> Project:
    """Return a project whose run would take long: one good, one bad, one that runs until it is ended, one more."""
    project.suite(
        good=shell(PRINTER),
        bad=shell(FAILING),
        long=shell(PRINTER, stop=1_000_000, plan={"method": "njobs", "n": 2}),
        never=shell(PRINTER),
    )
    return project


def status(project: Project, *arguments: str) -> dict[str, Any]:
    done = project.milabench("status", "--json", *arguments)
    assert done.code == 0, done.err
    document: dict[str, Any] = done.json
    assert document["version"] == 1
    return document


def measures(project: Project) -> bool:
    """Say whether the long benchmark makes steps."""
    paths = list(project.base.glob("runs/*/long.?.steps"))
    return len(paths) == 2 and all(path.stat().st_size > 64 for path in paths)


def running(project: Project) -> dict[str, Any]:
    """Return the status of a run when both its processes have measured something."""
    wait_until(lambda: measures(project))
    found: list[dict[str, Any]] = []
    wait_until(lambda: found.append(status(project)) or all(each["measured"] for each in found[-1]["processes"]))
    return found[-1]


def test_a_running_run_says_what_is_done_what_runs_and_what_waits(begun: Project) -> None:
    with begun.started("run", "--config", "suite.yaml") as runner:
        found = running(begun)
        text = begun.milabench("status").out
        first = found["processes"][0]
        wait_until(lambda: status(begun)["processes"][0]["steps"] > first["steps"])
        runner.send_signal(signal.SIGINT)
        assert runner.wait(60) == 130
    assert found["state"] == "running"
    assert found["runner"]["pid"] == runner.pid
    trials = found["trials"]
    assert (trials["total"], trials["done"], trials["waiting"]) == (4, 2, 1)
    assert [each["trial"] for each in trials["running"]] == ["long"]
    assert found["outcomes"] == {"early_stop": 1, "failed": 1}
    assert found["failures"] == [
        {"trial": "bad", "tag": "bad", "outcome": "failed", "reason": "exit code 3: no more memory"}
    ]
    assert 600 < found["time_left_at_most_s"] < 1200
    assert [each["tag"] for each in found["processes"]] == ["long.0", "long.1"]
    assert (first["stage"], first["wanted"], first["unit"]) == ("measuring", 1_000_002, "items/s")
    assert first["rate"] > 0
    assert first["rate_now"] > 0
    lines = text.splitlines()
    assert lines[0].startswith(f"{begun.run().path.name}: running for ")
    assert lines[1] == "trials: 2 of 4 done (1 early stop, 1 failed), 1 running, 1 waiting"
    assert "long.1" in text
    assert "/1000002" in text
    assert "bad (failed): exit code 3: no more memory" in lines


def test_a_run_whose_runner_was_killed_says_so_and_how_to_go_on(begun: Project) -> None:
    with begun.started("run", "--config", "suite.yaml") as runner:
        running(begun)
        runner.kill()
        runner.wait()
        wait_until(lambda: not begun.processes())
    found = status(begun)
    assert (found["state"], found["time_left_at_most_s"]) == ("killed", None)
    assert [each["trial"] for each in found["trials"]["running"]] == ["long"]
    lines = begun.milabench("status").out.splitlines()
    path = begun.run().path
    assert lines[0].startswith(f"{path.name}: killed, its runner is gone (process {runner.pid} on ")
    assert lines[0].endswith(f": `milabench resume {path}` goes on with it")
    assert lines[1] == "trials: 2 of 4 done (1 early stop, 1 failed), 1 cut off, 1 not begun"


def test_an_interrupted_run_says_so(begun: Project) -> None:
    with begun.started("run", "--config", "suite.yaml") as runner:
        running(begun)
        runner.send_signal(signal.SIGINT)
        runner.wait(60)
    found = status(begun)
    assert found["state"] == "interrupted"
    assert found["trials"] == {"total": 4, "done": 2, "undecided": 1, "running": [], "waiting": 1}
    assert found["outcomes"] == {"early_stop": 1, "failed": 1, "interrupted": 1}
    lines = begun.milabench("status").out.splitlines()
    assert "interrupted: `milabench resume" in lines[0]
    assert lines[1] == "trials: 2 of 4 done (1 early stop, 1 failed), 1 interrupted, 1 not begun"


def test_a_complete_run_is_read_by_name_by_folder_and_as_the_newest(project: Project) -> None:
    project.suite(good=shell(PRINTER))
    assert project.verb("run", "--run-name", "mine").code == 0
    path = project.run().path
    for arguments in ((), ("mine",), (path.name,), (str(path),)):
        found = status(project, *arguments)
        assert (found["state"], found["run"]["path"]) == ("complete", str(path))
        assert (found["trials"]["done"], found["processes"]) == (1, [])
    for arguments, inside in (((path.name,), path.parent), ((".",), path)):
        found = json.loads(
            subprocess.run(
                [sys.executable, "-m", "milabench", "status", "--json", *arguments],
                cwd=inside,
                env=project.environ,
                capture_output=True,
                check=True,
            ).stdout
        )
        assert found["run"] == {**found["run"], "name": path.name, "path": str(path)}
    assert project.milabench("status").out.splitlines() == [
        f"{path.name}: complete",
        "trials: 1 of 1 done (1 early stop)",
    ]


def test_a_process_that_says_its_number_is_measured_where_it_runs(
    project: Project, furnish: Callable[[str], None]
) -> None:
    project.write("bench/main.py", SLOW)
    project.suite(slow=folder("bench", stop=1_000_000))
    furnish("slow")
    with project.started("run", "--config", "suite.yaml") as runner:
        found: list[dict[str, Any]] = [{}]
        wait_until(lambda: list(project.base.glob("runs/*/slow.data")))
        wait_until(
            lambda: found.append(status(project)) or [each["rss_bytes"] for each in found[-1]["processes"]] > [0]
        )
        runner.send_signal(signal.SIGINT)
        runner.wait(60)
    process = found[-1]["processes"][0]
    assert process["rss_bytes"] > 1_000_000
    assert process["cpu_s"] >= 0


def followed(project: Project, *arguments: str) -> list[str]:
    """Start ``suite.yaml``, follow it from its long benchmark on, and return the lines that were said."""
    with project.started("run", "--config", "suite.yaml"):
        wait_until(lambda: list(project.base.glob("runs/*/long.data")))
        with project.started("status", "--follow", *arguments) as follower:
            assert follower.stdout is not None
            first = follower.stdout.readline()
            (project.folder / "go").touch()
            rest = follower.stdout.read()
            assert follower.wait(60) == 0
    return (first + rest).splitlines()


def test_following_without_a_terminal_says_lines_until_the_run_has_ended(project: Project) -> None:
    long = shell(printing_until(project.folder / "go"), stop=1_000_000)
    project.suite(first=shell(PRINTER), bad=shell(FAILING), long=long, last=shell(PRINTER))
    lines = followed(project)
    begins = [line for line in lines if line.startswith("[")]
    assert begins[0] == "[3/4] running long"
    assert "  ok last (early stop)" in lines
    assert f"{project.run().path.name}: complete" in lines
    assert "trials: 4 of 4 done (2 early stop, 1 failed, 1 ok)" in lines


def test_following_as_json_prints_a_document_a_line_to_the_end(project: Project) -> None:
    project.suite(long=shell(printing_until(project.folder / "go"), stop=1_000_000), last=shell(PRINTER))
    documents = [json.loads(line) for line in followed(project, "--json")]
    assert (documents[0]["state"], documents[-1]["state"]) == ("running", "complete")
    assert documents[-1]["trials"]["done"] == 2


def test_leaving_a_run_that_is_followed_leaves_it_alone(begun: Project) -> None:
    with begun.started("run", "--config", "suite.yaml") as runner:
        running(begun)
        with begun.started("status", "--follow") as follower:
            assert follower.stdout is not None
            assert follower.stdout.readline() == "[3/4] running long\n"
            follower.send_signal(signal.SIGINT)
            assert follower.wait(30) == 130
            assert status(begun)["state"] == "running"
            runner.send_signal(signal.SIGINT)
            assert runner.wait(60) == 130


def test_looking_opens_nothing_to_write_and_changes_nothing(begun: Project) -> None:
    with begun.started("run", "--config", "suite.yaml") as runner:
        running(begun)
        runner.kill()
        runner.wait()
        wait_until(lambda: not begun.processes())
    before = begun.tree()
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, "status", "--json"],
        cwd=begun.folder,
        env={**begun.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["state"] == "killed"
    assert json.loads(done.stderr.splitlines()[-1]) == []
    assert begun.tree() == before


def test_half_made_and_older_folders_are_told_apart(project: Project) -> None:
    project.suite(good=shell(PRINTER))
    assert project.verb("run").code == 0
    run = project.run()
    (run.path / "run.json").unlink()
    (run.path / "journal.jsonl").write_text('{"event": "sitti')
    assert status(project)["state"] == "killed"
    assert status(project)["trials"]["waiting"] == 1
    run.plan_path.write_text("{")
    done = project.milabench("status")
    assert (done.code, done.out) == (2, "")
    assert "plan.json cannot be read" in done.err
    run.plan_path.unlink()
    done = project.milabench("status", str(run.path))
    assert done.code == 2
    assert "`milabench report` reads it" in done.err
    shutil.rmtree(run.path)
    assert "no run below" in project.milabench("status").err
