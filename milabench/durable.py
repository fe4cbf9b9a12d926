"""Files that are put in place whole, and are on the disk then."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path


def partial_of(path: Path) -> Path:
    """Return where a file is written before it is put in place."""
    return path.with_name(f"{path.name}.partial")


def write_json(path: Path, value: object) -> None:
    write(path, [json.dumps(value, indent=1)])


def write(path: Path, texts: Iterable[str]) -> None:
    partial = partial_of(path)
    try:
        with partial.open("w") as file:
            file.writelines(texts)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        partial.unlink(missing_ok=True)
        raise
    partial.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """See to the disk what was written to a file, or which names a folder holds."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
