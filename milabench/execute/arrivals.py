"""What processes on other nodes write, as it arrives: put at its place in the run's own folder, and checked at the end.

Nothing here knows of a network: chunks come in, and whoever gave them is asked again for what is not as it was sent.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmate import wire
from milabench.errors import PreflightError, told
from milabench.rundir import Files
from milabench.untrusted import mapping

Message = Mapping[str, Any]
Fetch = Callable[[str], Awaitable[object]]  # a file's name → its account by its name, once it has come again
_MOST_BYTES: Final = 1 << 62  # of a file: what says more is no account of one
_AHEAD_BYTES: Final = wire.StepsHeader.SIZE  # of steps the rows come before the header
_AT_ONCE_BYTES: Final = 1 << 20  # more is hashed in a thread: it takes longer than others should wait
KEPT_BYTES: Final = 1 << 26  # of a file that has grown by so much the node is told
_PART_BYTES: Final = 1 << 18
_RANK: Final = re.compile(r"[0-9]+\.(?:jsonl|steps)")  # what follows the tag of a further rank's file
_LINES: Final = (".data", ".jsonl")
_PRINTED: Final = (".stdout", ".stderr")  # what a node lets go of as it has come
_NO_ACCOUNT: Final = {"error": "its node did not say what it holds"}


@dataclass(slots=True, kw_only=True)
class _Whole:
    """What has come of a file without a gap; ``told``: how much of it the node knows."""

    hash: Any = field(default_factory=hashlib.sha256)
    size: int = 0
    told: int = 0


class Arrivals:
    """The files of one process, or of a node's monitor, as they arrive in ``folder``.

    Those that hold something already (the lines that the runner wrote) are added to. ``names`` are those that may
    come, ``tag`` that of a process whose further ranks may have some, too.
    """

    def __init__(self, folder: Path, names: frozenset[str], tag: str | None = None) -> None:
        self._folder, self._names = str(folder), names
        self._rank = f"{tag}.rank" if tag else None
        self._begins: dict[str, int] = {}  # where in the file here that of the node begins
        self._problems: dict[str, str] = {}
        self._wholes: dict[str, _Whole] = {}

    @classmethod
    def of_process(cls, files: Files, group: Files | None = None) -> Arrivals:
        """``group`` are the files that its ranks write beside, where these are not its own."""
        names = (f"{files.tag}.{suffix}" for suffix in ("data", "steps", "stdout", "stderr"))
        return cls(files.folder, frozenset(names), (group or files).tag)

    @classmethod
    def of_monitor(cls, path: Path) -> Arrivals:
        return cls(path.parent, frozenset({path.name}))

    def take(self, chunk: Message) -> Message | None:
        """Write a chunk at its place; where that fails, it shows in the end. Raises ValueError for no file of these.

        Return now and then what there is of its file whole, with its hash: the node may let go of that.
        """
        name, offset, content = chunk["file"], chunk["offset"], chunk["blob"]
        if not self._is_expected(name):
            raise ValueError(f"{str(name)[:80]!r} is no file of the process")
        if not _is_size(offset):  # one below 0 would be in what the runner wrote
            raise ValueError(f"{str(offset)[:80]!r} is no place in {name}")
        if name in self._problems:
            return None
        try:
            descriptor = self._open(name, os.O_RDWR | os.O_CREAT)
            try:
                place = offset + (begin := self._begin_of(name, descriptor))
                if chunk.get("cut"):
                    os.ftruncate(descriptor, begin)
                if place > os.fstat(descriptor).st_size + _AHEAD_BYTES:
                    self._problems[name] = "what comes before a part of it is missing"
                else:
                    _write(descriptor, content, place)
                    return self._whole(name, offset, content) if name.endswith(_PRINTED) else None
            finally:
                os.close(descriptor)
        except OSError as error:
            self._problems[name] = _unwritable(error)
        return None

    def _whole(self, name: str, offset: int, content: bytes) -> Message | None:
        if offset == 0:
            self._wholes[name] = _Whole()
        whole = self._wholes.get(name)
        if whole is None or offset != whole.size:
            self._wholes.pop(name, None)
            return None
        whole.hash.update(content)
        whole.size += len(content)
        if whole.size - whole.told < KEPT_BYTES:
            return None
        whole.told = whole.size
        return {"file": name, "size": whole.size, "sha256": whole.hash.hexdigest()}

    async def settle(self, told: object, fetch: Fetch) -> str | None:
        """Check what has arrived by what the node has told of each file, and fetch again what is not the same.

        Return what could not be had, and why; None where all is there.
        """
        accounts = self._accounts(told)
        wrong = await self._wrong(accounts)
        for name in list(wrong):
            del wrong[name]
            again = await self._fetched(name, accounts[name].get("freed", 0), fetch)
            wrong |= await self._wrong({name: again or accounts[name]})
        if not wrong:
            return None
        return "; ".join(f"{name} did not come whole from its node: {why}" for name, why in wrong.items())

    async def _fetched(self, name: str, freed: int, fetch: Fetch) -> Message | None:
        """Have a file sent anew, but for its beginning that is on its node no more; return its account of then."""
        self._problems.pop(name, None)
        try:
            self._hashed(name, freed)  # what is there of the rest goes
            return self._accounts(await fetch(name)).get(name)
        except OSError as error:
            self._problems[name] = _unwritable(error)
        except PreflightError as error:
            self._problems[name] = str(error)
        return None

    def _accounts(self, told: object) -> dict[str, Message]:
        """Return what a node has told of the files of the process; what is no account is one that says so.

        One that could not be written here has one, too, be it told of or not.
        """
        nothing = dict.fromkeys(self._problems, _NO_ACCOUNT)
        expected = {name: each for name, each in mapping(told).items() if self._is_expected(name)}
        return nothing | {name: each if _is_account(each) else _NO_ACCOUNT for name, each in expected.items()}

    async def _wrong(self, accounts: Mapping[str, Message]) -> dict[str, str]:
        """Return what is wrong with each file that is not as its account says."""
        if sum(each["size"] for each in accounts.values() if not each.get("error")) <= _AT_ONCE_BYTES:
            return self._compared(accounts)
        return await asyncio.to_thread(self._compared, accounts)

    def _compared(self, accounts: Mapping[str, Message]) -> dict[str, str]:
        found = {name: self._problem(name, account) for name, account in accounts.items()}
        return {name: problem for name, problem in found.items() if problem}

    def _problem(self, name: str, account: Message) -> str | None:
        if problem := self._problems.get(name, account.get("error")):
            return str(problem)
        try:
            size, found = self._hashed(name, account["size"])
        except OSError as error:
            return told(error)
        if size != account["size"]:
            return f"{size} of {account['size']} bytes have come"
        return None if found == account["sha256"] else "what has come is not what was sent"

    def _hashed(self, name: str, size: int) -> tuple[int, str]:
        """Keep of a file no more than so much; return how much there is, and its hash. Raises OSError."""
        try:
            descriptor = self._open(name, os.O_RDWR)
        except FileNotFoundError:  # nothing was written to it, there or here
            return 0, hashlib.sha256().hexdigest()
        try:
            begin = at = self._begin_of(name, descriptor)
            if os.fstat(descriptor).st_size > begin + size:
                os.ftruncate(descriptor, begin + size)
            found = hashlib.sha256()
            while part := os.pread(descriptor, _PART_BYTES, at):
                found.update(part)
                at += len(part)
        finally:
            os.close(descriptor)
        return at - begin, found.hexdigest()

    def _open(self, name: str, flags: int) -> int:
        return os.open(f"{self._folder}/{name}", flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)

    def _is_expected(self, name: object) -> bool:
        if not isinstance(name, str):
            return False
        if name in self._names:
            return True
        rank = self._rank is not None and name.startswith(self._rank) and _RANK.fullmatch(name[len(self._rank) :])
        return bool(rank)

    def _begin_of(self, name: str, descriptor: int) -> int:
        """Return where the node's part of a file begins: at the end of what was there first, on a line of its own."""
        if name not in self._begins:
            size = os.fstat(descriptor).st_size
            if size and name.endswith(_LINES) and os.pread(descriptor, 1, size - 1) != b"\n":
                _write(descriptor, b"\n", size)
                size += 1
            self._begins[name] = size
        return self._begins[name]


def _is_size(value: object) -> bool:
    return type(value) is int and 0 <= value <= _MOST_BYTES


def _is_account(value: object) -> bool:
    """Say whether a value is what a node tells of a file: its size and hash, or why it cannot be read."""
    if not isinstance(value, Mapping):
        return False
    if value.get("error"):
        return isinstance(value["error"], str)
    sizes = value.get("size"), value.get("freed", 0)
    return all(map(_is_size, sizes)) and isinstance(value.get("sha256"), str)


def _unwritable(error: OSError) -> str:
    return f"it cannot be written here: {told(error)}"


def _write(descriptor: int, content: bytes, offset: int) -> None:
    written = os.pwrite(descriptor, content, offset)
    left, offset = memoryview(content)[written:], offset + written
    while left:
        written = os.pwrite(descriptor, left, offset)
        left, offset = left[written:], offset + written
