"""Follow files that others append to: the kernel (inotify) says when there is more, so that nothing is polled.

What is looked for in them is whether the leader of a group has measured enough.
"""

from __future__ import annotations

import ctypes
import os
import selectors
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from benchmate.wire import Lines, decode_event

LOOK_S = 1.0  # between two looks at a file for which the kernel has no watch left
REST_S = 0.05  # between two looks at what processes append to their event files

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
        self.path = path
        self._offset = os.path.getsize(path) if os.path.exists(path) else 0  # noqa: PTH110, PTH202
        self._lines = Lines()
        self.behind = False

    def lines(self) -> list[bytes]:
        """Return the next lines, of one chunk at most: ``behind`` says whether there may be more now."""
        with open(self.path, "rb", buffering=0) as file:  # noqa: PTH123 - read in binary, as it grows
            file.seek(self._offset)
            chunk = file.read(_CHUNK)
        self._offset += len(chunk)
        self.behind = len(chunk) == _CHUNK
        return self._lines.feed(chunk)


class Leaders:
    """Tell when the leader of a group has measured enough, which cannot end the others by itself.

    ``full`` is called with its number, once. ``wake_at`` (monotonic clock) says when ``look`` is to be called next.
    """

    def __init__(self, selector: selectors.BaseSelector, *, full: Callable[[int], object]) -> None:
        self._selector, self._full = selector, full
        self._watcher = Watcher()
        self._watches: dict[int, int | None] = {}
        self._unwatched: dict[int, Tail] = {}  # the kernel has no more watches for us: looked at once a second
        self._behind: dict[int, Tail] = {}  # of these more can be read at once
        self._look_at = 0.0
        self._watch_at: float | None = None
        if self._watcher.descriptor >= 0:
            self._watch()

    def follow(self, number: int, tail: Tail) -> None:
        """Read what a process adds to its event file."""
        watch = self._watches[number] = self._watcher.add(tail.path, lambda: self._read(number, tail))
        if watch is None:
            self._unwatched[number] = tail

    def unfollow(self, number: int) -> None:
        self._watcher.remove(self._watches.pop(number, None))
        self._unwatched.pop(number, None)
        self._behind.pop(number, None)

    def look(self) -> None:
        """Read on in the files of which more is known to be there, and where nobody says when there is."""
        for number, tail in list(self._behind.items()):
            self._read(number, tail)
        if self._watch_at is not None and time.monotonic() >= self._watch_at:
            self._watch_at = None
            self._watch()
        if self._unwatched and time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + LOOK_S
            for number, tail in list(self._unwatched.items()):
                self._read(number, tail)

    @property
    def wake_at(self) -> float | None:
        if self._behind:
            return 0.0
        look_at = self._look_at if self._unwatched else None
        return min((at for at in (look_at, self._watch_at) if at is not None), default=None)

    def _watch(self) -> None:
        self._selector.register(self._watcher.descriptor, selectors.EVENT_READ, self._read_changed)

    def _read_changed(self) -> None:
        """Read on in the files that have changed, then not for a moment: a writer of many lines is not disturbed."""
        self._watcher.notify()
        self._selector.unregister(self._watcher.descriptor)
        self._watch_at = time.monotonic() + REST_S

    def _read(self, number: int, tail: Tail) -> None:
        self._behind.pop(number, None)
        with suppress(OSError):  # the run's folder is gone
            for line in tail.lines():
                event = decode_event(line) if b'"stop"' in line else None
                if event is not None and event.event == "stop" and _ends_group(event.data):
                    self._full(number)
                    self.unfollow(number)  # it is told once
                    return
            if tail.behind:
                self._behind[number] = tail


def _ends_group(data: Any) -> bool:
    world_size = data.get("world_size", 1) if isinstance(data, dict) else 1
    return world_size is None or (isinstance(world_size, int) and world_size > 1)
