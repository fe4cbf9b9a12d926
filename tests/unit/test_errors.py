"""What errors of the operating system are told as."""

from __future__ import annotations

import errno
import os

import pytest

from milabench.errors import told


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOENT, os.strerror(errno.ENOENT), "/a/b"), "No such file or directory: /a/b"),
        (OSError(errno.EIO, os.strerror(errno.EIO)), "Input/output error"),
        (OSError("of a library's own"), "of a library's own"),
        (
            OSError(errno.EMFILE, os.strerror(errno.EMFILE)),
            "Too many open files: too many are open for one process: raise `ulimit -n`",
        ),
        (
            RuntimeError("can't start new thread"),
            "can't start new thread: too many processes or threads: raise `ulimit -u`, or the cgroup's pids.max",
        ),
    ],
)
def test_an_error_is_told_with_its_file_and_what_to_do(error: OSError | RuntimeError, message: str) -> None:
    assert told(error) == message
