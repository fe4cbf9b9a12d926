"""Which nodes have the same base: each leaves a mark of its own in it, then says whose marks it sees.

A folder of a new name takes the marks, so that no cache of a network file system can know it from before, and no copy
of a base has them.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from milabench.agent.conditions import disk


def mark(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Leave the mark of a ``name`` in the ``base``; where there is none, ``absent`` says what is done.

    It is made (``make``), or there is no mark: whatever the reason (``leave``), or unless it could not be made
    (``check``). Raises OSError where it cannot be written.
    """
    base = Path(asked["base"])
    if asked["absent"] != "make" and not base.is_dir():
        if asked["absent"] == "check":
            _check_makeable(base)
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


def _check_makeable(base: Path) -> None:
    found = disk(base)
    if found is not None and not found["writable"]:
        raise PermissionError(errno.EACCES, "it is not there, and cannot be made", str(base))


def _folder(asked: Mapping[str, Any]) -> Path:
    return Path(asked["base"], f".marks-{asked['session']}")
