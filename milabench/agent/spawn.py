"""Start a process by its request: its files and descriptors, its limits, its place in the tree."""

from __future__ import annotations

import functools
import os
import resource
import subprocess
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from milabench.agent import processes

if TYPE_CHECKING:
    from milabench.agent.contained import Contained

_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC


@dataclass(frozen=True, slots=True, kw_only=True)
class Spawned:
    """A started process; where its metrics are what it prints, that comes from ``pipe`` and is kept in ``text``."""

    pid: int
    pipe: int | None = None
    text: int | None = None


def spawn(request: dict[str, Any], environ: dict[str, str], contained: Contained | None = None) -> Spawned:
    """Start a process, or what starts its container, in a session of its own.

    Raises OSError when its files or the process cannot be had. A container gets no descriptors.
    """
    # voir's own command, without this, loads every voirfile of the working directory and of all above it
    env = contained.env if contained else {"VOIRFILE": "", **environ, **request["env"], **metrics(request)}
    printed = request["metrics"] == "stdout"
    with ExitStack() as opened, ExitStack() as kept:
        text = _open(request["stdout"], kept if printed else opened)
        errors = _open(request["stderr"], opened)
        data: tuple[int, ...] = ()
        if request.get("events") and contained is None:
            data = (data_descriptor(),)
            env["DATA_FD"] = str(data[0])
            os.dup2(_open(request["events"], opened), data[0])
            opened.callback(os.dup2, _nothing(), data[0])  # the agent itself keeps no event file open
        pipe, writing = None, text
        if printed:
            pipe, writing = os.pipe()
            kept.callback(os.close, pipe)
            opened.callback(os.close, writing)
        process = subprocess.Popen(
            contained.argv if contained else request["argv"],
            cwd=request["cwd"],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=writing,
            stderr=errors,
            pass_fds=data,
            start_new_session=True,
            preexec_fn=functools.partial(_prepare, many_descriptors()),  # noqa: PLW1509 - the agent has one thread
        )
        kept.pop_all()
    process.returncode = 0  # the agent reaps by itself; Popen must not try
    if pipe is None:
        return Spawned(pid=process.pid)
    os.set_blocking(pipe, False)
    return Spawned(pid=process.pid, pipe=pipe, text=text)


def metrics(request: Mapping[str, Any]) -> dict[str, str]:
    """Return the variables that say where metrics go: of rank 0 into these files, of others beside them."""
    if request.get("events"):
        seq = {"MILABENCH_SEQ": str(request["seq"])}
        return {"MILABENCH_EVENTS": request["events"], "MILABENCH_STEPS": request["steps"], **seq}
    if request.get("group_events"):
        return {"MILABENCH_EVENTS": request["group_events"], "MILABENCH_STEPS": request["group_steps"]}
    return {}


def _prepare(limits: tuple[int, int]) -> None:
    """Set up the new process, in it, before it becomes the program."""
    processes.become_subreaper()
    processes.end_with_parent()
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def _open(path: str, closing: ExitStack) -> int:
    descriptor = os.open(path, _APPEND, 0o644)
    closing.callback(os.close, descriptor)
    return descriptor


@functools.cache
def many_descriptors() -> tuple[int, int]:
    """Raise the number of files this process may open to the most it may have; return the limits as they were.

    A printing process takes four descriptors here. The processes get the limits as they were: there is software that
    counts on a low one (it closes, or waits by ``select`` on, all numbers below).
    """
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))
    return limits


@functools.cache
def data_descriptor() -> int:
    """Return the descriptor that every process finds its event file at, reserved when this is first called.

    That is as the agent starts, so that it has one digit: a POSIX shell redirects to no other.
    """
    return os.open(os.devnull, os.O_WRONLY)


@functools.cache
def _nothing() -> int:
    return os.open(os.devnull, os.O_WRONLY)
