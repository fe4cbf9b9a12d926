"""A vendor's tool that goes on printing rows: started once, since each start of one costs more than a sample."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

from milabench.agent import processes
from milabench.agent.monitor.reader import Fragment, Missing

Row = dict[str, Any]
_AGAIN_S: Final = 10.0  # a tool that has ended is started again after so long
_MUTE_S: Final = 30.0
_LINE_BYTES: Final = 1 << 16  # a longer one is no row
_MOST_BYTES: Final = 1 << 20  # without a row between two samples: thousands of devices print less


class Stream:
    """What a tool printed last of each device; ``read`` makes a device of the words of a line, None of other lines."""

    def __init__(self, argv: Sequence[str], read: Callable[[list[str]], Row | None]) -> None:
        path = shutil.which(argv[0])
        if path is None:
            raise Missing(f"{argv[0]} is not there")
        self.by = " ".join(argv)
        self._argv, self._read_row = [path, *argv[1:]], read
        self._process: subprocess.Popen[bytes] | None = None
        self._kept, self._useless = b"", 0  # bytes since the last row
        self._started = self._heard = 0.0
        self._start()

    def read(self) -> Fragment:
        """Return the devices of which something was printed since. Raises Missing where it has ended or is mute."""
        if self._process is None:
            if time.monotonic() - self._started < _AGAIN_S:
                raise Missing(f"{self._argv[0]} has ended")
            self._start()
        rows = {row["id"]: row for line in self._lines() if (row := self._row(line)) is not None}
        if rows:
            self._heard, self._useless = time.monotonic(), 0
        elif time.monotonic() - self._heard > _MUTE_S:
            raise Missing(f"{self._argv[0]} says nothing of use")
        return {"devices": list(rows.values())} if rows else {}

    def _start(self) -> None:
        nothing = subprocess.DEVNULL
        self._started = self._heard = time.monotonic()
        self._kept, self._useless = b"", 0
        self._process = subprocess.Popen(
            self._argv,
            stdin=nothing,
            stdout=subprocess.PIPE,
            stderr=nothing,
            preexec_fn=processes.end_with_parent,  # noqa: PLW1509 - it holds no lock
        )
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)

    def _lines(self) -> list[bytes]:
        """Return the whole lines that are there to read."""
        process = self._process
        assert process is not None
        assert process.stdout is not None
        content = self._kept
        with suppress(BlockingIOError):
            while self._useless < _MOST_BYTES:
                chunk = os.read(process.stdout.fileno(), 1 << 16)
                if not chunk:
                    self._ended(process)
                    break
                content += chunk
                self._useless += len(chunk)
        if self._useless >= _MOST_BYTES:
            self._ended(process)
            raise Missing(f"{self._argv[0]} prints without end")
        *lines, rest = content.split(b"\n")
        self._kept = rest if len(rest) < _LINE_BYTES else b""
        return lines

    def _ended(self, process: subprocess.Popen[bytes]) -> None:
        """Let go of it; what has not ended by itself is ended."""
        assert process.stdout is not None
        process.stdout.close()
        process.kill()
        process.wait()
        self._process = None

    def _row(self, line: bytes) -> Row | None:
        """Return the device of a line; what a tool prints otherwise tells nothing."""
        text = line.decode(errors="replace")
        try:
            words = next(csv.reader([text], skipinitialspace=True), [])
            return self._read_row([word.strip() for word in words])
        except (ValueError, KeyError, IndexError, csv.Error):
            return None
