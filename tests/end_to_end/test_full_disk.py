"""A disk is full: what was measured is kept, what happened is said, and after making room the run goes on."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import PRINTER, Project, assert_whole, shell, wait_until
from milabench.resources import import_path

STEPS = """for i in 1 2 3 4 5 6; do echo '{"count": 10}'; sleep 0.02; done; """  # of which 2 are warm-up
SIZE_KIB = 4096
OBSERVER = f"""
    import sys
    sys.path[:0] = {import_path()!r}
    from benchmate.observe import Observer
"""
# So many steps that their file does not fit.
BY_STEPS = (
    OBSERVER
    + """
    for batch in Observer(unit="items").iterate([[0] * 8] * 1_000_000):
        pass
"""
)
BY_EVENTS = (
    OBSERVER
    + """
    import os

    for batch in Observer(unit="items").iterate([[0] * 8] * 10):
        sum(range(20_000))
    while True:
        os.write(int(os.environ["DATA_FD"]), b'{"task": "main", "text": "%s"}\\n' % (b"x" * 1000))
"""
)
NO_SPACE = "No space left on device"
NO_ROOM = "no room is left on the disk of its run"


def program(script: str) -> dict[str, Any]:
    return {**shell("", stop=10**9), "command": {"argv": [sys.executable, script], "cwd": "."}}


WRITES = {
    "what it prints": (shell(f"{STEPS} exec yes", stop=1000), f"its output cannot be written: {NO_SPACE}"),
    "errors that it prints": (shell(f"{STEPS} yes >&2; exit 1", stop=1000), f"exit code 1…; {NO_ROOM}"),
    "a file of its own": (shell(f"{STEPS} cat /dev/zero > $FILE; exit 1", stop=1000), f"exit code 1…; {NO_ROOM}"),
    "its events": (program("events.py"), f"exit code 1…; {NO_ROOM}"),
}


@pytest.fixture
def small(project: Project) -> Iterator[Project]:
    """Return a project whose base is on a small disk of its own, or skip where none can be mounted."""
    project.base.mkdir()
    size = f"size={SIZE_KIB}k"
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", size, "milabench-test", str(project.base)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("no file system can be mounted here")
    project.environ["FILE"] = str(project.base / "big")
    project.write("steps.py", BY_STEPS)
    project.write("events.py", BY_EVENTS)
    yield project
    subprocess.run(["umount", "-l", str(project.base)], check=True)


def fill(folder: Path, leave_kib: int = 0) -> None:
    """Fill the disk of a folder."""
    with (folder / "big").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 4096)
        except OSError:
            file.truncate(max(file.tell() - leave_kib * 1024, 0))


def make_room(project: Project) -> None:
    """Make room without touching anything."""
    subprocess.run(["mount", "-o", f"remount,size={4 * SIZE_KIB}k", str(project.base)], check=True)


def assert_full(code: int, said: str) -> None:
    """Assert that a full disk is told as a user can use it."""
    assert (code, "Traceback" in said) == (4, False), said
    told = re.search(
        r"^milabench: no room is left on the disk of (\S+) \(\d+ KiB free\): make room there, "
        r"then `milabench resume \1` goes on \(--failed: also with what failed\)$",
        said,
        re.MULTILINE,
    )
    assert told, said


@pytest.mark.parametrize("name", WRITES)
def test_a_benchmark_that_fills_the_disk_fails_and_the_run_can_go_on(small: Project, name: str) -> None:
    entry, reason = WRITES[name]
    small.suite(first=shell(PRINTER), fills=entry, last=shell(PRINTER))
    done = small.verb("run")
    assert_full(done.code, done.err)
    assert small.processes() == []
    run = small.run()
    outcomes = run.outcomes()
    assert outcomes["first"].kind == "early_stop"
    assert outcomes["fills"].kind == "failed"
    assert re.fullmatch(re.escape(reason).replace("…", ".*"), outcomes["fills"].reason), outcomes["fills"].reason
    assert_whole(small)
    before = small.report()
    assert before["first"]["steps"]["measured"] == 10
    assert (before["fills"]["failed"], before["fills"]["failures"][0]["reason"]) == (1, outcomes["fills"].reason)
    assert before["fills"]["steps"]["measured"] >= 4
    assert "last" not in outcomes
    make_room(small)
    again = small.milabench("resume", run.path.name)
    assert again.code == 1, again.err  # one benchmark has failed
    after = small.report()
    assert (after["first"], after["fills"]) == (before["first"], before["fills"])
    assert after["last"]["outcomes"] == {"early_stop": 1}


def test_steps_that_do_not_fit_fail_their_benchmark_and_no_other(small: Project) -> None:
    small.suite(fills=program("steps.py"), last=shell(PRINTER))
    done = small.verb("run")
    assert (done.code, "Traceback" in done.err.replace("| Traceback", "")) == (1, False)
    assert small.run().outcomes()["fills"].reason == f"exit code 1: OSError: [Errno 28] {NO_SPACE}"
    assert_whole(small)
    found = small.report()
    assert found["fills"]["steps"]["measured"] > 10_000
    assert found["last"]["outcomes"] == {"early_stop": 1}


@pytest.mark.parametrize("last", [True, False], ids=["in the last benchmark", "before others"])
def test_what_ends_on_a_full_disk_is_sealed_and_noted_in_the_room_that_was_kept(small: Project, last: bool) -> None:
    go = small.folder / "go"
    waits = shell(f"{STEPS} while ! test -e {go}; do sleep 0.05; done", stop=1000)
    small.suite(first=shell(PRINTER), waits=waits, **({} if last else {"never": shell(PRINTER)}))
    with small.started("run", "--config", "suite.yaml") as runner:
        wait_until(lambda: any(path.read_text().count("count") == 6 for path in small.base.glob("runs/*/waits.stdout")))
        fill(small.base)
        go.touch()
        _, said = runner.communicate(timeout=60)
    if last:
        assert (runner.returncode, "Traceback" in said) == (0, False)
    else:
        assert_full(runner.returncode, said)
    assert_whole(small)
    run, found = small.run(), small.report()
    assert {name: each.kind for name, each in run.outcomes().items()} == {"first": "early_stop", "waits": "ok"}
    assert (found["waits"]["failed"], found["waits"]["steps"]) == (0, {"warmup": 2, "measured": 4})
    assert run.facts()["state"] == ("complete" if last else "incomplete")
    assert not run.reserve_path.exists()
    make_room(small)
    if not last:
        assert small.milabench("resume", run.path.name).code == 0
        assert small.report()["never"]["outcomes"] == {"early_stop": 1}


@pytest.mark.parametrize("leave_kib", [0, 8, 24, 60])
def test_a_run_that_finds_no_room_to_begin_says_so(small: Project, leave_kib: int) -> None:
    (small.base / "runs").mkdir()
    fill(small.base, leave_kib)
    small.suite(first=shell(PRINTER))
    done = small.verb("run", "--force")  # the look before it would stop it
    assert (done.code, "Traceback" in done.err) == (4, False)
    told = rf"milabench: no room is left on the disk of {small.base}/runs/\S+ \(\d+ KiB free\): make room there, "
    assert re.search(f"{told}and type the same again\n$", done.err), done.err
    assert list(small.base.glob("runs/*")) == []  # nothing half made
    make_room(small)
    assert small.verb("run").code == 0
