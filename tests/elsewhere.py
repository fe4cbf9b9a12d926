"""A node that is not this machine, as far as files go: an agent here, whose processes' files are sent; for tests."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from agents import Elsewhere, talk
from milabench.agent.spool import give_back
from milabench.execute.hosts.local import LocalHost
from milabench.resources import import_path

STEPS = """
import sys, time
sys.path[:0] = {path!r}
from benchmate.context import current, writer
from benchmate.wire import GOOD, MEASURED, StepsWriter
context = current()
steps, events = StepsWriter(context.steps, unit="items", zero_ns=0), writer(context)
for step in range({count}):
    steps.append(step * 10, step * 10 + 7, 64, MEASURED, GOOD)
events.write("data", {{"loss": 0.5}})
while {waits} and not __import__("os").path.exists("go"):
    time.sleep(0.02)
steps.close()
"""


def script(count: int, *, waits: bool = False) -> tuple[str, ...]:
    return sys.executable, "-I", "-S", "-c", STEPS.format(path=import_path(), count=count, waits=waits)


def elsewhere(disk: Path, story: Callable[[LocalHost], Awaitable[Any]]) -> Any:
    return talk(story, Elsewhere, TMPDIR=str(disk))


def gives_room_back(folder: Path) -> bool:
    """Say whether the file system of a folder gives back the room of a part of a file."""
    path = folder / "room"
    path.write_bytes(bytes(1 << 22))
    found = path.stat()
    try:
        return give_back(str(path), 1 << 22, (found.st_dev, found.st_ino)) and path.stat().st_blocks < 1 << 12
    finally:
        path.unlink()


async def until(happened: Callable[[], object], timeout_s: float = 60) -> None:
    end = time.monotonic() + timeout_s
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        await asyncio.sleep(0.02)
