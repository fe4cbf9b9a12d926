"""Hold the world still while a benchfile is asked: no process, socket or write, no lasting change of the environment.

It guards against accidents. It is no sandbox: a benchfile is code you trust.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_REFUSED = {
    "subprocess.Popen": "start a process",
    "os.system": "start a process",
    "os.exec": "start a process",
    "os.posix_spawn": "start a process",
    "os.fork": "start a process",
    "os.forkpty": "start a process",
    "socket.connect": "use the network",
    "socket.bind": "use the network",
    "socket.getaddrinfo": "use the network",
    "os.mkdir": "make a folder",
    "os.rename": "rename a file",
    "os.remove": "remove a file",
    "os.rmdir": "remove a folder",
    "os.link": "make a link",
    "os.symlink": "make a link",
    "os.truncate": "write a file",
    "os.chmod": "change a file",
    "os.chown": "change a file",
    "shutil.rmtree": "remove a folder",
}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC
_armed: ContextVar[bool] = ContextVar("milabench_guard_armed", default=False)


class Refused(RuntimeError):
    """A benchfile tried to change something while the plan was made; the message says what."""


@contextmanager
def guarded(environ: dict[str, str]) -> Iterator[dict[str, str]]:
    """Run a block with ``os.environ`` replaced by ``environ`` and everything that changes the machine refused."""
    _install_hook()
    real_environ, real_bytecode = os.environ, sys.dont_write_bytecode
    os.environ = environ  # type: ignore[assignment]  # noqa: B003 - the point is to replace what benchfiles read
    sys.dont_write_bytecode = True
    token = _armed.set(True)
    try:
        yield environ
    finally:
        _armed.reset(token)
        os.environ, sys.dont_write_bytecode = real_environ, real_bytecode


@functools.cache
def _install_hook() -> None:
    """Add the audit hook, once in a process: it cannot be removed, only be idle."""
    sys.addaudithook(_audit)


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if not _armed.get():
        return
    if event in _REFUSED:
        raise Refused(_REFUSED[event])
    if event == "open" and isinstance(args[2], int) and args[2] & _WRITING:
        raise Refused(f"write {args[0]}")
