"""The kernel kills for want of memory, in a real cgroup: the process itself, or one that it started."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from agents import Raw

LIMIT_BYTES = 200 << 20
GREEDY = f"{sys.executable} -I -S -c 'bytearray({2 * LIMIT_BYTES})'"
ROOT = Path("/sys/fs/cgroup")


def limited() -> tuple[Path, str]:
    """Return a new cgroup's folder and the name of the file with its limit. Raises OSError where none can be made."""
    name = f"milabench-test-{os.getpid()}-{time.time_ns()}"
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            folder, limit = ROOT / "memory" / path.lstrip("/") / name, "memory.limit_in_bytes"
            folder.mkdir()
            return folder, limit
    (ROOT / "cgroup.subtree_control").write_text("+memory")
    (ROOT / name).mkdir()
    return ROOT / name, "memory.max"


@pytest.fixture
def cgroup() -> Iterator[Path]:
    try:
        folder, limit = limited()
    except OSError as error:
        pytest.skip(f"no cgroup can be made here: {error.strerror}")
    try:
        (folder / limit).write_text(str(LIMIT_BYTES))
        with suppress(OSError):  # a machine without swap, or version 1 without an account of it
            (folder / "memory.swap.max").write_text("0")
        yield folder
    finally:
        end = time.monotonic() + 30
        while folder.exists() and time.monotonic() < end:
            try:
                folder.rmdir()
            except OSError:
                time.sleep(0.05)


@pytest.fixture
def agent(tmp_path: Path, cgroup: Path) -> Iterator[Raw]:
    with Raw(tmp_path, before=lambda: _join(cgroup)) as made:
        yield made


def _join(cgroup: Path) -> None:
    (cgroup / "cgroup.procs").write_text("0")


@pytest.mark.parametrize(
    ("script", "code", "number"),
    [
        (f"exec {GREEDY}", None, signal.SIGKILL),
        (f"{GREEDY}; exit 7", 7, None),
        (f"({GREEDY}; true) & wait $!; kill -ABRT $$", None, signal.SIGABRT),
    ],
    ids=["the process itself", "a child", "a child of a child"],
)
def test_a_kill_for_want_of_memory_is_told_of_the_process_that_fails_of_it(
    agent: Raw, script: str, code: int | None, number: int | None
) -> None:
    found = agent.exit(agent.start(script))
    assert (found["code"], found["signal"], found["oom"]) == (code, number, True)
    later = agent.exit(agent.start("exit 7"))
    assert (later["code"], later["oom"]) == (7, False)


def test_a_process_that_copes_with_such_a_kill_ends_well(agent: Raw) -> None:
    found = agent.exit(agent.start(f"{GREEDY}; exit 0"))
    assert (found["code"], found["oom"]) == (0, False)


def test_another_process_that_fails_meanwhile_is_not_said_to_lack_memory_twice(agent: Raw) -> None:
    waiting = "while ! test -e go; do sleep 0.02; done"
    other = agent.start(f"{waiting}; exit 5")
    assert agent.exit(agent.start(f"{GREEDY}; exit 7"))["oom"] is True
    (agent.folder / "go").touch()
    found = agent.exit(other)
    assert (found["code"], found["oom"]) == (5, False)
