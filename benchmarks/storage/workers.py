"""Processes that read or write at the same time, each a part of the work; they inherit the file of their parent."""

from __future__ import annotations

import itertools
import mmap
import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from pagecache import drop

Piece = int | str  # a block's offset in the file, or the path of a whole file
PARTS = 4  # of a round for each process


@dataclass(frozen=True)
class Job:
    """What all pieces have in common. ``fd`` is the file that blocks are of; whole files are opened by each piece."""

    fd: int
    block_size: int
    write: bool = False
    direct: bool = False


class Worker:
    """One process's buffer, page-aligned as O_DIRECT wants it, and what it does with it."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.buffer = mmap.mmap(-1, job.block_size)
        self.buffer.write(os.urandom(job.block_size))  # nothing that a disk or a file system could compress

    def do(self, pieces: list[Piece]) -> int:
        """Read or write the pieces; return the bytes. What was written is on the disk by then."""
        moved = sum(self._file(piece) if isinstance(piece, str) else self._block(piece) for piece in pieces)
        if self.job.write:
            os.fdatasync(self.job.fd)
        if not self.job.direct:
            self._drop([piece for piece in pieces if not isinstance(piece, str)])
        return moved

    def _drop(self, offsets: list[int]) -> None:
        """Let go of the blocks' pages; blocks in a row at once, as a folio that is partly in the range stays."""
        size = self.job.block_size
        start = 0
        for index in range(1, len(offsets) + 1):
            if index == len(offsets) or offsets[index] != offsets[index - 1] + size:
                drop(self.job.fd, offsets[start], (index - start) * size)
                start = index

    def _block(self, offset: int) -> int:
        if offset == 0 and not self.job.direct:
            drop(self.job.fd)  # a new pass: pages that the last one has read ahead, too
        move = os.pwritev if self.job.write else os.preadv
        moved = move(self.job.fd, [self.buffer], offset)
        if moved != self.job.block_size:
            raise OSError(f"{moved} bytes instead of {self.job.block_size} at {offset}")
        return moved

    def _file(self, path: str) -> int:
        fd = os.open(path, os.O_RDONLY | (os.O_DIRECT if self.job.direct else 0))
        try:
            length, read = os.fstat(fd).st_size, 0
            while read < length:
                moved = os.preadv(fd, [self.buffer], read)
                if moved == 0:
                    raise OSError(f"{path} ends after {read} of its {length} bytes")
                read += moved
            if not self.job.direct:
                drop(fd)
            return read
        finally:
            os.close(fd)


_worker: list[Worker] = []  # the one of this process


def _begin(job: Job) -> None:
    _worker.append(Worker(job))


def _do(pieces: list[Piece]) -> int:
    return _worker[0].do(pieces)


class Workers:
    """So many processes; ``with`` ends them."""

    def __init__(self, count: int, job: Job) -> None:
        self.count = count
        fork = multiprocessing.get_context("fork")  # for the file's descriptor
        self._pool = ProcessPoolExecutor(count, mp_context=fork, initializer=_begin, initargs=(job,))

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def round(self, pieces: Iterator[Piece], length: int) -> int:
        """Hand out pieces, ``length`` at a time, and wait for them; return the bytes moved.

        Nothing is begun before a round or left for the next: what was read ahead of a round would cost it no time.
        Processes take several parts of it each, so that at its end none waits long for the slowest.
        """
        parts = [list(itertools.islice(pieces, length)) for _ in range(self.count * PARTS)]
        return sum(self._pool.map(_do, parts))
