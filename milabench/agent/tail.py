"""Follow files that others append to: the kernel (inotify) says when there is more, so that nothing is polled."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Callable
from contextlib import suppress

from benchmate.wire import Lines

_IN_MODIFY = 0x2
_OVERFLOW = -1  # instead of a watch: more had changed than the kernel keeps
_EVENT = struct.Struct("iIII")  # watch, mask, cookie, length of the name that follows
_CHUNK = 1 << 16


class Watcher:
    """Tell when files are written to: ``descriptor`` is readable then. Without inotify it tells nothing."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.descriptor: int = self._libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        self._changed: dict[int, Callable[[], None]] = {}

    def add(self, path: str, changed: Callable[[], None]) -> int | None:
        """Call ``changed`` from now on when the file has been written to; return the watch's number."""
        watch: int = self._libc.inotify_add_watch(self.descriptor, os.fsencode(path), _IN_MODIFY)
        if watch < 0:
            return None
        self._changed[watch] = changed
        return watch

    def remove(self, watch: int | None) -> None:
        if watch is not None and self._changed.pop(watch, None) is not None:
            self._libc.inotify_rm_watch(self.descriptor, watch)

    def notify(self) -> None:
        """Call what waits for the files that have changed, once each: all of them where the kernel has lost count."""
        seen: dict[int, None] = {}
        with suppress(BlockingIOError):
            content, offset = os.read(self.descriptor, _CHUNK), 0
            while offset + _EVENT.size <= len(content):
                watch, _, _, length = _EVENT.unpack_from(content, offset)
                seen[watch] = None
                offset += _EVENT.size + length
        for watch in list(self._changed) if _OVERFLOW in seen else seen:
            if watch in self._changed:
                self._changed[watch]()


class Tail:
    """The lines of a file that come after what has been read; a line without its end waits for the rest."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._offset = os.path.getsize(path) if os.path.exists(path) else 0  # noqa: PTH110, PTH202
        self._lines = Lines()
        self.behind = False

    def lines(self) -> list[bytes]:
        """Return the next lines, of one chunk at most: ``behind`` says whether there may be more now."""
        with open(self._path, "rb", buffering=0) as file:  # noqa: PTH123 - read in binary, as it grows
            file.seek(self._offset)
            chunk = file.read(_CHUNK)
        self._offset += len(chunk)
        self.behind = len(chunk) == _CHUNK
        return self._lines.feed(chunk)
