"""What ends, why, and what is told of it: causes, trees of processes beside each other, the agent's own end."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from agents import Raw, alive, assert_ends, pid_in
from benchmate.wire import decode_event, frame
from harness import wait_until
from milabench.agent.processes import children

STUBBORN = "trap '' TERM; touch {mark}; while true; do sleep 0.05; done"
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


@pytest.fixture
def agent(tmp_path: Path):
    with Raw(tmp_path) as made:
        yield made


def frozen(agent: Raw) -> None:
    """Stop the agent, so that what happens meanwhile comes to it all at once."""
    agent.signal(signal.SIGSTOP)
    wait_until(lambda: Path(f"/proc/{agent.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")


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


# A lock that lasts as long as what an agent started ----------------------------------------------------------------


def test_a_held_file_is_free_when_everything_has_ended_and_not_before(agent: Raw, tmp_path: Path) -> None:
    lock = str(tmp_path / "run.lock")
    assert [agent.reply(agent.send("hold", path=lock))["held"] for _ in range(2)] == [True, True]
    agent.start(STUBBORN.format(mark="mark"))
    wait_until((tmp_path / "mark").exists)
    with Raw(tmp_path) as other:
        assert other.reply(other.send("hold", path=lock))["held"] is False
        assert agent.process.stdin is not None
        agent.process.stdin.close()
        assert other.reply(other.send("hold", path=lock))["held"] is False
        agent.process.wait(30)
        assert other.reply(other.send("hold", path=lock))["held"] is True


def test_a_file_that_cannot_be_held_is_an_error(agent: Raw) -> None:
    reply = agent.reply(agent.send("hold", path="/nowhere/run.lock"))
    assert (reply["event"], reply["message"]) == ("error", "No such file or directory: /nowhere/run.lock")


# Work that is needed once --------------------------------------------------------------------------------------------


def once(tmp_path: Path, **parts: str) -> dict[str, Any]:
    folder = str(tmp_path / "venv" / "plain")
    asked = {"base": {}, "parts": parts, "always": False, "keep": False}
    return {"record": f"{folder}/.milabench.json", "folder": folder, **asked}


def test_the_end_of_what_was_begun_with_another_agent_is_answered_and_records_nothing(agent: Raw) -> None:
    with Raw(agent.folder) as killed:
        begun = killed.reply(killed.send("begin", target="plain/plain", once=once(agent.folder)))
        assert begun["state"] == "needed"
        killed.process.kill()
        killed.process.wait(30)
    ended = agent.reply(agent.send("end", target="plain/plain", done=True))
    assert (ended["event"], ended["known"]) == ("ended", False)
    begun = agent.reply(agent.send("begin", target="plain/plain", once=once(agent.folder)))
    assert begun["state"] == "needed"
    assert agent.reply(agent.send("end", target="plain/plain", done=True))["known"] is True
    assert agent.reply(agent.send("missing", onces={"plain": once(agent.folder)}))["names"] == []


SLOW = """
import os, shutil, time
rmtree = shutil.rmtree
def slow(path):
    open("removing", "w").close()
    while not os.path.exists("go"):
        time.sleep(0.02)
    rmtree(path)
shutil.rmtree = slow
"""


@pytest.fixture
def slow(tmp_path: Path):
    """Return an agent that takes long to remove a folder: until there is a file ``go``; and one that is half made."""
    (tmp_path / "venv" / "plain" / "lib").mkdir(parents=True)
    with Raw(tmp_path, before=lambda: os.chdir(tmp_path), patch=f"exec({SLOW!r})") as made:
        yield made


def is_locked(path: Path) -> bool:
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def test_what_is_half_made_is_removed_before_it_is_begun_and_delays_nothing_else(slow: Raw) -> None:
    begun = slow.send("begin", target="plain/plain", once=once(slow.folder))
    late = slow.start("exec sleep 1000", "late", deadline_s=0.3)
    assert slow.exit(late)["cause"] == "deadline"
    assert is_locked(slow.folder / "venv" / "plain.lock")
    (slow.folder / "go").touch()
    assert slow.reply(begun)["state"] == "needed"
    assert not (slow.folder / "venv" / "plain").exists()
    assert is_locked(slow.folder / "venv" / "plain.lock")
    assert slow.reply(slow.send("end", target="plain/plain", done=True))["known"] is True
    assert not is_locked(slow.folder / "venv" / "plain.lock")


def test_an_agent_whose_runner_is_gone_removes_nothing_more_and_ends(slow: Raw) -> None:
    slow.reply(slow.send("usage"))  # one before it in the queue, waited for after this has begun
    slow.send("begin", target="plain/plain", once=once(slow.folder))
    waiting = slow.send("freeze", folders={}, sources=[])
    wait_until((slow.folder / "removing").exists)
    assert slow.process.stdin is not None
    slow.process.stdin.close()
    assert slow.process.wait(30) == 0
    assert waiting not in [reply["id"] for reply in slow.replies()]
    assert (slow.folder / "venv" / "plain" / "lib").exists()
    assert not is_locked(slow.folder / "venv" / "plain.lock")


def test_what_is_asked_last_before_the_runner_goes_is_not_begun(slow: Raw) -> None:
    frozen(slow)
    for _ in range(200):
        slow.send("usage")
    slow.send("begin", target="plain/plain", once=once(slow.folder))
    assert slow.process.stdin is not None
    slow.process.stdin.close()
    slow.signal(signal.SIGCONT)
    assert slow.process.wait(30) == 0
    assert (slow.folder / "venv" / "plain" / "lib").exists()


def test_what_cannot_be_removed_is_an_error_and_not_locked(tmp_path: Path) -> None:
    (tmp_path / "venv" / "plain").mkdir(parents=True)
    patch = "import shutil; shutil.rmtree = lambda path: open(path + '/x/y')"
    with Raw(tmp_path, patch=patch) as agent:
        found = agent.reply(agent.send("begin", target="plain/plain", once=once(tmp_path)))
        assert found["message"] == f"No such file or directory: {tmp_path}/venv/plain/x/y"
        assert not is_locked(tmp_path / "venv" / "plain.lock")


# The agent's own end -----------------------------------------------------------------------------------------------


NO_MEMORY = (
    "import os; from milabench.agent import serve; "
    "serve.Agent._look = lambda self: os.path.exists('fail') and bytearray(1 << 62)"
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
