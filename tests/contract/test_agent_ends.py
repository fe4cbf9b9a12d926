"""What ends, why, and what is told of it: causes, trees of processes beside each other, the agent's own end."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from agents import Raw, alive, assert_ends, frozen, pid_in
from benchmate.wire import decode_event, frame
from harness import wait_until
from milabench.agent.processes import children

# Daemons that leave as much behind as can be left: session, parent, variables.
DAEMONS = {
    "an orphan": "(setsid sh -c 'echo $$ > {pid}; exec sleep 1000' >/dev/null 2>&1 &)",
    "one without variables": (
        "(env -i /usr/bin/setsid /bin/sh -c 'echo $$ > {pid}; exec sleep 1000' >/dev/null 2>&1 &)"
    ),
    "one forked twice": "(env -i setsid sh -c '(setsid sh -c \"echo \\$\\$ > {pid}; exec sleep 1000\" &)' &)",
    "one that ignores the gentle signal": (
        """(setsid sh -c 'trap "" TERM; echo $$ > {pid}; sleep 1000; sleep 1000' &)"""
    ),
}
FROM_A_THREAD = """
import subprocess, threading, time
def start():
    child = subprocess.Popen(["sh", "-c", "(setsid sh -c 'echo $$ > pid; exec sleep 1000' &) ; sleep 1000"])
    time.sleep(1000)
threading.Thread(target=start).start()
"""


# Trees of processes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("daemon", DAEMONS.values(), ids=DAEMONS)
@pytest.mark.parametrize("end", ["exit 0", "kill -9 $$", "sleep 1000"])
def test_a_daemon_ends_with_the_process_that_it_came_from_and_no_other(agent: Raw, daemon: str, end: str) -> None:
    waiting = "while ! test -s {pid}; do sleep 0.02; done; while ! test -e {go}; do sleep 0.02; done; {end}"
    numbers = {}
    for name in ("one", "two"):
        script = f"{daemon}\n{waiting}".format(pid=f"{name}.pid", go=f"{name}.go", end=end)
        numbers[name] = agent.start(script, name)
    pids = {name: pid_in(agent.folder / f"{name}.pid") for name in numbers}
    (agent.folder / "one.go").touch()
    if end == "sleep 1000":
        agent.stop(numbers["one"], grace_s=0.5)
    assert agent.exit(numbers["one"])["error"] is None
    assert_ends(pids["one"])
    assert alive(pids["two"])
    agent.stop(numbers["two"], grace_s=0.5)
    agent.exit(numbers["two"])
    assert_ends(pids["two"])


def test_what_several_left_behind_that_died_at_once_is_gone_before_any_of_them_is_told(agent: Raw) -> None:
    scripts = (DAEMONS["one without variables"].format(pid=f"{number}.pid") for number in range(8))
    numbers = [agent.start(f"{script}\nwhile true; do sleep 0.02; done", f"p{i}") for i, script in enumerate(scripts)]
    pids = [pid_in(agent.folder / f"{number}.pid") for number in range(8)]
    leaders = [reply["pid"] for reply in (agent.reply(number) for number in numbers)]
    frozen(agent)
    for leader in leaders:
        os.kill(leader, signal.SIGKILL)
    agent.signal(signal.SIGCONT)
    agent.exit(numbers[0])
    for pid in pids:
        assert_ends(pid)


def test_what_a_thread_started_ends_too(agent: Raw) -> None:
    number = agent.start("", argv=[sys.executable, "-I", "-S", "-c", FROM_A_THREAD])
    pid = pid_in(agent.folder / "pid")
    agent.stop(number, grace_s=0.5)
    agent.exit(number)
    assert_ends(pid)


GIVES_UP = """
import ctypes, os, sys, time
ctypes.CDLL(None).prctl(36, 0, 0, 0, 0)
if not os.fork():
    os.setsid()
    if not os.fork():
        with open("daemon", "w") as file: file.write(f"{os.getpid()}\\n")
        time.sleep(1000)
    os._exit(0)
time.sleep(1000)
"""


def test_what_cannot_be_ascribed_ends_with_the_next_process_however_often_usage_is_asked(agent: Raw) -> None:
    number = agent.start("", argv=[sys.executable, "-I", "-S", "-c", GIVES_UP])
    pid = pid_in(agent.folder / "daemon")
    for _ in range(3):
        wait_until(lambda: pid in children(agent.pid))
        assert agent.reply(agent.send("usage"))["event"] == "usage"
    assert alive(pid)
    agent.stop(number, grace_s=0.5)
    assert agent.exit(number)["error"] is None
    assert_ends(pid)


def test_what_keeps_starting_others_ends(agent: Raw) -> None:
    breeding = "trap '' TERM; touch mark; while true; do (setsid sh -c 'trap \"\" TERM; sleep 5' &); done"
    number = agent.start(breeding)
    wait_until((agent.folder / "mark").exists)
    agent.stop(number, grace_s=0.2)
    found = agent.exit(number)
    assert (found["signal"], found["error"]) == (signal.SIGKILL, None)
    assert children(agent.pid) == []


def test_many_end_by_one_wish(agent: Raw) -> None:
    numbers = [agent.start("sleep 1000 & wait") for _ in range(100)]
    for number in numbers:
        agent.reply(number)
    for number in numbers:
        agent.stop(number)
    assert {reply["cause"] for reply in agent.exits(*numbers).values()} == {"interrupt"}
    assert children(agent.pid) == []


def wakes(agent: Raw) -> int:
    """Return how often the agent has gone to sleep so far."""
    (line,) = [each for each in Path(f"/proc/{agent.pid}/status").read_text().splitlines() if each.startswith("vol")]
    return int(line.split()[1])


def is_still(agent: Raw) -> bool:
    """Say whether nothing wakes the agent for a second."""
    before = wakes(agent)
    time.sleep(1)
    return wakes(agent) - before <= 1


def test_nothing_is_polled_neither_while_processes_run_nor_while_they_end(agent: Raw) -> None:
    deaf = "trap '' TERM; touch mark; while true; do sleep 1000 & wait; done"
    numbers = [agent.start(deaf, f"p{number}", deadline_s=1000) for number in range(4)]
    for number in numbers:
        agent.reply(number)
    wait_until((agent.folder / "mark").exists)
    agent.reply(agent.send("missing", onces={}))
    wait_until(lambda: is_still(agent))
    agent.stop(numbers[0], grace_s=1000)
    agent.reply(agent.send("missing", onces={}))
    wait_until(lambda: is_still(agent))
    for number in numbers:
        agent.stop(number, grace_s=0)
    assert {reply["signal"] for reply in agent.exits(*numbers).values()} == {signal.SIGKILL}


# Causes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cause", ["limit", "interrupt", "sibling"])
def test_a_crash_before_a_wish_to_stop_wins_over_it(agent: Raw, cause: str) -> None:
    number = agent.start("while ! test -e go; do sleep 0.01; done; exit 3")
    pid = agent.reply(number)["pid"]
    frozen(agent)
    (agent.folder / "go").touch()
    wait_until(lambda: not alive(pid))
    agent.stop(number, cause)
    agent.signal(signal.SIGCONT)
    found = agent.exit(number)
    assert (found["code"], found["cause"]) == (3, None)


@pytest.mark.parametrize(
    ("wish", "cause"), [("interrupt", "interrupt"), ("limit", None), ("SIGTERM", "lost"), (None, None)]
)
def test_sigterm_to_all_of_a_run_is_no_end_of_a_process_by_itself(
    agent: Raw, wish: str | None, cause: str | None
) -> None:
    number = agent.start("exec sleep 1000")
    pid = agent.reply(number)["pid"]
    frozen(agent)
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not alive(pid))
    if wish == "SIGTERM":
        agent.signal(signal.SIGTERM)
    elif wish is not None:
        agent.stop(number, wish)
    agent.signal(signal.SIGCONT)
    found = agent.exit(number)
    assert (found["signal"], found["cause"]) == (signal.SIGTERM, cause)


def test_a_crash_before_a_deadline_wins_over_it(agent: Raw) -> None:
    began = time.monotonic()
    number = agent.start("while ! test -e go; do sleep 0.01; done; exit 3", deadline_s=5)
    pid = agent.reply(number)["pid"]
    frozen(agent)
    (agent.folder / "go").touch()
    wait_until(lambda: not alive(pid))
    time.sleep(max(began + 5.2 - time.monotonic(), 0))  # the deadline passes while the agent is stopped
    agent.signal(signal.SIGCONT)
    found = agent.exit(number)
    assert (found["code"], found["cause"]) == (3, None)


def test_a_crash_right_after_the_wanted_amount_was_printed_wins(agent: Raw) -> None:
    script = "while ! test -e go; do sleep 0.01; done; for i in 1 2 3; do echo '{\"count\": 1}'; done; exit 3"
    limit = {"skip": 0, "observations": 1, "seconds": None}
    number = agent.start(script, "one", metrics="stdout", stop="runner", limit=limit)
    pid = agent.reply(number)["pid"]
    frozen(agent)
    (agent.folder / "go").touch()
    wait_until(lambda: not alive(pid))
    agent.signal(signal.SIGCONT)
    found = agent.exit(number)
    assert (found["code"], found["cause"]) == (3, None)
    events = map(decode_event, (agent.folder / "one.data").read_bytes().splitlines())
    assert [event.event for event in events if event] == ["stop"]


# Files that cannot be written --------------------------------------------------------------------------------------


PRINTING = """while ! test -e go; do sleep 0.01; done; while true; do echo '{"rate": 1}'; sleep 0.01; done"""


@pytest.mark.parametrize("file", ["stdout", "events"])
def test_a_full_disk_ends_the_process_that_prints_and_no_other(agent: Raw, file: str) -> None:
    (agent.folder / "go").touch()
    number = agent.start(PRINTING, metrics="stdout", **{file: "/dev/full"})
    other = agent.start("while ! test -e end; do sleep 0.01; done; exit 4", "other")
    found = agent.exit(number)
    assert found["error"] == "its output cannot be written: No space left on device"
    (agent.folder / "end").touch()
    assert agent.exit(other)["code"] == 4


def test_a_run_folder_that_is_removed_ends_the_process_that_prints_and_no_other(agent: Raw) -> None:
    run = agent.folder / "run"
    run.mkdir()
    files: dict[str, Any] = {key: str(run / key) for key in ("stdout", "stderr", "events", "steps")}
    number = agent.start(PRINTING, metrics="stdout", **files)
    other = agent.start("while ! test -e end; do sleep 0.01; done; exit 4", "other")
    agent.reply(other)
    shutil.rmtree(run)
    (agent.folder / "go").touch()
    assert agent.exit(number)["error"] == "its output cannot be written: No such file or directory"
    late = agent.start("exit 0", **files)
    assert "No such file or directory" in agent.exit(late)["error"]
    (agent.folder / "end").touch()
    assert agent.exit(other)["code"] == 4


# Lines -------------------------------------------------------------------------------------------------------------


def test_lines_of_megabytes_and_bytes_that_are_no_text_harm_nothing(agent: Raw) -> None:
    garbage = (
        b'{"count": 1}\n'
        + b'{"a": "' + b"x" * (3 << 20) + b'"}\n'
        + b"y" * (3 << 20) + b"\n"
        + b'{"\xff\xfe": 1}\n\xff\xfe\x00\n'
        + b'{"rate": 1' + b"0" * 400 + b"}\n"
        + b'{"count": 2}\n'
    )  # fmt: skip
    (agent.folder / "garbage").write_bytes(garbage)
    assert agent.exit(agent.start("cat garbage", "one", metrics="stdout"))["code"] == 0
    assert (agent.folder / "one.stdout").read_bytes() == garbage
    events = [decode_event(line) for line in (agent.folder / "one.data").read_bytes().splitlines()]
    whys = [event.data["why"] for event in events if event is not None and event.event == "line"]
    assert whys == [f"{(3 << 20) + 9} bytes in one line: at most {1 << 20} are read", "no JSON", "rate is no number"]


# The agent's own end -----------------------------------------------------------------------------------------------


NO_MEMORY = (
    "import os; from milabench.agent import serve; "
    "serve.Agent._pace = lambda self: os.path.exists('fail') and bytearray(1 << 62)"
)


@pytest.mark.parametrize(
    ("patch", "request_", "name"),
    [
        ("pass", b"\0\0\0\4oops", "JSONDecodeError"),
        (NO_MEMORY, frame({"id": 0, "op": "missing", "onces": {}}), "MemoryError"),
    ],
    ids=["nonsense", "no memory"],
)
def test_an_agent_that_fails_leaves_nothing_and_says_so_in_one_line(
    tmp_path: Path, patch: str, request_: bytes, name: str
) -> None:
    with Raw(tmp_path, before=lambda: os.chdir(tmp_path), patch=patch) as agent:
        daemon = DAEMONS["one that ignores the gentle signal"].format(pid="pid")
        agent.start(f"{daemon}\necho $$ > leader; trap '' TERM; while true; do sleep 0.05; done")
        pids = [pid_in(tmp_path / file) for file in ("pid", "leader")]
        (tmp_path / "fail").touch()
        assert agent.process.stdin is not None
        agent.process.stdin.write(request_)
        agent.process.stdin.flush()
        assert agent.process.wait(30) == 5
        for pid in pids:
            assert_ends(pid)
        assert agent.process.stderr is not None
        (line,) = agent.process.stderr.read().decode().splitlines()
    said = "milabench: the agent has ended, and all that it had started: milabench has a bug: "
    assert line.startswith(f"{said}{name}")


@pytest.mark.parametrize("method", ["feed", "close"])
def test_a_bug_in_what_one_program_prints_harms_no_other(tmp_path: Path, method: str) -> None:
    patch = f"from milabench.agent import metrics; metrics.PrintedMetrics.{method} = lambda *_: 1 / 0"
    with Raw(tmp_path, patch=patch) as agent:
        number = agent.start("echo '{\"count\": 1}'; exit 0", metrics="stdout")
        assert agent.exit(number)["error"].startswith("milabench has a bug: ZeroDivisionError")
        assert agent.exit(agent.start("exit 4"))["code"] == 4


def test_a_request_that_makes_no_sense_is_answered_and_harms_no_other(agent: Raw) -> None:
    other = agent.start("while ! test -e end; do sleep 0.01; done; exit 4", "other")
    asked, started = agent.send("no such thing"), agent.start("exit 0", limit=None, metrics="stdout")
    (agent.folder / "end").touch()
    assert "milabench has a bug: KeyError" in agent.reply(asked)["message"]
    assert "milabench has a bug: TypeError" in agent.exit(started)["error"]
    assert agent.exit(other)["code"] == 4


def test_when_the_agent_is_killed_the_processes_it_started_are_killed(agent: Raw) -> None:
    agent.start("trap '' TERM; echo $$ > leader; while true; do sleep 0.05; done")
    leader = pid_in(agent.folder / "leader")
    agent.process.kill()
    agent.process.wait(30)
    assert_ends(leader, timeout_s=20)
