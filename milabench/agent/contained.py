"""A process of this node in a container: what of its start request becomes the container's, and what ends it."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from milabench.agent import container as containers
from milabench.agent.abandoned import mark
from milabench.agent.container import Container, Inside
from milabench.agent.ender import Begin, Ender
from milabench.agent.spawn import metrics

_LAST = 4096  # bytes at the end of a log that its program's last words are looked for in
_LIMITS = ("nofile", "memlock", "stack")
_KILLED = 137  # the exit code of a container whose process was killed by SIGKILL


class Contained:
    """The container of one process; ``argv`` and ``env`` are what starts it. Raises OSError where it has no place.

    ``gone``: it has been removed, or that could not be. ``begin`` starts a process of the agent's own.
    """

    def __init__(
        self, request: Mapping[str, Any], environ: Mapping[str, str], nofile: tuple[int, int], begin: Begin
    ) -> None:
        container = read(request["container"])
        there = tuple(path for path in container.folders if Path(path).exists())  # of a definition that travelled
        self._container = container = replace(container, folders=there)
        self._log = request["stderr"]
        folder = str(Path(request["stdout"]).parent)
        name = containers.named(folder, request.get("tag", ""), request["argv"])
        env = {"VOIRFILE": "", **request["env"], **metrics(request)}
        agent = mark(os.getpid())
        asked = Inside(argv=request["argv"], cwd=request["cwd"], env=env, name=name, agent=agent, folders=(folder,))
        Path(folder).mkdir(parents=True, exist_ok=True)
        self.argv, self.env = begun(container, asked, environ, nofile)
        self.remedy = containers.ended(container, name)
        self._ender = Ender(name, self.remedy, environ, log=self._log, begin=begin) if self.remedy else None
        self.by_name = self._ender is not None  # else it is a tree of processes as any other
        self.gone = not self.by_name
        self._ending = False

    def end(self, removed: Callable[[], object]) -> None:
        """Begin to end it with all that is in it, once; ``removed`` is called when that is over."""
        if self._ending or self._ender is None:
            return
        self._ending = True

        def over() -> None:
            self.gone = True
            removed()

        self._ender.ask(over)

    @property
    def left(self) -> bool:
        """Whether it is there still, although it was to be ended."""
        return self._ender is not None and (self._ender.left or not self.gone)

    def explained(self, code: int | None) -> str | None:
        """Return why it could not be started; None where its exit code is that of the process in it."""
        with suppress(OSError), open(self._log, "rb") as file:  # noqa: PTH123
            file.seek(max(os.fstat(file.fileno()).st_size - _LAST, 0))
            return containers.explained(self._container, code, file.read().decode(errors="replace").splitlines())
        return None

    def was_killed(self, code: int) -> bool:
        """Say whether its process was killed by SIGKILL, by the exit code of its program."""
        return self.by_name and code == _KILLED


def begun(
    container: Container, asked: Inside, environ: Mapping[str, str], nofile: tuple[int, int]
) -> tuple[list[str], dict[str, str]]:
    """Return the argv and the environment of what starts a container on this node; ``environ`` is the node's.

    ``nofile`` are the limits of open files. Raises OSError where the home folder of its processes cannot be made.
    """
    env = containers.said(environ, asked.env, container.base)
    files = [path for path in containers.files_of(env) if Path(path).exists()]
    Path(containers.home(container.base)).mkdir(parents=True, exist_ok=True)
    inside = replace(
        asked,
        env=env,
        folders=(*asked.folders, *files),
        user=f"{os.geteuid()}:{os.getegid()}",
        userns="keep-id" if os.geteuid() else "host",
        limits=_limits(nofile),
    )
    return containers.started(container, inside, _group), containers.environ(container, inside, environ)


def read(given: Mapping[str, Any]) -> Container:
    """Return a container as a request has it."""
    found = Container(**given)
    return replace(found, args=tuple(found.args), folders=tuple(found.folders))


def _limits(nofile: tuple[int, int]) -> dict[str, tuple[int, int]]:
    """Return the limits of processes on this node, by ulimit's names; ``nofile`` as it was before the agent raised it.

    A container's program would have others. No more processes than the kernel numbers can be granted everywhere.
    """
    found = {name: resource.getrlimit(getattr(resource, f"RLIMIT_{name.upper()}")) for name in _LIMITS}
    with suppress(OSError, ValueError), open("/proc/sys/kernel/pid_max") as file:  # noqa: PTH123
        most = int(file.read())
        soft, hard = resource.getrlimit(resource.RLIMIT_NPROC)
        found["nproc"] = (soft if 0 <= soft < most else most, hard if 0 <= hard < most else most)
    return {**found, "nofile": nofile}


def _group(path: str) -> int | None:
    try:
        return os.stat(path).st_gid  # noqa: PTH116
    except OSError:
        return None
