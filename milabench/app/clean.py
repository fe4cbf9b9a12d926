"""``milabench clean``: what a base holds by kind, how much, and how to be rid of it."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from milabench.errors import PreflightError

# What belongs together is removed together: an environment's record says what was done in the staged folders, and the
# records of preparations (below extra/) say that the data is there.
KINDS: Mapping[str, tuple[str, ...]] = {
    "environments": ("venv", "code"),
    "caches": ("cache",),
    "data": ("data", "extra"),
    "runs": ("runs",),
}
DEFAULT = ("environments", "caches", "data")


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """The folders of a kind that are there, and the bytes of disk that come free with them.

    Files with a further link (the installer's cache has one) take no room of their own.
    """

    kind: str
    paths: Sequence[Path]
    size_bytes: int


def amounts(base: Path, kinds: Sequence[str]) -> list[Amount]:
    """Return what is there of each kind."""
    found = []
    for kind in kinds:
        paths = [path for name in KINDS[kind] if (path := base / name).is_dir()]
        if paths:
            found.append(Amount(kind=kind, paths=paths, size_bytes=sum(map(_size, paths))))
    return found


def clean(base: Path, found: Sequence[Amount]) -> None:
    """Remove it. Raises PreflightError where another milabench is at work in the base; then nothing is removed."""
    for lock in _locks(base):
        if _is_held(lock):
            raise PreflightError(f"another milabench is at work in {base} (it holds {lock}): wait for it, or end it")
    for amount in found:
        for path in amount.paths:
            shutil.rmtree(path)


def _size(folder: Path) -> int:
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            status = os.lstat(os.path.join(root, name))  # noqa: PTH118 - hundreds of thousands of files
            total += status.st_blocks * 512 if status.st_nlink == 1 else 0
    return total


def _locks(base: Path) -> Iterator[Path]:
    for pattern in ("runs/*/run.lock", "venv/*.lock", "extra/*/prepared/*.lock"):
        yield from sorted(base.glob(pattern))


def _is_held(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
