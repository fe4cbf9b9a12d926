"""Standard streams that nobody reads, and that find a full disk."""

from __future__ import annotations

import errno
import io
import os

import pytest

from milabench.streams import Log, Output, abandon, unless_unread


def stream(descriptor: int) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BufferedWriter(io.FileIO(descriptor, "w")), encoding="utf-8", line_buffering=True)


def unread() -> io.TextIOWrapper:
    """Return a stream into a pipe whose reader has gone."""
    reading, writing = os.pipe()
    os.close(reading)
    return stream(writing)


def test_writing_a_log_that_nobody_reads_says_so_once_and_never_fails() -> None:
    calls: list[int] = []
    log = Log(unread())
    log.unread = lambda: calls.append(1)
    for _ in range(3):
        print("said", file=log, flush=True)
    assert calls == [1]


def test_a_log_on_a_full_disk_is_no_reason_to_stop() -> None:
    log = Log(stream(os.open("/dev/full", os.O_WRONLY)))
    log.unread = lambda: pytest.fail("a full disk is not a reader that has gone")
    print("said", file=log, flush=True)
    abandon(log)


def test_what_goes_wrong_with_standard_output_names_it_and_then_is_let_go() -> None:
    output = Output(unread())
    with pytest.raises(BrokenPipeError) as raised:
        print("said", file=output, flush=True)
    assert (raised.value.errno, raised.value.filename) == (errno.EPIPE, "standard output")
    output.flush()


@pytest.mark.parametrize("number", [errno.EPIPE, errno.EIO])
def test_a_report_that_nobody_reads_is_left_off(number: int) -> None:
    with unless_unread():
        raise OSError(number, os.strerror(number))


def test_a_report_that_finds_a_full_disk_is_not() -> None:
    with pytest.raises(OSError, match="No space left"), unless_unread():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
