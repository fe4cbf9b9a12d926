"""Paths as users write them, looked at without an error; and paths made once for all the jobs that name them."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from pathlib import Path

_HOME = "$HOME"


def expanded(name: str) -> Path:
    """Return a path with ``~``, ``$HOME`` and ``~user`` as home folders; that of a user who is not there stays so."""
    said = f"~{name.removeprefix(_HOME)}" if name == _HOME or name.startswith(f"{_HOME}/") else name
    return Path(os.path.expanduser(said))  # noqa: PTH111 - Path's raises for no user


def exists(path: Path | str) -> bool:
    """Return whether something is there; what cannot be looked at (a name too long, a closed folder) is not."""
    return os.path.exists(path)  # noqa: PTH110 - Path's raises for what cannot be looked at


def is_folder(path: Path | str) -> bool:
    """Return whether a path is that of a folder; what cannot be looked at is none."""
    return os.path.isdir(path)  # noqa: PTH112 - Path's raises for what cannot be looked at


@functools.lru_cache(maxsize=4096)
def shared(path: str) -> Path:
    """Return a path as one object for all who name it: thousands of jobs share a few folders."""
    return Path(path)


@functools.lru_cache(maxsize=4096)
def joined(folder: Path, name: str) -> Path:
    """Return ``folder / name`` as one object for all who name it."""
    return folder / name


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Return where milabench keeps what it can make again, for one user."""
    return expanded(environ.get("XDG_CACHE_HOME") or "~/.cache") / "milabench"
