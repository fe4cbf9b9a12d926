"""Standard output and error that nobody may read any more: a closed terminal, a reader that ended, a full disk."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

_NOBODY = (errno.EPIPE, errno.EIO)  # the reader of a pipe has ended; a terminal was closed


def reopen_closed() -> None:
    """Open what was closed of standard input, output and error when milabench was started.

    Else the next file that is opened would take its place. A log that nobody wants goes nowhere; a result that cannot
    be written is told as such.
    """
    for descriptor, mode in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, mode)  # takes the lowest number that is free: this one
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: PTH123, SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: PTH123, SIM115


class _Stream(io.TextIOWrapper):
    """A standard stream that shows ``?`` for what its encoding lacks."""

    def __init__(self, stream: io.TextIOWrapper) -> None:
        super().__init__(
            stream.buffer,
            encoding=stream.encoding,
            errors="replace",
            line_buffering=stream.line_buffering,
            write_through=stream.write_through,
        )
        self._stream = stream  # which would close the buffer with itself

    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except OSError as error:
            self._failed(error)
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            self._failed(error)

    def _failed(self, error: OSError) -> None:
        raise NotImplementedError


class Output(_Stream):
    """Standard output: what goes wrong with it names it."""

    def _failed(self, error: OSError) -> None:
        abandon(self)
        raise OSError(error.errno, error.strerror, "standard output") from None


class Log(_Stream):
    """Standard error, writing to which never fails: what cannot be written is let go.

    ``unread`` is called, once, when the reader of a pipe has ended, from the thread that writes. A closed terminal
    tells by SIGHUP, which may be ignored, and a full disk is no reason to stop.
    """

    unread: Callable[[], None] | None = None

    def _failed(self, error: OSError) -> None:
        if is_nobodys(error):
            abandon(self)
        unread, self.unread = self.unread, None
        if unread is not None and error.errno == errno.EPIPE:
            unread()


def is_nobodys(error: OSError) -> bool:
    """Say whether writing failed because nobody is there to read."""
    return error.errno in _NOBODY


@contextmanager
def unless_unread() -> Iterator[None]:
    """Leave off printing when nobody reads."""
    try:
        yield
    except OSError as error:
        if not is_nobodys(error):
            raise


def abandon(stream: TextIO) -> None:
    """Let all that is and will be written to a stream go, or Python would complain at its end."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, stream.fileno())
    os.close(nothing)
