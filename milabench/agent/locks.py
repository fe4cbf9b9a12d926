"""Files and folders that a process locks for as long as it lives; what is left of those that were killed goes."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import Final

from milabench.agent.greeting import node

_END: Final = ".lock"
_MOST_BYTES: Final = 200  # of what a file says of who has it
_BORN_S: Final = 60.0  # so old is what nobody has locked, where nobody is about to


class Holds:
    """The files that an agent locks for as long as it lives; ``own`` returns a folder of its user's.

    ``mark`` is what its files there have in their names: that of its machine, where several may see the folder.
    """

    def __init__(self, own: Callable[[], Path], mark: str = "") -> None:
        self._own, self._end = own, f"{mark}{_END}"
        self._held: dict[str, int] = {}
        self._places: list[str] = []  # in the user's folder

    @property
    def descriptors(self) -> Collection[int]:
        """Those of the files that are held, whenever it is looked at: who inherits them holds the files on."""
        return self._held.values()

    def hold(self, path: str) -> bool:
        """Lock a file, in the folder of this user's if its path is not absolute; return False where another has it.

        Raises OSError.
        """
        if path in self._held:
            return True
        place = path if Path(path).is_absolute() else self._place(path)
        descriptor = take(place)
        if descriptor is None:
            return False
        with suppress(OSError):  # a full disk: it is held all the same
            os.truncate(descriptor, 0)
            os.pwrite(descriptor, f"process {os.getpid()} of {node()}\n".encode(), 0)
        self._held[path] = descriptor
        self._places += [] if place == path else [place]
        return True

    def holder(self, path: str) -> dict[str, str]:
        """Return which file another has, ``path``, and what it says of who that is, ``by``."""
        place, said = path if Path(path).is_absolute() else self._place(path), b""
        with suppress(OSError), open(place, "rb") as file:  # noqa: PTH123
            said = file.read(_MOST_BYTES)
        return {"path": place, "by": said.decode(errors="replace").strip()}

    def close(self) -> None:
        """Let go of all, and leave nothing in the user's folder; in that of a run its lock stays with it."""
        for descriptor in self._held.values():
            os.close(descriptor)
        self._held.clear()
        for place in self._places:
            with suppress(OSError):
                _remove_free(place)

    def _place(self, name: str) -> str:
        """Return where a file lies in the user's folder, from which the locks of agents go that were killed."""
        folder = self._own()
        for path in folder.glob(f"*{self._end}"):
            with suppress(OSError):
                if time.time() - path.lstat().st_mtime >= _BORN_S:
                    _remove_free(str(path))
        return str(folder / f"{name.removesuffix(_END)}{self._end}")


def take(path: str) -> int | None:
    """Lock a file, made where there is none, and return its descriptor; None: another has it. Raises OSError."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_still(path, descriptor):
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError:
            os.close(descriptor)
            raise
        os.close(descriptor)  # who had it has removed it since it was opened


class Scratch:
    """A folder of this process alone, which others of this user remove when the process was killed."""

    def __init__(self, parent: str, name: str) -> None:
        """Make ``<parent>/milabench-<name>-<user>-…``, which nobody else can look into. Raises OSError."""
        prefix = f"milabench-{name}-{os.getuid()}-"
        self.path = tempfile.mkdtemp(prefix=prefix, dir=parent)
        try:
            self._lock = _locked(self.path)
        except OSError as error:  # no locks on this disk
            os.rmdir(self.path)  # noqa: PTH106
            raise OSError(error.errno, error.strerror, parent) from None
        _remove_old(parent, prefix)

    def close(self) -> None:
        """Remove it with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def _is_still(path: str, descriptor: int) -> bool:
    """Say whether a file that was opened by a path is what the path leads to."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.stat(path), os.fstat(descriptor))  # noqa: PTH116
    return False


def _remove_free(path: str) -> None:
    """Remove a lock that nobody has: who has opened it meanwhile takes another in its place. Raises OSError."""
    descriptor = take(path)
    if descriptor is not None:
        os.unlink(path)  # noqa: PTH108
        os.close(descriptor)


def _locked(folder: str) -> int:
    """Lock a folder. Raises OSError, BlockingIOError where another has it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _remove_old(parent: str, prefix: str) -> None:
    """Remove what processes of this user left there that were killed."""
    for path in Path(parent).glob(f"{prefix}*"):
        with suppress(OSError):
            found = path.lstat()
            if found.st_uid != os.getuid() or time.time() - found.st_mtime < _BORN_S:
                continue
            descriptor = _locked(str(path))
            try:
                shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(descriptor)
