"""Files that change as a whole: nobody finds half of one."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def partial_of(path: Path) -> Path:
    """Return where what is to take the place of a file is written."""
    return path.with_name(f".{path.name}.partial")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield where to write what takes the place of a file, by a rename, once it is whole; what fails leaves nothing.

    Nobody else writes there, whoever makes the same file at the same time, on whichever node of a shared base.
    """
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        yield partial
        partial.replace(path)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise
