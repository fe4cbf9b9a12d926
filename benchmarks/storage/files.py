"""The files that are read: where they lie, how large they are, and whether they are whole."""

from __future__ import annotations

import argparse
import json
import math
import random
import shutil
from pathlib import Path
from typing import Any

from benchmate.arguments import size
from benchmate.context import Context

PATTERNS = ("sequential", "random", "loader")
OPERATIONS = ("read", "write")
SPREAD = 0.5  # of the sizes of many files, as the deviation of their logarithm: roughly that of photographs
PER_FOLDER = 1000
MANIFEST = "files.json"
SPARE = 64 << 20  # of disk space that is left alone


def data_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that prepare.py and main.py share."""
    parser.add_argument("--pattern", choices=PATTERNS, default="sequential", help="blocks of one file, or whole files")
    parser.add_argument("--operation", choices=OPERATIONS, default="read", help="the loader only reads")
    parser.add_argument(
        "--path", type=Path, help="folder on the file system to measure; by default in milabench's data"
    )
    parser.add_argument("--file-size", type=size, default="1G", help="of the file; of many files the mean")
    parser.add_argument("--num-files", type=int, default=1024, help="that the loader reads; the others take one")


def check_room(path: Path, length: int) -> None:
    """End the program where that many bytes do not fit on a folder's file system."""
    if shutil.disk_usage(path).free < length + SPARE:
        raise SystemExit(f"{path}: {length} bytes do not fit on this file system: ask for less")


def root(args: argparse.Namespace, context: Context) -> Path:
    return args.path or Path(context.dirs.get("data", "data")) / "storage"


def number(args: argparse.Namespace) -> int:
    return int(args.num_files) if args.pattern == "loader" else 1


def folder(args: argparse.Namespace, context: Context) -> Path:
    """Return where the files are; sets of different sizes lie side by side."""
    return root(args, context) / f"{number(args)}x{args.file_size}"


def sizes(count: int, mean: int) -> list[int]:
    """Return the sizes of the files in bytes, the same every time: all alike where there is one, else log-normal."""
    if count == 1:
        return [mean]
    draw, middle = random.Random(count), math.log(mean) - SPREAD**2 / 2
    return [max(1, round(draw.lognormvariate(middle, SPREAD))) for _ in range(count)]


def name(index: int) -> str:
    return f"{index // PER_FOLDER:04d}/{index:07d}.bin"


def whole(path: Path) -> bool:
    """Return whether a folder holds all its files, as its manifest says and their sizes bear out."""
    try:
        manifest: dict[str, Any] = json.loads((path / MANIFEST).read_text())
        found = [file.stat().st_size for file in path.rglob("*.bin")]
    except (OSError, ValueError):
        return False
    return len(found) == manifest.get("count") and sum(found) == manifest.get("bytes")
