"""Folders and files to another node, over the pipe to its agent: only what it lacks, as nothing else there waits.

A folder ends there as one that is staged on this machine does. Of files that are many and large some go at a time.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from stat import S_IMODE
from typing import Any, Final, Protocol

from milabench.agent.receive import digest
from milabench.agent.stage import files_below, is_wheel, stage
from milabench.errors import PreflightError
from milabench.errors import told as told_of
from milabench.execute.travel import SoFar

_PART_BYTES: Final = 1 << 18  # at a time, and what else is to be sent goes between
_MAKING: Final = threading.Lock()
_BATCH_BYTES: Final = 256 << 20  # of files that are put in place together, unless one alone is larger
_BATCH_FILES: Final = 1000


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

    ``noted`` is the source that the folder is noted to come from, None for files alone; ``alone``: it is the one file.
    """

    source: Path
    target: str
    noted: str | None
    names: Sequence[str]
    files: Sequence[tuple[str, int, int, int]]
    links: Sequence[tuple[str, str]]
    alone: bool = False

    @classmethod
    def of(cls, source: Path, target: str) -> _Tree:
        """Return what a folder holds, or a file is. Raises OSError."""
        if not source.is_dir():
            files = ((Path(target).name, *_facts(source)),)
            folder = str(Path(target).parent)
            return cls(source=source, target=folder, noted=None, names=(), files=files, links=(), alone=True)
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

    @classmethod
    def some(cls, source: Path, target: str, names: Sequence[str]) -> _Tree:
        """Return some files of a folder: links stay links, and what else the target holds is left. Raises OSError."""
        links = [(name, os.readlink(source / name)) for name in names if (source / name).is_symlink()]  # noqa: PTH115
        linked = {name for name, _ in links}
        files = [(name, *_facts(source / name)) for name in names if name not in linked]
        return cls(source=source, target=target, noted=None, names=(), files=files, links=links)

    def path(self, name: str) -> Path:
        return self.source if self.alone else self.source / name

    def fields(self) -> dict[str, Any]:
        fields = {"source": self.noted, "target": self.target, "names": self.names}
        return {**fields, "files": self.files, "links": self.links}


async def send_staged(sender: Sender, staged: Sequence[Mapping[str, Any]], so_far: SoFar) -> None:
    """Stage folders on the node of an agent, and tell how far it is. Raises PreflightError, HostLost."""
    try:
        trees = [await asyncio.to_thread(_tree_of, each["source"], each["target"]) for each in staged]
        so_far.total = sum(size for tree in trees for _, size, *_ in tree.files)
        for each, tree in zip(staged, trees, strict=True):
            await _send_tree(sender, tree, fresh=each.get("fresh", False), told=so_far.told)
    except OSError as error:
        raise PreflightError(f"stage failed: {told_of(error)}") from None


async def send_files(
    sender: Sender, source: Path, target: str, names: Sequence[str], told: Callable[[int, int], object]
) -> None:
    """Make a folder on the node of an agent hold some files of one here, a part of them after the other.

    A part that has come stays when a later one fails, and is not sent again. ``told`` gets the bytes that are known to
    be there, and how many of those were sent, as it goes on. Raises PreflightError, HostLost.
    """
    try:
        for batch in await asyncio.to_thread(_batches, source, names):
            tree = await asyncio.to_thread(_Tree.some, source, target, batch)
            await _send_tree(sender, tree, fresh=False, told=told)
    except OSError as error:
        raise PreflightError(told_of(error)) from None


def _batches(source: Path, names: Sequence[str]) -> list[list[str]]:
    """Return names in order, so many together that what has to be sent again after a failure is little."""
    batches: list[list[str]] = []
    left = 0
    for name in names:
        size = (source / name).lstat().st_size
        if not batches or size > left or len(batches[-1]) == _BATCH_FILES:
            batches.append([])
            left = _BATCH_BYTES
        batches[-1].append(name)
        left -= size
    return batches


def _tree_of(source: str, target: str) -> _Tree:
    if is_wheel(source, target):  # made here, where the same folder is
        _make(source, target)
        source = target
    return _Tree.of(Path(source), target)


def _make(source: str, wheel: str) -> None:
    """Make a wheel where it is not there yet: once, however many nodes it goes to."""
    with _MAKING:
        stage(source, wheel)


async def _send_tree(sender: Sender, tree: _Tree, *, fresh: bool, told: Callable[[int, int], object]) -> None:
    fields = tree.fields()
    lacking = (await sender.ask("offer", **fields, fresh=fresh))["files"]
    told(sum(size for name, size, *_ in tree.files if name not in lacking), 0)
    number, placed = sender.begin("receive", target=tree.target)
    sent: dict[str, str] = {}
    try:
        for name, there in lacking.items():
            if there is not None and there == await asyncio.to_thread(digest, tree.path(name)):
                told(tree.path(name).stat().st_size, 0)
                continue
            sent[name] = await _send_file(_Way(sender, number, placed, told), name, tree.path(name))
        sender.post({"op": "received", "transfer": number, **fields, "sent": sent})
    except BaseException:
        placed.cancel()
        raise
    await placed


@dataclass(frozen=True, slots=True)
class _Way:
    """A transfer under way: its number, what has the reply to it, and who is told how far it is."""

    sender: Sender
    number: int
    placed: asyncio.Task[dict[str, Any]]
    told: Callable[[int, int], object]


async def _send_file(way: _Way, name: str, path: Path) -> str:
    """Send the content of a file, unless the node says meanwhile that it cannot take it; return its hash."""
    found, offset = hashlib.sha256(), 0
    with path.open("rb") as file:
        while ((part := file.read(_PART_BYTES)) or offset == 0) and not way.placed.done():
            found.update(part)
            way.sender.post({"op": "put", "transfer": way.number, "file": name, "offset": offset}, part)
            offset += len(part)
            way.told(len(part), len(part))
            await way.sender.drain()
            await asyncio.sleep(0)  # a pipe that takes all at once lets nobody else have a turn
            if not part:
                break
    return found.hexdigest()


def _facts(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns, S_IMODE(found.st_mode)
