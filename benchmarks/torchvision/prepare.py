"""Make the images that the benchmark decodes: the same every time, and all of them or none."""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path
from typing import Any

from images import data_options, folder, is_synthetic
from PIL import Image

from benchmate.context import current
from benchmate.prepared import make_once

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
    colours = random.Random(size)
    for index in range(count):
        grid = Image.frombytes("RGB", (GRID, GRID), colours.randbytes(GRID * GRID * 3))
        grid.resize((size, size), Image.Resampling.BICUBIC).save(path / f"{index:06d}.jpg", quality=QUALITY)
    (path / MANIFEST).write_text(json.dumps({"count": count, "size": size}))


def main() -> None:
    context = current()
    parser = argparse.ArgumentParser(description=__doc__)
    data_options(parser)
    args, _ = parser.parse_known_args()  # the benchmark's other options are none of ours
    if is_synthetic(args):
        print("synthetic data: nothing to prepare")
        return
    size, count, path = args.image_size, args.num_images, folder(args, context)
    new = make_once(
        path,
        manifest=MANIFEST,
        whole=lambda found: made(found, size) >= count,
        make=lambda part: make(part, size, count),
    )
    print(f"{path}: {f'{count} images of {size}x{size}' if new else 'already there'}")


if __name__ == "__main__":
    main()
