"""A file that others append to, read piece by piece: what is not there yet is no error, and neither is what is gone."""

from __future__ import annotations

import os
from pathlib import Path

_KNOWN = 1024  # bytes before the place reached, by which the same content in another file is known


class Growing:
    """The bytes of a file in the order they come; ``restarts`` counts how often they began anew.

    A file put in place of the one that was read (by ``seal``) goes on where that one was left, if it begins with the
    same bytes; one with other content (of a further attempt), or one cut short, is read from its beginning.
    """

    __slots__ = ("_before", "_identity", "_path", "offset", "restarts")

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._identity: tuple[int, int] | None = None
        self._before = b""
        self.offset = self.restarts = 0

    def read(self, most: int) -> bytes:
        """Return what comes next, at most so many bytes; nothing where there is no more so far."""
        try:
            found = os.stat(self._path)  # noqa: PTH116 - hundreds of files, twice a second
            if (found.st_dev, found.st_ino) == self._identity and found.st_size == self.offset:
                return b""
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:  # not there yet, or moved away: what has been read of it stays true
            return b""
        try:
            return self._next(descriptor, most)
        except OSError:
            return b""
        finally:
            os.close(descriptor)

    def _next(self, descriptor: int, most: int) -> bytes:
        found = os.fstat(descriptor)
        identity = (found.st_dev, found.st_ino)
        if identity != self._identity or found.st_size < self.offset:
            if self._identity is not None and not self._goes_on(descriptor):
                self.offset, self._before = 0, b""
                self.restarts += 1
            self._identity = identity
        chunk = os.pread(descriptor, most, self.offset)
        self.offset += len(chunk)
        self._before = chunk[-_KNOWN:] if len(chunk) >= _KNOWN else (self._before + chunk)[-_KNOWN:]
        return chunk

    def _goes_on(self, descriptor: int) -> bool:
        """Say whether a file holds, before the place reached, what was read there; event lines have their time."""
        known = len(self._before)
        return os.pread(descriptor, known, self.offset - known) == self._before
