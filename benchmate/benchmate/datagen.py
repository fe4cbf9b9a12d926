"""A made-up ImageNet: folders of JPEG files of noise, for what reads images from disk. Needs Pillow."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

from benchmate.context import current

CLASSES: Final = 1000
FOLDER: Final = "FakeImageNet"
_WORKERS: Final = 8


def generate_fakeimagenet(args: Any = None) -> None:
    """Write ``FakeImageNet`` with splits train, val and test below ``args.output``, or add what is missing to it.

    ``args`` is what ``fakeimagenet_args`` returns, by default of the command line. An image is the same wherever it is
    made. Ends the program where no folder is named.
    """
    args = fakeimagenet_args() if args is None else args
    if args.output is None:
        raise SystemExit("where to? --output FOLDER, or MILABENCH_DIR_DATA")
    total = args.batch_size * args.batch_count * args.device_count
    sizes = {"train": total, "val": int(total * _first(args.val)), "test": int(total * _first(args.test))}
    root = Path(args.output, FOLDER)
    generate_sets(root, sizes, args.image_size)
    labels = sorted({int(path.name) for path in root.glob("*/*/") if path.name.isdigit()})
    (root / "labels.txt").write_text("".join(f"{label},{label}\n" for label in labels))


def fakeimagenet_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Return how much to make, of the command line by default; other arguments on it are for others."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--batch-count", type=int, default=60)
    parser.add_argument("--device-count", type=int, default=device_count())
    parser.add_argument("--device", default=None)
    parser.add_argument("--image-size", type=int, nargs="+", default=[3, 384, 384], help="channels, height, width")
    parser.add_argument("--val", type=float, nargs="+", default=0.1, help="images, as a share of those to train on")
    parser.add_argument("--test", type=float, nargs="+", default=0.1)
    parser.add_argument("--output", default=current().dirs.get("data"))
    return parser.parse_known_args(argv)[0]


def generate_sets(root: str | Path, sets: Mapping[str, int], shape: Sequence[int]) -> None:
    """Write so many images into each split's folder, in folders by class; those there already count.

    Which numbers a set that was broken off lacks is found by the names of its files: they were made in any order.
    """
    there = count_images(root)
    for split, wanted in sets.items():
        # what reads the splits of ImageNet goes by its names of files
        prefix = "" if split == "train" else f"ILSVRC2012_{split}_"
        if there[split] < wanted:
            sys.stderr.write(f"{root}: {split}: {there[split]} images, making {wanted - there[split]}\n")
            lacking = (number for number in range(wanted) if not _path(Path(root, split), prefix, number).exists())
            _generate(shape, list(islice(lacking, wanted - there[split])), Path(root, split), prefix)
    Path(root).mkdir(parents=True, exist_ok=True)
    Path(root, "done").write_text(json.dumps(dict(sets)))


def generate(image_size: Sequence[int], n: int, outdir: str | Path, prefix: str = "", start: int = 0) -> None:
    """Write ``n`` images of (channels, height, width) into folders by class, numbered from ``start``."""
    _generate(image_size, range(start, start + n), outdir, prefix)


def _generate(image_size: Sequence[int], numbers: Sequence[int], outdir: str | Path, prefix: str) -> None:
    work = [(number, str(outdir), prefix, tuple(image_size)) for number in numbers]
    # A fresh interpreter each: a fork would break what a caller may have started (devices, threads).
    with multiprocessing.get_context("spawn").Pool(min(os.cpu_count() or 1, _WORKERS, max(1, len(work)))) as pool:
        for _ in pool.imap_unordered(write, work, chunksize=16):
            pass


def write(work: tuple[int, str, str, tuple[int, ...]]) -> None:
    """Write one image, whole or not at all: its number, the split's folder, the beginning of its name, and its size."""
    from PIL import Image  # type: ignore[import-not-found,unused-ignore]

    number, outdir, prefix, (channels, height, width) = work
    mode = {1: "L", 3: "RGB"}[channels]
    noise = random.Random(number).randbytes(channels * height * width)
    path = _path(Path(outdir), prefix, number)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    Image.frombytes(mode, (width, height), noise).save(part, format="JPEG")
    part.replace(path)


def _path(folder: Path, prefix: str, number: int) -> Path:
    name = f"{prefix}{number:08d}" if prefix else f"{number % CLASSES}_{number}"
    return folder / str(number % CLASSES) / f"{name}.JPEG"


def count_images(path: str | Path) -> Counter[str]:
    """Return how many images each split has."""
    return Counter(file.parts[-3] for file in Path(path).glob("*/*/*.JPEG"))


def device_count() -> int:
    """Return the number of devices that torch sees, at least 1."""
    try:
        import torch
    except ImportError:
        return 1
    return max(1, torch.accelerator.device_count()) if torch.accelerator.is_available() else 1


def _first(value: Any) -> float:
    return float(value[0] if isinstance(value, (list, tuple)) else value)


if __name__ == "__main__":
    generate_fakeimagenet()
