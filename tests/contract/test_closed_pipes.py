"""Nobody reads what milabench prints: ``milabench list | head -0``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness import PRINTER, Project, shell
from milabench.rundir import RunDir, runs


def unread(project: Project, *arguments: str, stream: str = "stdout") -> tuple[int, str]:
    """Return the exit code of a command with a stream that nobody reads, and what the other one said."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "milabench", *arguments],
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: writing},
        cwd=project.folder,
        env=project.environ,
        timeout=120,
        check=False,
    )
    os.close(writing)
    return done.returncode, (done.stderr if stream == "stdout" else done.stdout).decode()


@pytest.fixture
def printer(project: Project) -> Project:
    project.suite(printer=shell(PRINTER), broken=shell("exit 3"))
    return project


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("list", "-c", "suite.yaml"),
        ("plan", "-c", "suite.yaml"),
        ("plan", "-c", "suite.yaml", "--json"),
        ("check", "-c", "suite.yaml"),
    ],
    ids=" ".join,
)
def test_looking_ends_well_and_quietly(printer: Project, arguments: tuple[str, ...]) -> None:
    assert unread(printer, *arguments) == (0, "")


def test_a_mistake_is_told_all_the_same(printer: Project) -> None:
    code, said = unread(printer, "list", "-c", "none.yaml")
    assert (code, "no suite 'none.yaml'" in said) == (2, True)


@pytest.mark.parametrize(("name", "code"), [("printer", 0), ("broken", 1)])
def test_a_run_ends_with_what_came_of_it(printer: Project, name: str, code: int) -> None:
    found, said = unread(printer, "run", "-c", "suite.yaml", "-s", name)
    assert (found, "Traceback" in said) == (code, False), said


def test_a_result_that_finds_a_full_disk_is_told_and_no_success(printer: Project) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "milabench", "list", "-c", "suite.yaml"],
            stdout=full,
            stderr=subprocess.PIPE,
            cwd=printer.folder,
            env=printer.environ,
            timeout=120,
            check=False,
        )
    said = "milabench: No space left on device: standard output\n"
    assert (done.returncode, done.stderr.decode()) == (4, said)


def test_a_log_that_finds_a_full_disk_is_no_reason_to_stop(printer: Project) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "milabench", "run", "-c", "suite.yaml", "-s", "printer"],
            stdout=subprocess.PIPE,
            stderr=full,
            cwd=printer.folder,
            env=printer.environ,
            timeout=120,
            check=False,
        )
    assert (done.returncode, b"none failed" in done.stdout) == (0, True)


def test_a_run_whose_log_nobody_reads_is_interrupted(printer: Project) -> None:
    code, said = unread(printer, "run", "-c", "suite.yaml", "-s", "printer", stream="stderr")
    assert (code, "Traceback" in said) == (130, False), said
    states = [RunDir(path).facts()["state"] for path in runs(printer.base)]
    assert states in ([], ["interrupted"])  # none: something was to be said of the machine, before the run began
    assert printer.processes() == []


@pytest.mark.parametrize(
    ("closed", "code", "told"),
    [("2>&-", 0, ""), ("<&- 2>&-", 0, ""), (">&-", 4, "milabench: Bad file descriptor: standard output\n")],
)
def test_what_was_closed_before_it_began_is_no_bug(printer: Project, closed: str, code: int, told: str) -> None:
    argv = [sys.executable, "-m", "milabench", "run", "-c", "suite.yaml", "-s", "printer", "--quiet"]
    done = subprocess.run(
        ["sh", "-c", f'"$@" {closed}', "sh", *argv],
        cwd=printer.folder,
        env=printer.environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (code, told)
    assert RunDir(runs(printer.base)[-1]).outcomes()["printer"].kind == "early_stop"
