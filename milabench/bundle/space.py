"""Room for the files of a bundle: looked for before any is written, and what is said where there is none."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Final

from milabench.amounts import size
from milabench.errors import PreflightError
from milabench.room import is_full

_BLOCK: Final = 4096  # bytes, of most file systems


def require(what: str, wanted: Iterable[tuple[Path, int]], remedy: str) -> None:
    """Raise PreflightError where files of these sizes (bytes) do not fit onto their disks; OSError for a folder.

    What lies at the place of one comes free.
    """
    needed, folders = Counter[int](), dict[int, Path]()
    folder_of = lru_cache(maxsize=1024)(_existing)
    for path, amount in wanted:
        folder, device = folder_of(path.parent)
        folders.setdefault(device, folder)
        needed[device] += -(-amount // _BLOCK) * _BLOCK - _taken(path)
    for device, amount in needed.items():
        free = shutil.disk_usage(folders[device]).free
        if amount > free:
            where = f"on the disk of {folders[device]}, where {size(free)} is free"
            raise PreflightError(f"{what} needs {size(amount)} {where}: {remedy}")


@contextmanager
def found(what: str, folder: Path, remedy: str) -> Iterator[None]:
    """Raise PreflightError where the disk of a folder is full, be it by what others write meanwhile."""
    try:
        yield
    except OSError as error:
        if not is_full(error):
            raise
        raise PreflightError(f"{what}: no room is left on the disk of {folder}: {remedy}") from None


def _existing(folder: Path) -> tuple[Path, int]:
    """Return the folder, or the next above it that is there, and the number of its disk."""
    for each in (folder, *folder.parents):
        if each.is_dir():
            return each, each.stat().st_dev
    return folder, -1


def _taken(path: Path) -> int:
    try:
        return path.lstat().st_blocks * 512
    except OSError:
        return 0
