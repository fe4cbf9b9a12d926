"""Data that is made once, and found whole or not at all, whoever else wants it at the same time."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Callable
from pathlib import Path


def make_once(path: Path, *, manifest: str, whole: Callable[[Path], bool], make: Callable[[Path], object]) -> bool:
    """Make a folder of data unless it is ``whole``; return whether it was made.

    ``make`` writes into an empty folder beside it, the file named ``manifest`` last; then that takes its place at once.
    Ends the program where the path holds something without a manifest, which is somebody else's.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f"{path.name}.lock").open("w") as lock:  # two benchmarks may want the same data
        fcntl.flock(lock, fcntl.LOCK_EX)
        if whole(path):
            return False
        if path.exists() and not (path / manifest).exists():
            raise SystemExit(f"{path} holds something else and is left alone: name another folder")
        part = path.with_name(f"{path.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        try:
            make(part)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
        shutil.rmtree(path, ignore_errors=True)
        part.rename(path)
        return True
