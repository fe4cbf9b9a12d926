"""Find and end what belongs to a process: its session, its descendants, and those that made themselves daemons.

The agent is a subreaper, so whatever outlives its parent becomes a child of the agent and is found from there.
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
TOKEN = "MILABENCH_PROCESS"  # noqa: S105 - the name of a variable that marks a process and its descendants


def become_subreaper() -> None:
    """Make orphaned descendants children of this process (Linux ``prctl``)."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def members(leader: int, token: str, *, root: int, alone: bool) -> list[int]:
    """Return the living processes below ``root`` that belong to a leader: its tree, session or token; no zombies.

    ``alone``: nothing else runs, so that all below the root belong to it, those that left every trace behind too.
    """
    parents = _below(root)
    if alone:
        return [pid for pid in parents if _state(pid) not in ("Z", "X", "")]
    found: list[int] = []
    for pid, parent in parents.items():
        if pid == leader or parent in found or _session(pid) == leader or _has_token(pid, token):
            found.append(pid)
    return [pid for pid in found if _state(pid) not in ("Z", "X", "")]


def descendants(root: int) -> list[int]:
    """Return all processes below one."""
    return list(_below(root))


def kill(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):  # another user's (sudo): seen, and said, at the end
            os.kill(pid, number)


def _below(root: int) -> dict[int, int]:
    """Return {pid: parent} of all descendants, parents first."""
    found: dict[int, int] = {}
    queue = [root]
    while queue:
        parent = queue.pop(0)
        for child in _children(parent):
            if child not in found:
                found[child] = parent
                queue.append(child)
    return found


def _children(pid: int) -> list[int]:
    children: list[int] = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):
                children.extend(map(int, (task / "children").read_text().split()))
    except OSError:
        return []
    return children


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/<pid>/stat from the state on; the name before may hold blanks and parentheses."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _state(pid: int) -> str:
    fields = _stat(pid)
    return fields[0] if fields else ""


def _session(pid: int) -> int | None:
    fields = _stat(pid)
    return int(fields[3]) if fields else None


def _has_token(pid: int, token: str) -> bool:
    try:
        return f"{TOKEN}={token}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False


def oom_kills() -> int:
    """Return how many processes the kernel has killed in this cgroup for want of memory; 0 where it does not say."""
    for path in _oom_files():
        with suppress(OSError):
            for line in path.read_text().splitlines():
                name, _, value = line.partition(" ")
                if name == "oom_kill":
                    return int(value)
    return 0


def _oom_files() -> list[Path]:
    """Return where this process's cgroup counts them: version 2, then version 1, then as seen inside a container."""
    found: list[Path] = []
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                found.append(Path(f"/sys/fs/cgroup{path}/memory.events"))
            elif "memory" in controllers.split(","):
                found.append(Path(f"/sys/fs/cgroup/memory{path}/memory.oom_control"))
    return [*found, Path("/sys/fs/cgroup/memory.events"), Path("/sys/fs/cgroup/memory/memory.oom_control")]
