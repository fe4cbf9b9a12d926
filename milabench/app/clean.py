"""``milabench clean``: what a base holds by kind, how much, and how to be rid of it."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from milabench.errors import PreflightError

# What belongs together is removed together: an environment's record says what was done in the staged folders, and of
# which commits of what was fetched; the records of preparations (below extra/) say that the data is there.
KINDS: Mapping[str, tuple[str, ...]] = {
    "environments": ("venv", "code", "sources", "bundles"),
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
    """Remove it; of a kind that is a link, what it leads to. Nobody else can begin to work in the base meanwhile.

    Raises PreflightError where another milabench is at work there, or the folder is no base; then nothing is removed.
    """
    if not _is_base(base):
        raise PreflightError(f"{base} holds nothing that milabench has made: give the --base of a suite's runs")
    with ExitStack() as held:
        for lock in _locks(base):
            held.enter_context(_held(lock, base))
        for amount in found:
            for path in amount.paths:
                _remove(path)


def _is_base(base: Path) -> bool:
    """Say whether milabench has worked in a folder: others have a ``data`` or a ``code`` of their own, too."""
    made = ("venv/*/.milabench.json", "venv/*.lock", "code/*/.milabench-staged.json", "cache/wheels", "extra/setup")
    return any(any(base.glob(pattern)) for pattern in (*made, "extra/*/prepared", "runs/*/plan.json"))


def _remove(path: Path) -> None:
    if not path.is_symlink():
        shutil.rmtree(path)
        return
    for child in path.iterdir():
        if child.is_dir() and not child.is_symlink():
            shutil.rmtree(child)
        else:
            child.unlink()


def _size(folder: Path) -> int:
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            status = os.lstat(os.path.join(root, name))  # noqa: PTH118 - hundreds of thousands of files
            total += status.st_blocks * 512 if status.st_nlink == 1 else 0
    return total


def _locks(base: Path) -> Iterator[Path]:
    made = ("venv/*.lock", "sources/*/*.lock", "extra/*/prepared/*.lock", "bundles/.lock", "cache/packing/.lock")
    for pattern in ("runs/*/run.lock", *made):
        yield from sorted(base.glob(pattern))


@contextmanager
def _held(path: Path, base: Path) -> Iterator[None]:
    """Hold a lock for a block. Raises PreflightError where another process does."""
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise PreflightError(
            f"another milabench is at work in {base} (it holds {path}): wait for it, or end it"
        ) from None
    finally:
        os.close(descriptor)
