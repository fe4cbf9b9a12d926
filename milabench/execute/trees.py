"""Folders and files to another node, over the pipe to its agent: only what it lacks, as nothing else there waits.

A folder ends there as one that is staged on this machine does.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from stat import S_IMODE
from typing import Any, Final, Protocol

from milabench.agent.receive import digest
from milabench.agent.stage import files_below, is_wheel, stage
from milabench.errors import PreflightError, told

_PART_BYTES: Final = 1 << 18  # at a time, and what else is to be sent goes between
_MAKING: Final = threading.Lock()


class Sender(Protocol):
    """The pipe to an agent, as far as sending needs it."""

    async def ask(self, op: str, **fields: Any) -> dict[str, Any]:
        """Return the reply to a request. Raises PreflightError for an error."""

    def begin(self, op: str, **fields: Any) -> tuple[int, asyncio.Task[dict[str, Any]]]:
        """Send a request whose reply comes later; return its number and what has the reply."""

    def post(self, message: dict[str, Any], blob: bytes | None = None) -> None:
        """Send a request that has no reply, with raw bytes."""

    async def drain(self) -> None:
        """Return when little is left to be sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tree:
    """What is to be sent: ``files`` are the name, size, time of change (ns) and mode of each; ``links`` lead nowhere.

    ``noted`` is the source that the folder is noted to come from, None for files alone.
    """

    source: Path
    target: str
    noted: str | None
    names: Sequence[str]
    files: Sequence[tuple[str, int, int, int]]
    links: Sequence[tuple[str, str]]

    @classmethod
    def of(cls, source: Path, target: str) -> _Tree:
        """Return what a folder holds, or a file is. Raises OSError."""
        if not source.is_dir():
            alone = (Path(target).name, *_facts(source))
            return cls(source=source, target=str(Path(target).parent), noted=None, names=(), files=(alone,), links=())
        names = files_below(source)
        links = {name: str((source / name).readlink()) for name in names if not (source / name).exists()}
        return cls(
            source=source,
            target=target,
            noted=str(source),
            names=names,
            files=[(name, *_facts(source / name)) for name in names if name not in links],
            links=list(links.items()),
        )

    def path(self, name: str) -> Path:
        return self.source / name if self.noted is not None else self.source

    def fields(self) -> dict[str, Any]:
        fields = {"source": self.noted, "target": self.target, "names": self.names}
        return {**fields, "files": self.files, "links": self.links}


async def send_staged(sender: Sender, staged: Sequence[Mapping[str, Any]]) -> None:
    """Stage folders on the node of an agent. Raises PreflightError, HostLost."""
    for each in staged:
        try:
            await _send(sender, each["source"], each["target"], fresh=each.get("fresh", False))
        except OSError as error:
            raise PreflightError(f"stage failed: {told(error)}") from None


async def _send(sender: Sender, source: str, target: str, *, fresh: bool) -> None:
    if is_wheel(source, target):  # made here, where the same folder is
        await asyncio.to_thread(_make, source, target)
        source = target
    await _send_tree(sender, await asyncio.to_thread(_Tree.of, Path(source), target), fresh=fresh)


def _make(source: str, wheel: str) -> None:
    """Make a wheel where it is not there yet: once, however many nodes it goes to."""
    with _MAKING:
        stage(source, wheel)


async def _send_tree(sender: Sender, tree: _Tree, *, fresh: bool) -> None:
    fields = tree.fields()
    lacking = (await sender.ask("offer", **fields, fresh=fresh))["files"]
    number, placed = sender.begin("receive", target=tree.target)
    sent: dict[str, str] = {}
    try:
        for name, there in lacking.items():
            if there is not None and there == await asyncio.to_thread(digest, tree.path(name)):
                continue
            sent[name] = await _send_file(sender, number, name, tree.path(name), placed)
        sender.post({"op": "received", "transfer": number, **fields, "sent": sent})
    except BaseException:
        placed.cancel()
        raise
    await placed


async def _send_file(sender: Sender, number: int, name: str, path: Path, placed: asyncio.Task[dict[str, Any]]) -> str:
    """Send the content of a file, unless the node says meanwhile that it cannot take it; return its hash."""
    found, offset = hashlib.sha256(), 0
    with path.open("rb") as file:
        while ((part := file.read(_PART_BYTES)) or offset == 0) and not placed.done():
            found.update(part)
            sender.post({"op": "put", "transfer": number, "file": name, "offset": offset}, part)
            offset += len(part)
            await sender.drain()
            await asyncio.sleep(0)  # a pipe that takes all at once lets nobody else have a turn
            if not part:
                break
    return found.hexdigest()


def _facts(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns, S_IMODE(found.st_mode)
