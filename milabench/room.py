"""Room on the disk of a run: whether there is any, and some that is kept for what must be said when there is none."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from milabench.errors import DiskFull

T = TypeVar("T")
_LEAST_BYTES = 1 << 20  # with less than this nothing is begun
_KEPT_BYTES = 1 << 17  # for a few ends, lines of the journal and the facts


def is_full(error: OSError) -> bool:
    """Say whether something could not be written because the disk is full, or the user's share of it."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def is_short(folder: Path) -> bool:
    """Say whether a user can hardly write anything more there."""
    return shutil.disk_usage(folder).free < _LEAST_BYTES


class Room:
    """The room that is left for a run in ``folder``; some of it is kept by the file ``kept`` until it is needed.

    ``going_on`` returns what goes on with the run once there is room, nothing where it has not begun.
    """

    def __init__(self, folder: Path, *, kept: Path, going_on: Callable[[], str]) -> None:
        self._folder, self._kept, self._going_on = folder, kept, going_on
        self._taken = False

    def keep(self, facts_bytes: int) -> None:
        """Keep room for the facts, of this size, and what else is written at an end. Raises OSError on a full disk."""
        with self._kept.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, _KEPT_BYTES + 2 * facts_bytes)

    def drop(self) -> None:
        """Keep no room any more."""
        self._kept.unlink(missing_ok=True)

    def is_short(self) -> bool:
        """Say whether a user can hardly write anything more there."""
        return is_short(self._folder)

    def require(self) -> None:
        """Raise DiskFull where nothing more should be begun."""
        if self._taken or self.is_short():
            raise self._full()

    @contextmanager
    def needed(self) -> Iterator[None]:
        """Raise DiskFull where something finds no room."""
        try:
            yield
        except OSError as error:
            raise self._full() if is_full(error) else error from None

    def surely(self, write: Callable[[], T]) -> T:
        """Write what a run cannot do without: on a full disk, in the room that was kept. Raises DiskFull."""
        try:
            return write()
        except OSError as error:
            if not is_full(error):
                raise
        self._taken = True
        self.drop()
        with self.needed():
            return write()

    def _full(self) -> DiskFull:
        free = f"{shutil.disk_usage(self._folder).free / 1024:.0f} KiB free"
        how = self._going_on()
        again = f"then {how}" if how else "and type the same again"
        return DiskFull(f"no room is left on the disk of {self._folder} ({free}): make room there, {again}")
