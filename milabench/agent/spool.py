"""The folder on a node's own disk where processes write until the runner, on another machine, has it all."""

from __future__ import annotations

import errno
import functools
import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from milabench.agent.locks import Scratch

# Of these many nodes see the same files: what all of them write there at once is slow, and locks mean little.
NETWORK: Final = (
    *("nfs", "nfs4", "lustre", "gpfs", "beegfs", "cifs", "smb3", "ceph", "fuse.ceph", "fuse.sshfs", "9p", "wekafs"),
)
_LEAST_BYTES: Final = 1 << 20
_LAST_BYTES: Final = 1 << 20  # of a file that are not given back: its last words are looked for here
_BLOCK_BYTES: Final = 1 << 16  # no file system has larger ones
_PUNCH_AND_KEEP_SIZE: Final = 0x02 | 0x01


class Spool:
    """One folder of one agent, which removes those of agents that are gone; ``environ`` is the node's."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._scratch: Scratch | None = None

    @property
    def folder(self) -> str:
        """The folder, made when it is first asked for. Raises OSError."""
        if self._scratch is None:
            self._scratch = self._made()
        return self._scratch.path

    def place(self, path: str) -> str:
        """Return where here a process writes what is to be ``path`` of a run; makes the folder. Raises OSError."""
        run, name = os.path.split(path)
        mark = hashlib.sha256(os.fsencode(run)).hexdigest()[:8]
        folder = Path(self.folder, f"{Path(run).name}-{mark}")
        folder.mkdir(mode=0o700, exist_ok=True)
        return str(folder / name)

    def full(self) -> bool:
        """Say whether there is hardly any room left."""
        with suppress(OSError):
            if self._scratch is not None:
                found = os.statvfs(self._scratch.path)
                return found.f_bavail * found.f_frsize < _LEAST_BYTES
        return False

    def close(self) -> None:
        """Remove it with all that is in it."""
        if self._scratch is not None:
            self._scratch.close()
            self._scratch = None

    def _made(self) -> Scratch:
        """Make it where there is a disk of this node's own."""
        problem: OSError | None = None
        for parent in self._own():
            try:
                return Scratch(parent, "spool")
            except OSError as error:
                problem = error
        raise problem or OSError(0, "what processes write needs a disk of the node's own: set TMPDIR to a folder there")

    def _own(self) -> Iterator[str]:
        """Yield the folders on disks that are this node's own."""
        from milabench.agent.conditions import disk

        for parent in (self._environ.get("TMPDIR"), "/var/tmp", "/tmp"):  # noqa: S108 - what is made there is ours
            found = disk(Path(parent)) if parent and Path(parent).is_absolute() else None
            if parent and found is not None and found["writable"] and found["kind"] not in NETWORK:
                yield parent


def give_back(path: str, size: int, identity: tuple[int, int]) -> bool:
    """Give back the room of a file's first bytes, so many, and say whether that can be done; its size stays.

    Nothing is done to a file that has another name as well, or is not the one meant.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        found = os.fstat(descriptor)
        if (found.st_dev, found.st_ino) != identity or found.st_nlink != 1 or not _room_of(size):
            return False
        return bool(_fallocate()(descriptor, _PUNCH_AND_KEEP_SIZE, 0, _room_of(size)) == 0)
    finally:
        os.close(descriptor)


def is_written_over(path: str, size: int) -> bool:
    """Say whether something was written where the room was given back. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        return os.lseek(descriptor, 0, os.SEEK_DATA) < _room_of(size)
    except OSError as error:
        if error.errno == errno.ENXIO:  # there is nothing but room
            return False
        raise
    finally:
        os.close(descriptor)


def _room_of(size: int) -> int:
    return max(size - _LAST_BYTES, 0) // _BLOCK_BYTES * _BLOCK_BYTES


@functools.cache
def _fallocate() -> Any:
    """Return the C library's function, which Python has none for that makes holes."""
    import ctypes  # what only asks for names of this module opens no library

    libc = ctypes.CDLL(None, use_errno=True)
    function = getattr(libc, "fallocate64", None) or libc.fallocate  # the first takes 64 bits everywhere
    function.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    return function
