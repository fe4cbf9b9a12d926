"""What is locked for as long as a process lives, and what is left of it."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from milabench.agent.locks import Holds, Scratch, take


def old(path: Path) -> None:
    os.utime(path, (1, 1))


def test_of_a_lock_in_the_users_folder_nothing_is_left_and_that_of_a_run_stays_there(tmp_path: Path) -> None:
    own, run = tmp_path / "own", tmp_path / "run"
    own.mkdir()
    run.mkdir()
    holds, others = Holds(lambda: own), Holds(lambda: own)
    assert all(holds.hold(path) for path in ("it.lock", f"{run}/agent.lock", "it.lock"))
    assert not any(others.hold(path) for path in ("it.lock", f"{run}/agent.lock"))
    assert [path.name for path in own.iterdir()] == ["it.lock"]
    holds.close()
    assert list(own.iterdir()) == []
    assert [path.name for path in run.iterdir()] == ["agent.lock"]
    assert all(others.hold(path) for path in ("it.lock", f"{run}/agent.lock"))
    others.close()


def test_a_lock_that_an_heir_holds_on_stays_where_others_find_it(tmp_path: Path) -> None:
    holds, others = Holds(lambda: tmp_path), Holds(lambda: tmp_path)
    assert holds.hold("it.lock")
    (descriptor,) = holds.descriptors
    inherited = os.dup(descriptor)
    holds.close()
    assert not others.hold("it.lock")
    os.close(inherited)
    assert others.hold("it.lock")
    others.close()


def test_a_lock_that_was_removed_while_another_opened_it_is_not_taken_for_that_of_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real, removed = tmp_path / "it.lock", fcntl.flock, []

    def flock(descriptor: int, operation: int) -> None:
        if not removed:  # who had it goes just then
            removed.append(os.fstat(descriptor).st_ino)
            path.unlink()
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    descriptor = take(str(path))
    assert descriptor is not None
    assert os.path.samestat(path.stat(), os.fstat(descriptor))
    os.close(descriptor)


def test_locks_that_killed_agents_left_are_removed_and_those_of_others_are_not(tmp_path: Path) -> None:
    others, holds = Holds(lambda: tmp_path), Holds(lambda: tmp_path)
    assert others.hold("used.lock")
    for name in ("left.lock", "young.lock", "agent.zip"):
        (tmp_path / name).touch()
    for name in ("left.lock", "used.lock", "agent.zip"):
        old(tmp_path / name)
    assert holds.hold("mine.lock")
    assert {path.name for path in tmp_path.iterdir()} == {"used.lock", "young.lock", "agent.zip", "mine.lock"}
    others.close()
    holds.close()


def test_a_folder_that_a_killed_process_left_is_removed_by_the_next(tmp_path: Path) -> None:
    left, foreign = (tmp_path / f"milabench-{name}" for name in (f"exec-{os.getuid()}-left", "other"))
    for each in (left, foreign):
        each.mkdir()
        (each / "output").touch()
        old(each)
    used = Scratch(str(tmp_path), "exec")
    old(Path(used.path))
    scratch = Scratch(str(tmp_path), "exec")
    assert set(tmp_path.iterdir()) == {foreign, Path(used.path), Path(scratch.path)}
    used.close()
    scratch.close()
    assert set(tmp_path.iterdir()) == {foreign}
