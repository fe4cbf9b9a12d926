"""What a base holds, how large it is, and being rid of it, on whatever node it lies."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from milabench.agent.greeting import private_folder
from milabench.agent.locks import take


def sizes(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Say which folders of each kind (``kinds``: their names) the ``base`` has, and the bytes that come free with them.

    Files with a further link (the installer's cache has one) take no room of their own. Raises OSError.
    """
    found = {}
    for kind, names in asked["kinds"].items():
        folders = [path for name in names if (path := Path(asked["base"], name)).is_dir()]
        if folders:
            found[kind] = {"folders": [*map(str, folders)], "size_bytes": sum(map(_size, folders))}
    return {"event": "sizes", "kinds": found}


def remove(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Remove ``folders`` of the ``base``; of one that is a link, what it leads to.

    Nobody else can begin to work in the base meanwhile. ``kept`` says why nothing was removed (another milabench is at
    work there, on another machine's behalf where ``elsewhere``, or the folder is no base), or not all: a file of
    somebody else, say. Raises OSError.
    """
    base = Path(asked["base"])
    if not _is_base(base):
        why = f"{base} holds nothing that milabench has made: give the --base of a suite's runs"
        return {"event": "removed", "kept": why}
    with ExitStack() as held:
        for lock in _locks(base, elsewhere=asked["elsewhere"]):
            if not _hold(lock, held):
                why = f"another milabench is at work in {base} (it holds {lock}): wait for it, or end it"
                return {"event": "removed", "kept": why}
        for folder in asked["folders"]:
            try:
                _remove(Path(folder))
            except OSError as error:
                why = (
                    f"{folder} could not be removed whole ({error.strerror}: {error.filename}): remove the rest by hand"
                )
                return {"event": "removed", "kept": why}
    return {"event": "removed", "kept": None}


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


def _locks(base: Path, *, elsewhere: bool) -> Iterator[Path]:
    made = ("venv/*.lock", "sources/*/*.lock", "extra/*/prepared/*.lock", "bundles/.lock", "cache/packing/.lock")
    for pattern in ("runs/*/run.lock", *made):
        yield from sorted(base.glob(pattern))
    if elsewhere:  # what runs there for a run whose folder is on another machine
        yield from sorted(private_folder().glob("*.lock"))


def _hold(path: Path, held: ExitStack) -> bool:
    """Hold a lock as long as ``held`` lasts; return False where another process does."""
    descriptor = take(str(path))
    if descriptor is None:
        return False
    held.callback(os.close, descriptor)
    return True
