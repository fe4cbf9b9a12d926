"""A benchmark takes more memory than there is: the kernel kills it, and that is what is said of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from harness import PRINTER, Project, Result, assert_whole, shell, wait_until

LIMIT_BYTES = 400 << 20
STEPS = """for i in 1 2 3 4 5 6; do echo '{"count": 10}'; sleep 0.02; done; """  # of which 2 are warm-up
TAKE = f"""{sys.executable} -I -S -c 'x = [b"x" * (1 << 20) for _ in range(4000)]'"""
KERNEL = "killed by the kernel: out of memory"
CASES = {
    "itself": (f"{STEPS} exec {TAKE}", KERNEL),
    "a child of it": (f"{STEPS} {TAKE} || exit 1", f"a process that it started was {KERNEL} (exit code 1: Killed)"),
    "a child, and it goes on": (f"{STEPS} {TAKE} & wait; exit 0", None),
}


@pytest.fixture
def limited(project: Project) -> Iterator[Callable[..., Result]]:
    """Return a way to run a verb of a project in a memory cgroup of its own, or skip where none can be made."""
    try:
        group = make_group(f"milabench-test-{os.getpid()}-{project.folder.name}")
    except OSError:
        pytest.skip("no memory cgroup can be made here")

    def verb(*words: str) -> Result:
        inside = f'echo $$ > {group}/cgroup.procs && exec "$@"'
        return project.milabench(*words, under=("sh", "-c", inside, "sh"))

    yield verb
    wait_until(lambda: not (group / "cgroup.procs").read_text().split())
    group.rmdir()


def make_group(name: str) -> Path:
    """Make a memory cgroup, of version 1 or 2, below the one that this process is in. Raises OSError."""
    lines = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    first = next((path for _, controllers, path in lines if "memory" in controllers.split(",")), None)
    if first is not None:
        group = make(Path(f"/sys/fs/cgroup/memory{first}") / name, "memory.limit_in_bytes")
        with suppress(OSError):  # where swap is not accounted for there is none to be taken
            (group / "memory.memsw.limit_in_bytes").write_text(str(LIMIT_BYTES))
        return group
    second = next((path for _, controllers, path in lines if not controllers), "/")
    group = make(Path(f"/sys/fs/cgroup{second}") / name, "memory.max")
    with suppress(OSError):
        (group / "memory.swap.max").write_text("0")
    return group


def make(group: Path, limit: str) -> Path:
    group.mkdir()
    try:
        (group / limit).write_text(str(LIMIT_BYTES))
    except OSError:
        group.rmdir()
        raise
    return group


@pytest.mark.parametrize("name", CASES)
def test_out_of_memory_is_told_as_such(project: Project, limited: Callable[..., Result], name: str) -> None:
    script, reason = CASES[name]
    project.suite(greedy=shell(script, stop=1000), last=shell(PRINTER))
    done = limited("run", "--config", "suite.yaml")
    found = project.report()
    assert found["last"]["outcomes"] == {"early_stop": 1}
    if reason is None:
        assert (done.code, found["greedy"]["outcomes"]) == (0, {"ok": 1})
        return
    assert done.code == 1, done.err
    outcome = project.run().outcomes()["greedy"]
    assert (outcome.kind, outcome.reason) == ("killed", reason)
    assert "FAIL greedy (killed" in done.err
    assert found["greedy"]["failures"] == [{"tag": "greedy", "outcome": "killed", "reason": reason, "node": "local"}]
    assert (found["greedy"]["steps"]["measured"], found["greedy"]["score"]) == (4, 0)
    assert project.processes() == []
    assert_whole(project)
