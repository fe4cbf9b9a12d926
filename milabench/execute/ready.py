"""Whether a server is ready, and why it is not: asked of its node's agent, or read in what it printed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from benchmate.wire import Lines
from milabench.errors import PreflightError
from milabench.execute.hosts import Host
from milabench.plan.types import Command
from milabench.rundir import Files
from milabench.suite.types import Ready

_POLL_S = 0.2
_MOST_BYTES = 1 << 20  # of a log at once


async def unready(command: Command, ready: Ready, host: Host, files: Files) -> str:
    """Wait until a server is ready: return "" then, or why it was not within its time."""
    clock, why = asyncio.get_running_loop().time, ""
    end = clock() + ready.within_s
    log = None if ready.log is None else _Log(ready.log, files)
    while True:
        why = await _why_unready(command, ready, host) if log is None else log.why_unready()
        if not why:
            return ""
        if clock() >= end:
            return f"was not ready within {ready.within_s:g} s: {why}"
        await asyncio.sleep(min(_POLL_S, max(end - clock(), 0.001)))


async def _why_unready(command: Command, ready: Ready, host: Host) -> str:
    try:
        return str((await host.request("ready", ready=asdict(ready), cwd=command.cwd))["why"])
    except PreflightError as error:  # of one look: the next may go well; of a node that is gone the process tells
        return str(error)


class _Log:
    """What a server prints, as it grows, looked through for a pattern."""

    def __init__(self, pattern: str, files: Files) -> None:
        self._pattern = re.compile(pattern)
        self._offsets: dict[Path, int] = dict.fromkeys(files.printed, 0)
        self._lines: Mapping[Path, Lines] = {path: Lines() for path in files.printed}

    def why_unready(self) -> str:
        for path in self._offsets:
            for line in self._more(path):
                if self._pattern.search(line.decode(errors="replace")):
                    return ""
        return f"no line that it printed has {self._pattern.pattern!r}"

    def _more(self, path: Path) -> list[bytes]:
        try:
            with path.open("rb") as file:
                file.seek(self._offsets[path])
                chunk = file.read(_MOST_BYTES)
        except OSError:  # nothing is printed yet
            return []
        self._offsets[path] += len(chunk)
        return self._lines[path].feed(chunk)
