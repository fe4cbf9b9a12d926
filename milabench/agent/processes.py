"""The tree of processes: who is below whom, and who outlived a parent.

The agent is a subreaper (Linux ``prctl``) and so is each process that it starts. What outlives its parent becomes a
child of the process that the agent started, as long as that lives, and then of the agent: whatever a process did to
leave (a daemon, a session of its own, no variables), it is found below the one that it came from, and a child of the
agent that the agent did not start is what a dead one left behind.
"""

from __future__ import annotations

import ctypes
import functools
import os
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_prctl = ctypes.CDLL(None, use_errno=True).prctl
_prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]


def become_subreaper() -> None:
    """Make orphaned descendants children of this process; that stays so over ``exec``, and is not inherited."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_with_parent() -> None:
    """Let the kernel end this process when the thread that started it is gone, killed too."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def children(pid: int) -> list[int]:
    """Return the children of a process, also those that are dead and not waited for; none where it is gone itself.

    Those of this process are complete: its list grows only, while it waits for none of them. Of another process that
    forks meanwhile one may be missed.
    """
    if not _are_listed():
        return [each for each, parent in _parents().items() if parent == pid]
    found: list[int] = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 - hundreds of processes are looked at at once
            with suppress(OSError), open(f"/proc/{pid}/task/{task}/children") as file:  # noqa: PTH123
                found.extend(map(int, file.read().split()))
    except OSError:
        return []
    return found


@functools.cache
def _are_listed() -> bool:
    return os.path.exists(f"/proc/self/task/{os.getpid()}/children")  # noqa: PTH110 - a kernel may be built without


def stat(pid: int) -> list[str]:
    """Return the fields of a process's line in /proc from its state on, none where it is gone.

    The name before may hold anything: blanks, parentheses, bytes that are no text.
    """
    with suppress(OSError), open(f"/proc/{pid}/stat", errors="replace") as file:  # noqa: PTH123
        return file.read().rpartition(")")[2].split()
    return []


def _parents() -> dict[int, int]:
    """Return the parent of every process."""
    lines = {int(name): stat(int(name)) for name in filter(str.isdigit, os.listdir("/proc"))}  # noqa: PTH208
    return {pid: int(fields[1]) for pid, fields in lines.items() if fields}


def _nobody(_: int) -> bool:
    return False


def below(roots: Iterable[int], spared: Callable[[int], bool] = _nobody) -> list[int]:
    """Return these processes and all their descendants, parents first, but for those ``spared`` and all below them."""
    found = dict.fromkeys(pid for pid in roots if not spared(pid))
    queue = list(found)
    for pid in queue:  # grows as it goes
        new = [child for child in children(pid) if child not in found and not spared(child)]
        found.update(dict.fromkeys(new))
        queue.extend(new)
    return queue


def descendants(root: int) -> list[int]:
    """Return all processes below one."""
    return below([root])[1:]


def kill(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):  # another user's (sudo): seen, and said, at the end
            os.kill(pid, number)


def end_all(timeout_s: float, kept: Callable[[int], bool], spared: Callable[[int], bool] = _nobody) -> None:
    """Kill and reap all descendants of this process, again until none is left or the time is over.

    ``kept``: its children that are left alone, with all that is below them; ``spared``: those that end by themselves.
    """
    end = time.monotonic() + timeout_s
    while (mine := [pid for pid in children(os.getpid()) if not kept(pid)]) and time.monotonic() < end:
        kill(below(mine, spared), signal.SIGKILL)
        for pid in mine:
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        time.sleep(0.01)
