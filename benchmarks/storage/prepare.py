"""Make the files that are read: random bytes, the same every time, and all of the files or none."""

from __future__ import annotations

import argparse
import json
import os
import random
from pathlib import Path

from files import MANIFEST, check_room, data_options, folder, name, number, sizes, whole
from pagecache import drop

from benchmate.context import current
from benchmate.prepared import make_once

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
    check_room(path, sum(lengths))
    content = random.Random(len(lengths))
    for index, length in enumerate(lengths):
        file = path / name(index)
        file.parent.mkdir(exist_ok=True)
        write(file, length, content)
    (path / MANIFEST).write_text(json.dumps({"count": len(lengths), "bytes": sum(lengths)}))


def main() -> None:
    context = current()
    parser = argparse.ArgumentParser(description=__doc__)
    data_options(parser)
    args, _ = parser.parse_known_args()  # the benchmark's other options are none of ours
    if args.operation == "write":
        print("nothing is read: nothing to prepare")
        return
    path, lengths = folder(args, context), sizes(number(args), args.file_size)
    new = make_once(path, manifest=MANIFEST, whole=whole, make=lambda part: make(part, lengths))
    print(f"{path}: {f'{len(lengths)} files, {sum(lengths)} bytes' if new else 'already there'}")


if __name__ == "__main__":
    main()
