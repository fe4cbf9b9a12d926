"""Work that is needed once, and the locks of it: what ends with an agent, and what its end must not leave half done."""

from __future__ import annotations

import fcntl
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from agents import Raw, frozen
from harness import wait_until

STUBBORN = "trap '' TERM; touch {mark}; while true; do sleep 0.05; done"


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


def test_what_is_held_in_the_folder_of_a_user_is_removed_at_the_end(tmp_path: Path) -> None:
    with Raw(tmp_path, TMPDIR=str(tmp_path)) as agent:
        assert agent.reply(agent.send("hold", path="run.lock"))["held"] is True
        own = tmp_path / f"milabench-{os.getuid()}"
        (lock,) = own.iterdir()
        assert lock.match("run.*.lock")  # with a mark of this machine
    assert list(own.iterdir()) == []


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
