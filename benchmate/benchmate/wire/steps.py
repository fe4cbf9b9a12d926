"""A .steps file: a header of 64 bytes and rows of int64, one row per training step or inference."""

from __future__ import annotations

import mmap
import os
import struct
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from operator import sub
from typing import BinaryIO, ClassVar, Final, Literal

STEPS_VERSION: Final = 1
COLUMNS: Final = ("start", "end", "count", "phase", "status", "intended", "pre", "infer", "post", "worker")
BASE_COLUMNS: Final = COLUMNS[:5]
PARTS: Final = COLUMNS[6:9]  # ns, of what an inference is made of
WARMUP: Final = 0
MEASURED: Final = 1
GOOD: Final = 0
OVERLAPPED: Final = 1  # a step of another loop was made within this one: its time is counted there
CLOCKS: Final = ("monotonic", "device", "wall")
Clock = Literal["monotonic", "device", "wall"]

_MAGIC: Final = b"BMSTEPS\0"
_HEADER: Final = struct.Struct("<8sHHB3xqq32s")  # magic, version, columns present, clock, zero of the clock, rows, unit
_HEADER_SIZE: Final = _HEADER.size
_ROWS_WORD: Final = 3  # where the header counts the rows, in int64
UNIT_BYTES: Final = 32
_NO_TIME: Final = 1 << 63  # ns: more than a column holds
_GROW_ROWS: Final = 4096
_RESERVE_ROWS: Final = 1024
_PART_ROWS: Final = 1 << 14


class WireError(ValueError):
    """Say that bytes are not what this format says they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Good:
    """Columns of steps that count for something, and how long each took."""

    start: array[int]
    end: array[int]
    count: array[int]
    durations_ns: array[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """The columns of a ``.steps`` file; ``start`` and ``end`` in ns since ``zero_ns`` (wall clock) on ``clock``."""

    unit: str
    clock: Clock
    zero_ns: int
    columns: Mapping[str, array[int]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.columns["start"])

    def good(self, phase: int = MEASURED) -> Good:
        """Return the good steps of a phase, in the order they were made.

        Those alone whose time is one: of a device's events that two streams recorded the later may have passed first,
        and a damaged file holds anything.
        """
        first = self.columns["phase"].index(phase) if phase in self.columns["phase"] else len(self)
        columns = (self.columns[name] for name in BASE_COLUMNS)
        start, end, count, phases, status = (column[first:] if first else column for column in columns)
        if phases == array("q", [phase]) * len(phases) and status == array("q", [GOOD]) * len(status):
            with suppress(OverflowError):
                durations = array("q", map(sub, end, start))
                if min(durations, default=1) > 0:
                    return Good(start=start, end=end, count=count, durations_ns=durations)
        good = (i for i in range(len(phases)) if phases[i] == phase and status[i] == GOOD)
        kept = [i for i in good if 0 < end[i] - start[i] < _NO_TIME]
        start, end, count = (array("q", [column[i] for i in kept]) for column in (start, end, count))
        return Good(start=start, end=end, count=count, durations_ns=array("q", map(sub, end, start)))

    def work(self, phase: int = MEASURED) -> tuple[array[int], array[int]]:
        """Return the counts and the durations (ns) of the good steps of a phase."""
        good = self.good(phase)
        return good.count, good.durations_ns

    def with_ranks(self, ranks: Sequence[Steps]) -> Steps:
        """Return the steps of a whole group: timed as the leader's (these), counting what all ranks did in each.

        The ranks of a group make their steps together; what not all of them made is left out. A rank without rows
        counts nothing.
        """
        others = [rank.columns["count"] for rank in ranks if len(rank) and rank.unit == self.unit]
        rows = min([len(self), *map(len, others)])
        columns = {name: column[:rows] for name, column in self.columns.items()}
        columns["count"] = array("q", map(sum, zip(columns["count"], *others, strict=False)))
        return replace(self, columns=columns)


class StepsWriter:
    """Write rows of int64 into a growing mapped file: they survive ``kill -9`` and cost no system call each.

    Space is allocated ahead (``posix_fallocate``): a full disk raises OSError here instead of SIGBUS later, and
    leaves no file. A file has one writer: FileExistsError where it is there already. WireError where the columns are
    not some of ``COLUMNS`` in their order, or the unit does not fit its 32 bytes of UTF-8.
    """

    __slots__ = ("_fd", "_map", "_words", "append", "extend", "reserve")

    append: Callable[..., None]
    """Write one row, in the order of the columns; it counts once the header's number of rows says so.

    Raises struct.error for a value that is no 64-bit integer, and the row does not count: the caller checks what
    comes from elsewhere, since this is called once a step.
    """
    extend: Callable[[array[int]], None]
    """Write the values of whole rows, one row after the other: they count together once all of them are there."""
    reserve: Callable[[], int]
    """Make room ahead, and let the kernel put memory behind it; return for how many rows there is room.

    For a loop none of whose rows shall pay for that; otherwise they make room as they need it. Raises OSError.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        unit: str,
        clock: Clock = "monotonic",
        zero_ns: int,
        columns: tuple[str, ...] = BASE_COLUMNS,
    ) -> None:
        bits = _bits(columns)
        row = struct.Struct(f"<{len(columns)}q")
        header = _HEADER.pack(_MAGIC, STEPS_VERSION, bits, CLOCKS.index(clock), zero_ns, 0, _unit(unit))
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            os.posix_fallocate(self._fd, 0, _HEADER_SIZE + _GROW_ROWS * row.size)
            content = mmap.mmap(self._fd, 0)
        except OSError:  # a file without a header is none: nobody shall find it, and whoever tries again may make it
            os.close(self._fd)
            with suppress(OSError):
                os.unlink(path)  # noqa: PTH108 - a path of any kind
            raise
        content[:_HEADER_SIZE] = header
        self._begin(content, row)

    @classmethod
    def scratch(cls, rows: int) -> StepsWriter:
        """Return one that has room for so many rows in memory, and no file: to find out what a row costs."""
        writer, row = cls.__new__(cls), struct.Struct(f"<{len(BASE_COLUMNS)}q")
        writer._begin(mmap.mmap(-1, _HEADER_SIZE + rows * row.size), row)
        return writer

    def _begin(self, content: mmap.mmap, row: struct.Struct) -> None:
        self._map, self._words = content, memoryview(content).cast("q")
        self.append, self.extend, self.reserve = self._appending(row)

    def _appending(
        self, row: struct.Struct
    ) -> tuple[Callable[..., None], Callable[[array[int]], None], Callable[[], int]]:
        """Return ``append``, ``extend`` and ``reserve``.

        Attributes, and a tuple where there are the usual five values, would double the cost of a row.
        """
        content, pack, size, words = self._map, row.pack_into, row.size, self._words
        place, full, rows, ready = _HEADER_SIZE, len(content), 0, _HEADER_SIZE

        def append(start: int, end: int, count: int, phase: int, status: int) -> None:
            nonlocal place, full, rows, words
            if place == full:
                full, words = self._grow(size), self._words
            pack(content, place, start, end, count, phase, status)
            place += size
            rows += 1
            words[_ROWS_WORD] = rows

        def append_any(*values: int) -> None:
            nonlocal place, full, rows, words
            if place == full:
                full, words = self._grow(size), self._words
            pack(content, place, *values)
            place += size
            rows += 1
            words[_ROWS_WORD] = rows

        def extend(values: array[int]) -> None:
            nonlocal place, full, rows, words
            taken = 8 * len(values)
            while full - place < taken:
                full, words = self._grow(size), self._words
            content[place : place + taken] = memoryview(values).cast("B")
            place += taken
            rows += taken // size
            words[_ROWS_WORD] = rows

        def reserve() -> int:
            nonlocal full, words, ready
            if full - place < _RESERVE_ROWS * size:
                full, words = self._grow(size), self._words
            for page in range(max(place, ready), full, mmap.PAGESIZE):
                content[page] = 0
            ready = full
            return (full - place) // size

        return append if size == 8 * len(BASE_COLUMNS) else append_any, extend, reserve

    def _grow(self, row_size: int) -> int:
        """Make room for as many rows again; return where it ends."""
        rows = (len(self._map) - _HEADER_SIZE) // row_size
        end = _HEADER_SIZE + 2 * rows * row_size
        os.posix_fallocate(self._fd, 0, end)
        self._words.release()
        self._map.resize(end)
        self._words = memoryview(self._map).cast("q")
        return end

    def written(self) -> Steps:
        """Return a copy of what was written so far."""
        header = self._header()
        values = array("q", self._map[_HEADER_SIZE : _HEADER_SIZE + header.rows * header.row_size])
        return header.steps(values)

    def work(self) -> tuple[array[int], array[int]]:
        """Return the counts and the durations (ns) of the good measured steps so far.

        In parts, which stay in the processor's caches: whoever looks at a million steps waits for it.
        """
        header, counts, durations = self._header(), array("q"), array("q")
        end = _HEADER_SIZE + header.rows * header.row_size
        for first in range(_HEADER_SIZE, end, _PART_ROWS * header.row_size):
            part = array("q", self._map[first : min(first + _PART_ROWS * header.row_size, end)])
            for found, more in zip((counts, durations), header.steps(part).work(), strict=True):
                found.extend(more)
        return counts, durations

    def _header(self) -> StepsHeader:
        return StepsHeader.decode(self._map[:_HEADER_SIZE], "a file being written")

    def close(self) -> None:
        """Cut the file to the rows it holds."""
        header = self._header()
        self._words.release()
        self._map.close()
        os.ftruncate(self._fd, _HEADER_SIZE + header.rows * header.row_size)
        os.close(self._fd)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepsHeader:
    """What the first bytes of a ``.steps`` file say; ``rows`` is how many its writer has finished."""

    unit: str
    clock: Clock
    zero_ns: int
    rows: int
    columns: tuple[str, ...]

    SIZE: ClassVar[int] = _HEADER_SIZE

    @property
    def row_size(self) -> int:
        return 8 * len(self.columns)

    def steps(self, values: array[int] | None = None) -> Steps:
        """Return the steps that the values of whole rows make: none where there are no values."""
        width, values = len(self.columns), array("q") if values is None else values
        columns = {name: values[index::width] for index, name in enumerate(self.columns)}
        return Steps(unit=self.unit, clock=self.clock, zero_ns=self.zero_ns, columns=columns)

    @classmethod
    def decode(cls, content: bytes, path: str | os.PathLike[str]) -> StepsHeader:
        """Return the header that the content of a file begins with. Raises WireError where it is none."""
        if len(content) < _HEADER_SIZE:
            raise WireError(f"{path}: shorter than its header")
        magic, version, bits, clock, zero_ns, rows, unit = _HEADER.unpack_from(content)
        if magic != _MAGIC or version != STEPS_VERSION or clock >= len(CLOCKS) or rows < 0:
            raise WireError(f"{path}: not a .steps file of version {STEPS_VERSION}")
        names = tuple(name for index, name in enumerate(COLUMNS) if bits & 1 << index)
        if bits >> len(COLUMNS) or names[: len(BASE_COLUMNS)] != BASE_COLUMNS:
            raise WireError(f"{path}: columns {bits:#x} are not those of version {STEPS_VERSION}")
        try:
            text = unit.rstrip(b"\0").decode()
        except UnicodeDecodeError:
            raise WireError(f"{path}: its unit is no text") from None
        return cls(unit=text, clock=CLOCKS[clock], zero_ns=zero_ns, rows=rows, columns=names)


def read_steps(path: str | os.PathLike[str]) -> Steps:
    """Read a ``.steps`` file, also one that is being written, whose writer was killed, or that was cut short.

    Of the latter the rows that are whole are read. Raises WireError for what is no such file, OSError.
    """
    with open(path, "rb") as file:  # noqa: PTH123 - a path of any kind
        empty, rows = _read_header(file, path)
        return _read_rows(file, empty, rows)


def read_steps_in_parts(path: str | os.PathLike[str], rows: int = 1 << 16) -> Iterator[Steps]:
    """Yield the same in parts of so many rows each, the last of fewer; one without rows where there are none."""
    with open(path, "rb") as file:  # noqa: PTH123
        part, left = _read_header(file, path)
        while True:
            part = _read_rows(file, part, min(rows, left))
            left -= len(part)
            yield part
            if len(part) < rows or not left:
                return


def _read_header(file: BinaryIO, path: str | os.PathLike[str]) -> tuple[Steps, int]:
    """Return what a header says, as steps without rows, and how many rows it counts."""
    header = StepsHeader.decode(file.read(_HEADER_SIZE), path)
    return header.steps(), header.rows


def _read_rows(file: BinaryIO, steps: Steps, rows: int) -> Steps:
    """Return steps with the next rows of a file, at most so many, instead of those they have."""
    width = len(steps.columns) * 8
    left = max(os.fstat(file.fileno()).st_size - file.tell(), 0) // width
    values = array("q")
    content = file.read(min(rows, left) * width)
    values.frombytes(content[: len(content) // width * width])
    return replace(
        steps, columns={name: values[index :: len(steps.columns)] for index, name in enumerate(steps.columns)}
    )


def count_steps(path: str | os.PathLike[str]) -> int:
    """Return how many rows a ``.steps`` file holds by its header alone; 0 when there is no such file yet."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            header = file.read(_HEADER_SIZE)
    except FileNotFoundError:
        return 0
    return int(_HEADER.unpack(header)[5]) if len(header) == _HEADER_SIZE else 0


def _bits(columns: tuple[str, ...]) -> int:
    if columns[: len(BASE_COLUMNS)] != BASE_COLUMNS or columns != tuple(name for name in COLUMNS if name in columns):
        raise WireError(f"columns must begin with {BASE_COLUMNS} and follow the order of COLUMNS")
    return sum(1 << COLUMNS.index(name) for name in columns)


def _unit(unit: str) -> bytes:
    try:
        encoded = unit.encode()
    except UnicodeEncodeError:
        raise WireError(f"unit {unit!r} is no text") from None
    if len(encoded) > UNIT_BYTES:
        raise WireError(f"unit {unit!r} takes {len(encoded)} bytes: the file has room for {UNIT_BYTES}")
    return encoded
