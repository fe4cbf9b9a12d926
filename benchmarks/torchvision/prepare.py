"""Make the images that the benchmark decodes: the same every time, and all of them or none."""

from __future__ import annotations

import argparse
import fcntl
import json
import random
import shutil
from pathlib import Path
from typing import Any

from images import data_options, folder, is_synthetic
from PIL import Image

from benchmate.context import current

GRID = 8  # an image is a grid of this many random colours on a side, smoothed: it compresses as photographs do
QUALITY = 85
MANIFEST = "images.json"


def made(path: Path, size: int) -> int:
    """Return how many images of this size a folder holds, as its manifest says and its files bear out; 0 for none."""
    try:
        manifest: dict[str, Any] = json.loads((path / MANIFEST).read_text())
    except (OSError, ValueError):
        return 0
    count = manifest.get("count", 0)
    whole = manifest.get("size") == size and len(list(path.glob("*.jpg"))) == count
    return int(count) if whole else 0


def make(path: Path, size: int, count: int) -> None:
    """Write the images beside the folder and put them in place at once, so that no reader ever finds half of them."""
    part = path.with_name(path.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    colours = random.Random(size)
    for index in range(count):
        grid = Image.frombytes("RGB", (GRID, GRID), colours.randbytes(GRID * GRID * 3))
        grid.resize((size, size), Image.Resampling.BICUBIC).save(part / f"{index:06d}.jpg", quality=QUALITY)
    (part / MANIFEST).write_text(json.dumps({"count": count, "size": size}))
    shutil.rmtree(path, ignore_errors=True)
    part.rename(path)


def main() -> None:
    context = current()
    parser = argparse.ArgumentParser(description=__doc__)
    data_options(parser)
    args, _ = parser.parse_known_args()  # the benchmark's other options are none of ours
    if is_synthetic(args):
        print("synthetic data: nothing to prepare")
        return
    path = folder(args, context)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(path.name + ".lock").open("w") as lock:  # two benchmarks may want the same set
        fcntl.flock(lock, fcntl.LOCK_EX)
        if made(path, args.image_size) >= args.num_images:
            print(f"{path}: already there")
            return
        if path.exists() and not (path / MANIFEST).exists():
            raise SystemExit(f"{path} holds something else and is left alone: name another folder with --data")
        make(path, args.image_size, args.num_images)
        print(f"{path}: {args.num_images} images of {args.image_size}x{args.image_size}")


if __name__ == "__main__":
    main()
