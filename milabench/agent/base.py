"""Which nodes have the same base: each leaves a mark of its own in it, then says whose marks it sees.

A folder of a new name takes the marks, so that no cache of a network file system can know it from before, and no copy
of a base has them.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def mark(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Leave the mark of a ``name`` in the ``base``; with ``make`` the base is made where there is none.

    Without a base there is no mark. Raises OSError where it cannot be written.
    """
    base = Path(asked["base"])
    if not asked["make"] and not base.is_dir():
        return {"event": "marked", "marked": False}
    folder = _folder(asked)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{asked['name']}{_END}").touch()
    return {"event": "marked", "marked": True}


def marks(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Say whose marks are in the ``base``."""
    folder = _folder(asked)
    found = folder.glob(f"*{_END}") if folder.is_dir() else ()
    return {"event": "marks", "names": sorted(path.name.removesuffix(_END) for path in found)}


def unmark(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Take all marks away, whoever left them."""
    shutil.rmtree(_folder(asked), ignore_errors=True)
    return {"event": "unmarked"}


_END = ".mark"  # the operator's machine, which is no node, has no name


def _folder(asked: Mapping[str, Any]) -> Path:
    return Path(asked["base"], f".marks-{asked['session']}")
