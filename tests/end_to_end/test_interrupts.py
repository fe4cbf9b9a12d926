"""Stop milabench in the middle: nothing is left running, what is on disk is whole, and the next run goes well."""

from __future__ import annotations

import os
import pty
import select
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from harness import OBSERVED, PRINTER, Project, assert_whole, benchmarks, folder, shell, wait_until
from milabench.agent.processes import children

# Beside its steps it starts a daemon in a session of its own, which nobody waits for.
WITH_DAEMON = f"(setsid sh -c 'sleep 1000 & sleep 1000' </dev/null >/dev/null 2>&1 &); {PRINTER}"
STUBBORN = "trap '' TERM INT; echo ready; while true; do sleep 0.1; done"


def begin(project: Project, script: str) -> None:
    project.suite(first=shell(PRINTER), long=shell(script, stop=1_000_000), never=shell(PRINTER))


def steps_of(project: Project) -> int:
    """Return how many lines the second benchmark has printed."""
    paths = list(project.base.glob("runs/*/long.stdout"))
    return paths[0].read_text().count("\n") if paths else 0


def assert_next_run_goes_well(project: Project) -> None:
    assert project.verb("run", "--select", "first").code == 0
    assert project.report()["first"]["outcomes"] == {"early_stop": 1}


# The runner is told to end -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("script", [PRINTER, WITH_DAEMON], ids=["plain", "daemon"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_run_exits_with_130_and_leaves_no_process(
    project: Project, script: str, number: signal.Signals
) -> None:
    begin(project, script)
    with project.started("run", "--config", "suite.yaml") as runner:
        wait_until(lambda: steps_of(project) > 5)
        runner.send_signal(number)
        _, said = runner.communicate(timeout=30)
        assert runner.returncode == 130
        assert project.processes() == []
    name = "Ctrl-C" if number == signal.SIGINT else number.name
    assert f"\n{name}: what runs is being ended; once more: at once\n" in said
    name = project.run().path.name
    assert said.endswith(f"\n{name} is not complete: milabench resume {name}\n")
    assert_interrupted(project)
    assert_next_run_goes_well(project)


def test_an_interrupted_run_goes_on_with_the_command_that_it_names(project: Project) -> None:
    project.suite(first=shell(PRINTER), long=shell(PRINTER, stop=300), last=shell(PRINTER))
    with project.started("run", "--config", "suite.yaml") as runner:
        wait_until(lambda: steps_of(project) > 5)
        runner.send_signal(signal.SIGINT)
        _, said = runner.communicate(timeout=30)
    words = shlex.split(said.splitlines()[-1].partition("milabench ")[2])
    done = project.milabench(*words)
    assert done.code == 0, done.err
    assert {name: each["outcomes"] for name, each in project.report().items()} == dict.fromkeys(
        ("first", "long", "last"), {"early_stop": 1}
    )


def assert_interrupted(project: Project) -> None:
    """Assert that the run is whole and its second benchmark is what was interrupted."""
    assert_whole(project)
    outcomes = {name: (each.kind, each.reason) for name, each in project.run().outcomes().items()}
    assert outcomes["first"][0] == "early_stop"
    assert outcomes["long"] == ("interrupted", "interrupted by the operator")
    assert "never" not in outcomes
    assert project.run().facts()["state"] == "interrupted"


def test_a_closed_terminal_ends_a_run_cleanly(project: Project) -> None:
    begin(project, PRINTER)
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(project.folder)
        os.execve(sys.executable, project._argv(("run", "--config", "suite.yaml")), project.environ)
    try:
        while steps_of(project) <= 5:
            if select.select([terminal], [], [], 0.05)[0]:
                os.read(terminal, 4096)
        os.close(terminal)
        wait_until(lambda: project.processes() == [], timeout_s=30)
    finally:
        os.kill(pid, signal.SIGKILL)  # not reaped yet: it is still its number
        _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 130
    assert_interrupted(project)


def test_a_hangup_that_is_ignored_stays_ignored(project: Project) -> None:
    project.suite(long=shell(PRINTER, stop=150))
    argv = ["nohup", *project._argv(("run", "--config", "suite.yaml"))]
    with subprocess.Popen(
        argv, cwd=project.folder, env=project.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as runner:
        wait_until(lambda: steps_of(project) > 5)
        runner.send_signal(signal.SIGHUP)
        out, said = runner.communicate(timeout=60)
    assert (runner.returncode, "none failed" in out) == (0, True), said


@pytest.mark.parametrize(
    "signals", [(signal.SIGINT, signal.SIGINT), (signal.SIGTERM, signal.SIGINT), (signal.SIGQUIT,)]
)
def test_a_second_interrupt_does_not_wait_for_a_process_that_ignores_the_first(
    project: Project, signals: tuple[signal.Signals, ...]
) -> None:
    begin(project, STUBBORN)
    with project.started("run", "--config", "suite.yaml") as runner:
        wait_until(lambda: steps_of(project) > 0)
        (agent,) = children(runner.pid)
        (stubborn,) = benchmarks(agent)
        began = time.monotonic()
        for number in signals:
            runner.send_signal(number)
            time.sleep(0.3)
        wait_until(lambda: stubborn not in project.processes())
        assert time.monotonic() - began < 5  # the grace is not waited for
        _, said = runner.communicate(timeout=30)
        assert runner.returncode == 130
        assert project.processes() == []
    assert "what runs is ended at once\n" in said
    assert_interrupted(project)
    (end,) = [event.data for event in project.run().events("long") if event.event == "end"]
    assert end["signal"] == signal.SIGKILL


def test_one_interrupt_gives_a_process_time_to_end_in_its_own_way(project: Project) -> None:
    begin(project, "trap 'sleep 0.5; echo saved; exit 0' TERM; echo ready; while true; do sleep 0.1; done")
    with project.started("run", "--config", "suite.yaml") as runner:
        wait_until(lambda: steps_of(project) > 0)
        runner.send_signal(signal.SIGINT)
        assert runner.wait(30) == 130
    assert project.run().files("long").stdout.read_text() == "ready\nsaved\n"
    assert_interrupted(project)


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


WAITS = """
    from pathlib import Path
    import time

    Path({mark!r}).touch()
    time.sleep(1000)
"""
BENCHFILE = """
    from milabench.pack import Package

    class Waits(Package):
        async def install(self):
            await super().install()
            await self.execute("sh", "-c", "touch {mark}; sleep 1000")

    __pack__ = Waits
"""


@pytest.mark.parametrize("verb", ["install", "prepare", "run --all"])
@pytest.mark.parametrize("times", [1, 2])
def test_setting_up_is_interrupted_too(project: Project, furnish: Callable[[str], None], verb: str, times: int) -> None:
    mark = project.folder / "mark"
    project.write("plain/main.py", OBSERVED)
    project.suite(plain=folder("plain"))
    if verb == "install":
        project.write("plain/benchfile.py", BENCHFILE.format(mark=mark))
    else:
        furnish("plain")
        project.write("plain/prepare.py", WAITS.format(mark=str(mark)))
    with project.started(*verb.split(), "--config", "suite.yaml") as runner:
        wait_until(mark.exists)
        for _ in range(times):
            runner.send_signal(signal.SIGINT)
            time.sleep(0.2)
        _, said = runner.communicate(timeout=30)
        assert (runner.returncode, "Traceback" in said) == (130, False), said
        assert project.processes() == []
    assert list(project.base.glob("runs/*")) == []
    assert project.verb("run").code == 4  # nothing half made is taken for done


def test_who_waits_for_another_milabench_can_be_interrupted(project: Project) -> None:
    mark = project.folder / "mark"
    project.write("plain/main.py", OBSERVED)
    project.write("plain/benchfile.py", BENCHFILE.format(mark=mark))
    project.suite(plain=folder("plain"))
    with project.started("install", "--config", "suite.yaml") as first:
        wait_until(mark.exists)
        with subprocess.Popen(
            project._argv(("install", "--config", "suite.yaml")),
            cwd=project.folder,
            env=project.environ,
            stderr=subprocess.PIPE,
            text=True,
        ) as second:
            assert second.stderr is not None
            wait_until(lambda: "waiting for another milabench" in second.stderr.readline())
            second.send_signal(signal.SIGINT)
            assert second.wait(30) == 130
        assert first.poll() is None


def test_a_second_interrupt_does_not_wait_for_a_vendors_tool_that_hangs(project: Project) -> None:
    tool = project.write("bin/nvidia-smi", "#!/bin/sh\necho $$ > mark.new; mv mark.new mark; exec sleep 1000\n")
    tool.chmod(0o755)
    project.environ["PATH"] = f"{tool.parent}:{project.environ['PATH']}"
    project.suite(first=shell(PRINTER))
    with project.started("run", "--config", "suite.yaml") as runner:
        wait_until((project.folder / "mark").exists)
        began = time.monotonic()
        for _ in range(2):
            runner.send_signal(signal.SIGINT)
            time.sleep(0.3)
        _, said = runner.communicate(timeout=60)
        assert (runner.returncode, "Traceback" in said) == (130, False), said
        assert time.monotonic() - began < 10  # the tool has 20 s
        assert project.processes() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_plans_a_large_run_can_be_interrupted(project: Project, number: signal.Signals) -> None:
    project.suite(**{f"b{index}": shell(PRINTER) for index in range(50)})
    with project.started("run", "--config", "suite.yaml", "--repeat", "1000") as runner:
        assert runner.stderr is not None
        said = iter(runner.stderr.readline, "")
        assert any(line == "planning 50,000 trials\n" for line in said)
        runner.send_signal(number)
        rest = runner.communicate(timeout=60)[1]
        assert (runner.returncode, "Traceback" in rest, "to run, at most" in rest) == (130, False, False), rest
        assert project.processes() == []
    assert not list(project.base.glob("runs/*"))


# The runner goes away, or stands still -------------------------------------------------------------------------------


def test_a_runner_that_is_stopped_for_a_while_loses_nothing_and_deadlines_are_kept(project: Project) -> None:
    project.suite(short=shell(f"{PRINTER}", stop=1_000_000, max_duration=1), last=shell(PRINTER))
    with project.started("run", "--config", "suite.yaml") as runner:
        wait_until(lambda: any(path.stat().st_size for path in project.base.glob("runs/*/short.stdout")))
        began = time.monotonic()
        runner.send_signal(signal.SIGSTOP)
        (agent,) = children(runner.pid)
        wait_until(lambda: not benchmarks(agent))
        ran = time.monotonic() - began
        time.sleep(2)
        runner.send_signal(signal.SIGCONT)
        assert runner.wait(60) == 1
    assert_whole(project)
    (end,) = [event.data for event in project.run().events("short") if event.event == "end"]
    assert (end["outcome"], 1 <= end["seconds"] < ran + 1) == ("timeout", True)  # what the runner slept is not in it
    found = project.report()
    assert found["short"]["steps"]["measured"] > 10
    assert found["last"]["outcomes"] == {"early_stop": 1}


@pytest.mark.parametrize("script", [PRINTER, WITH_DAEMON, STUBBORN], ids=["plain", "daemon", "stubborn"])
def test_when_the_runner_is_killed_all_it_started_ends_and_the_report_still_works(
    project: Project, script: str
) -> None:
    begin(project, script)
    with project.started("run", "--config", "suite.yaml") as runner:
        wait_until(lambda: steps_of(project) > (0 if script is STUBBORN else 5))
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
    project.suite(first=shell(PRINTER), long=shell(WITH_DAEMON, stop=300), last=shell(PRINTER))
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
