"""The folder on a node's own disk where processes write until the runner, on another machine, has it all."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

# Of these many nodes see the same files: what all of them write there at once is slow, and locks mean little.
NETWORK: Final = (
    *("nfs", "nfs4", "lustre", "gpfs", "beegfs", "cifs", "smb3", "ceph", "fuse.ceph", "fuse.sshfs", "9p", "wekafs"),
)
_BORN_S: Final = 60.0  # so old is one that nobody has locked, where nobody is about to
_LEAST_BYTES: Final = 1 << 20
_LAST_BYTES: Final = 1 << 20  # of a file that are not given back: its last words are looked for here
_BLOCK_BYTES: Final = 1 << 16  # no file system has larger ones
_PUNCH_AND_KEEP_SIZE: Final = 0x02 | 0x01
_libc = ctypes.CDLL(None, use_errno=True)
_fallocate = getattr(_libc, "fallocate64", None) or _libc.fallocate  # the first takes 64 bits everywhere
_fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]


class Spool:
    """One folder of one agent, which removes those of agents that are gone; ``environ`` is the node's."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._folder: str | None = None
        self._lock = -1

    @property
    def folder(self) -> str:
        """The folder, made when it is first asked for. Raises OSError."""
        if self._folder is None:
            self._make()
        assert self._folder is not None
        return self._folder

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
            found = os.statvfs(self._folder or "/")
            return self._folder is not None and found.f_bavail * found.f_frsize < _LEAST_BYTES
        return False

    def close(self) -> None:
        """Remove it with all that is in it."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            os.close(self._lock)
            self._folder = None

    def _make(self) -> None:
        """Make it where there is a disk of this node's own."""
        import tempfile

        problem: OSError | None = None
        prefix = f"milabench-spool-{os.getuid()}-"
        for parent in self._own():
            try:
                folder = tempfile.mkdtemp(prefix=prefix, dir=parent)  # nobody else can look into it
            except OSError as error:
                problem = error
                continue
            try:
                self._lock = _locked(folder)
            except OSError as error:  # no locks on this disk
                problem = error
                os.rmdir(folder)  # noqa: PTH106
                continue
            self._folder = folder
            _remove_old(parent, prefix)
            return
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
        return bool(_fallocate(descriptor, _PUNCH_AND_KEEP_SIZE, 0, _room_of(size)) == 0)
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


def _locked(folder: str) -> int:
    """Lock a folder for as long as this process lives. Raises OSError, BlockingIOError where another has it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _remove_old(parent: str, prefix: str) -> None:
    """Remove what agents of this user left there that were killed."""
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
