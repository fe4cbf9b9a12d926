"""Make the files that are read: random bytes, the same every time, and all of the files or none."""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import random
import shutil
from pathlib import Path

from files import MANIFEST, check_room, data_options, folder, name, number, sizes, whole
from pagecache import drop

from benchmate.context import current

CHUNK = 8 << 20


def write(path: Path, length: int, content: random.Random) -> None:
    """Write a file through to the disk, so that its pages can be dropped from the cache."""
    with path.open("wb") as file:
        for start in range(0, length, CHUNK):
            file.write(content.randbytes(min(CHUNK, length - start)))
        file.flush()
        os.fsync(file.fileno())
        drop(file.fileno())


def make(path: Path, lengths: list[int]) -> None:
    """Write the files beside the folder and put them in place at once, so that no reader ever finds half of them."""
    part = path.with_name(path.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    check_room(part, sum(lengths))
    content = random.Random(len(lengths))
    for index, length in enumerate(lengths):
        file = part / name(index)
        file.parent.mkdir(exist_ok=True)
        write(file, length, content)
    (part / MANIFEST).write_text(json.dumps({"count": len(lengths), "bytes": sum(lengths)}))
    shutil.rmtree(path, ignore_errors=True)
    part.rename(path)


def main() -> None:
    context = current()
    parser = argparse.ArgumentParser(description=__doc__)
    data_options(parser)
    args, _ = parser.parse_known_args()  # the benchmark's other options are none of ours
    if args.operation == "write":
        print("nothing is read: nothing to prepare")
        return
    path = folder(args, context)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(path.name + ".lock").open("w") as lock:  # two benchmarks may want the same set
        fcntl.flock(lock, fcntl.LOCK_EX)
        if whole(path):
            print(f"{path}: already there")
            return
        if path.exists() and not (path / MANIFEST).exists():
            raise SystemExit(f"{path} holds something else and is left alone: name another folder with --path")
        lengths = sizes(number(args), args.file_size)
        make(path, lengths)
        print(f"{path}: {len(lengths)} files, {sum(lengths)} bytes")


if __name__ == "__main__":
    main()
