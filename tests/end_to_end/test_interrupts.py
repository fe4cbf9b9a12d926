"""Stop milabench in the middle: nothing is left running, what is on disk is whole, and the next run goes well."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest

from harness import PRINTER, Project, assert_whole, shell, wait_until

# Beside its steps it starts a daemon in a session of its own, which nobody waits for.
WITH_DAEMON = f"(setsid sh -c 'sleep 1000 & sleep 1000' </dev/null >/dev/null 2>&1 &); {PRINTER}"
STUBBORN = "trap '' TERM INT; echo ready; while true; do sleep 0.1; done"


def begin(project: Project, script: str) -> None:
    project.suite(first=shell(PRINTER), long=shell(script, stop=1_000_000), never=shell(PRINTER))


def is_running(project: Project) -> bool:
    """Say whether the long one has printed something: it is deaf to signals by then, where it is to be."""
    return steps_of(project) > 0


def steps_of(project: Project) -> int:
    paths = list(project.base.glob("runs/*/long.stdout"))
    return paths[0].read_text().count("\n") if paths else 0


def assert_next_run_goes_well(project: Project) -> None:
    assert project.verb("run", "--select", "first").code == 0
    assert project.report()["first"]["outcomes"] == {"early_stop": 1}


@pytest.mark.parametrize("script", [PRINTER, WITH_DAEMON], ids=["plain", "daemon"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_exits_with_130_and_leaves_no_process(
    project: Project, script: str, number: signal.Signals
) -> None:
    begin(project, script)
    with project.started("run", "--config", "suite.yaml") as runner:
        wait_until(lambda: steps_of(project) > 5)
        runner.send_signal(number)
        assert runner.wait(30) == 130
        assert project.processes() == []
    assert_whole(project)
    outcomes = {name: each.kind for name, each in project.run().outcomes().items()}
    assert outcomes == {"first": "early_stop", "long": "interrupted"}
    assert project.run().facts()["state"] == "interrupted"
    assert_next_run_goes_well(project)


def test_the_report_of_an_interrupted_run_says_what_is_missing(project: Project) -> None:
    begin(project, PRINTER)
    with project.started("run", "--config", "suite.yaml") as runner:
        wait_until(lambda: steps_of(project) > 5)
        runner.send_signal(signal.SIGINT)
        runner.wait(30)
    document = project.milabench("report", "--json").json
    outcomes = {each["name"]: each["outcomes"] for each in document["benchmarks"]}
    assert (outcomes["first"], outcomes["long"]) == ({"early_stop": 1}, {"interrupted": 1})
    assert [absent["benchmark"] for absent in document["missing"]] == ["never"]
    assert "interrupted" in project.milabench("report").out


def test_a_second_interrupt_does_not_wait_for_a_process_that_ignores_the_first(project: Project) -> None:
    begin(project, STUBBORN)
    with project.started("run", "--config", "suite.yaml") as runner:
        wait_until(lambda: is_running(project))
        runner.send_signal(signal.SIGINT)
        time.sleep(0.3)
        runner.send_signal(signal.SIGINT)
        assert runner.wait(30) == 130
        assert project.processes() == []
    assert_whole(project)
    (end,) = [event.data for event in project.run().events("long") if event.event == "end"]
    assert end["signal"] == signal.SIGKILL


@pytest.mark.parametrize("script", [PRINTER, WITH_DAEMON, STUBBORN], ids=["plain", "daemon", "stubborn"])
def test_when_the_runner_is_killed_all_it_started_ends_and_the_report_still_works(
    project: Project, script: str
) -> None:
    begin(project, script)
    with project.started("run", "--config", "suite.yaml") as runner:
        wait_until(lambda: is_running(project) if script is STUBBORN else steps_of(project) > 5)
        runner.kill()
        wait_until(lambda: project.processes() == [], timeout_s=30)
    found = project.report()
    assert found["first"]["outcomes"] == {"early_stop": 1}
    assert "long" in project.milabench("report").out
    if script is not STUBBORN:
        assert found["long"]["steps"]["measured"] > 0
    assert "ended" not in project.run().facts()
    assert_next_run_goes_well(project)


def test_when_the_agent_is_killed_another_runs_again_what_went_with_it(project: Project) -> None:
    project.suite(first=shell(PRINTER), long=shell(WITH_DAEMON, stop=150), last=shell(PRINTER))
    with project.started("run", "--config", "suite.yaml") as runner:
        wait_until(lambda: steps_of(project) > 5)
        started = [pid for pid in project.processes() if pid != runner.pid]
        (agent,) = children(runner.pid)
        os.kill(agent, signal.SIGKILL)
        wait_until(lambda: not {*started} & {*project.processes()})
        assert runner.wait(60) == 0
    run = project.run()
    assert {trial: each.kind for trial, each in run.outcomes().items()} == dict.fromkeys(
        ("first", "long", "last"), "early_stop"
    )
    assert dict(run.journal().attempts) == {"first": 1, "long": 2, "last": 1}
    assert run.facts()["state"] == "complete"


def test_two_runs_at_once_do_not_disturb_each_other(project: Project) -> None:
    project.suite(printer=shell(PRINTER))
    begin_run = ("run", "--config", "suite.yaml", "--run-name")
    with project.started(*begin_run, "one") as one, project.started(*begin_run, "two") as two:
        assert (one.wait(60), two.wait(60)) == (0, 0)
    assert project.report("one", "two")["printer"]["n"] == 2


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("arguments", [("report",), ("report", "--json"), ("list", "--config", "suite.yaml")], ids=str)
def test_a_reader_that_goes_away_is_no_error(project: Project, arguments: tuple[str, ...], unbuffered: str) -> None:
    project.suite(printer=shell(PRINTER))
    project.verb("run")
    command = f"{shlex.join(project._argv(arguments))} | true; exit ${{PIPESTATUS[0]}}"
    environ = {**project.environ, "PYTHONUNBUFFERED": unbuffered}
    done = subprocess.run(
        ["bash", "-c", command],
        env=environ,
        cwd=project.folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(word) for word in (task / "children").read_text().split()]
    return found
