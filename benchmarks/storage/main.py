"""Reads and writes of a file system: how many bytes, or how many blocks at random places, a second."""

from __future__ import annotations

import argparse
import itertools
import math
import os
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from files import check_room, data_options, folder, root, whole
from pagecache import PAGE, drop, file_system, go_direct, resident_pages
from workers import PARTS, Job, Piece, Workers

from benchmate.arguments import size
from benchmate.context import Context, current
from benchmate.device import Cpu
from benchmate.observe import Observer

SEED = 1234
STEP_S = 0.04  # what an observation should take: long enough for the scheduler's noise, short enough for 60 of them
CALIBRATION_S = 0.02
FEW = 0.01  # share of what went by that may be found in the page cache


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    data_options(parser)
    parser.add_argument("--block-size", type=size, default="1M", help="of one read or write; a multiple of the page")
    parser.add_argument("--num-workers", type=int, default=4, help="processes that read or write at the same time")
    parser.add_argument(
        "--direct", action="store_true", help="go past the page cache (O_DIRECT) where that is possible"
    )
    parser.add_argument(
        "--repeat", type=int, default=10_000, help="observations at most; the suite's limit comes first"
    )
    args = parser.parse_args()
    if args.block_size <= 0 or args.block_size % PAGE:
        parser.error(f"--block-size is a multiple of {PAGE}, not {args.block_size}")
    if args.pattern == "loader" and args.operation == "write":
        parser.error("--pattern loader only reads")
    if args.pattern != "loader" and args.file_size < args.block_size:
        parser.error(f"--file-size {args.file_size} is less than a block")
    return args


def found(args: argparse.Namespace, context: Context) -> list[Path]:
    """Return the files to read. Ends the program where prepare.py has not made them."""
    path = folder(args, context)
    if not whole(path):
        raise SystemExit(f"{path} is not there, or not whole: prepare the benchmark first")
    return sorted(path.rglob("*.bin"))


@contextmanager
def scratch(args: argparse.Namespace, context: Context) -> Iterator[IO[bytes]]:
    """Give a file to write to, of its full size already; it has no name, and is gone when the program ends."""
    path = root(args, context)
    path.mkdir(parents=True, exist_ok=True)
    check_room(path, args.file_size)
    with tempfile.TemporaryFile(dir=path) as file:
        content = os.urandom(args.block_size)
        for _ in range(args.file_size // args.block_size):
            file.write(content)
        file.flush()
        os.fsync(file.fileno())
        yield file


def pieces(args: argparse.Namespace, files: list[Path]) -> Iterator[Piece]:
    """Yield without end what to read or write: offsets of blocks, drawn or in turn, or files, each once in an epoch."""
    draw, blocks = random.Random(SEED), args.file_size // args.block_size
    if args.pattern == "sequential":
        yield from itertools.cycle(range(0, blocks * args.block_size, args.block_size))
    while args.pattern == "random":
        yield draw.randrange(blocks) * args.block_size
    names: list[Piece] = [str(file) for file in files]
    while True:
        draw.shuffle(names)
        yield from names


def calibrate(workers: Workers, source: Iterator[Piece]) -> tuple[int, int]:
    """Return how many pieces a part of an observation has, and the bytes that moved meanwhile."""
    length, moved = 1, workers.round(source, 1)  # which starts the processes
    while True:
        start = time.monotonic()
        moved += workers.round(source, length)
        taken = time.monotonic() - start
        if taken >= CALIBRATION_S:
            return max(1, math.ceil(length * STEP_S / taken)), moved
        length *= 2


def opened(files: list[Path], own: IO[bytes]) -> Iterator[int]:
    """Open the files one after the other; where none is read there is the one that is written."""
    if not files:
        yield own.fileno()
    for path in files:
        with path.open("rb") as file:
            yield file.fileno()


def say_cached(observer: Observer, fds: Iterator[int], job: Job, moved: int) -> None:
    """Note how much of the bytes that have moved so far is in the page cache: none of them should be."""
    kept = total = 0
    for fd in fds:
        if not job.direct:
            drop(fd)  # what was read ahead goes before it is met again, too: see the start of a pass
        kept += resident_pages(fd) * PAGE
        total += os.fstat(fd).st_size
    share = kept / min(moved, total)
    if share > FEW:
        observer.note(f"{min(share, 1):.0%} of the data stays in the page cache: memory is measured, not only a disk")
    else:
        observer.note(f"the page cache keeps {share:.1%} of the data: it is not what is measured")


def main() -> None:
    args = options()
    context = current()
    kind, per = ("B", 1) if args.pattern != "random" else (f"{args.operation}s", args.block_size)
    moved = [0]  # bytes in an observation
    observer = Observer(unit=kind, count=lambda _: moved[0] // per, accelerator=Cpu(), context=context)
    with ExitStack() as stack:
        files = found(args, context) if args.operation == "read" else []
        own = stack.enter_context(files[0].open("rb") if files else scratch(args, context))
        for fd in opened(files, own):
            drop(fd)
        direct = args.direct and go_direct(own.fileno())
        if args.direct and not direct:
            observer.note("the file system has no O_DIRECT: pages are dropped from the cache after they were used")

        job = Job(fd=own.fileno(), block_size=args.block_size, write=args.operation == "write", direct=direct)
        workers = stack.enter_context(Workers(args.num_workers, job))
        source = pieces(args, files)
        length, before = calibrate(workers, source)
        what, way = "files" if args.pattern == "loader" else "blocks", "past" if direct else "through"
        observer.note(
            f"{args.num_workers} processes, {PARTS} x {length} {what} each in an observation,"
            f" {way} the page cache of {file_system(root(args, context))}"
        )
        say_cached(observer, opened(files, own), job, before)
        for _ in observer.iterate(range(args.repeat)):
            moved[0] = workers.round(source, length)


if __name__ == "__main__":
    main()
