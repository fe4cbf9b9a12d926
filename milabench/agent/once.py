"""Work that is needed once: a lock, a record of what has been done, and nothing half done taken for done."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from milabench.agent import locks, packages
from milabench.agent.files import replacing


def read(record: str) -> dict[str, Any] | None:
    """Return what a record says has been done; None when there is none or it is unreadable (then nothing counts)."""
    try:
        value = json.loads(Path(record).read_text())
    except (OSError, ValueError):
        return None
    whole = isinstance(value, dict) and all(isinstance(value.get(name), dict) for name in ("base", "parts"))
    return value if whole else None


def done(once: dict[str, Any]) -> bool:
    """Say whether a record covers all that is asked: the same base, and every part as asked."""
    found = read(once["record"])
    return found is not None and found["base"] == once["base"] and once["parts"].items() <= found["parts"].items()


def state(once: dict[str, Any]) -> dict[str, Any]:
    """Return what stands between an environment as it is and as it is asked for.

    ``made``: it has a record, and its interpreter is there; ``base``: what it was made of, and what is asked, where
    they differ; ``parts``: those that are not as asked; ``changed``: packages that are not as they were installed, None
    where the record does not say.
    """
    found, folder = read(once["record"]), once["folder"]
    of_image = "image" in once["base"]  # a link to the image's Python leads nowhere outside of a container
    there = os.path.lexists(f"{folder}/bin/python") if of_image else os.access(f"{folder}/bin/python", os.X_OK)
    if found is None or not there:
        return {"made": False, "base": {}, "parts": [], "changed": None}
    was = found.get("packages")
    return {
        "made": True,
        "base": packages.changes(found["base"], once["base"]),
        "parts": [name for name, value in once["parts"].items() if found["parts"].get(name) != value],
        "changed": packages.changes(was, packages.versions(folder)) if isinstance(was, dict) else None,
    }


class Guarded:
    """One piece of such work, from its lock to its record. ``begin`` says ``locked``, ``done`` or ``needed``.

    ``stale``: a folder that is half made, or made of another base: whoever begins removes it first.
    """

    def __init__(self, once: dict[str, Any]) -> None:
        self._once = once
        self.stale: str | None = None
        self._lock: int | None = None
        self._parts: dict[str, str] = {}
        self._by_hand: dict[str, list[str | None]] = {}  # packages that are not as the record has them

    def begin(self) -> str:
        """Take the lock and look. Raises OSError, and holds no lock then."""
        once = self._once
        if not once["always"] and done(once):
            return "done"
        lock = Path(f"{once['folder'] or once['record']}.lock")
        lock.parent.mkdir(parents=True, exist_ok=True)
        self._lock = locks.take(str(lock))
        if self._lock is None:
            return "locked"
        try:
            return self._look()
        except OSError:
            self.end(done=False)
            raise

    def _look(self) -> str:
        once, folder = self._once, self._once["folder"]
        self.stale = None
        found = read(once["record"])
        if not once["always"] and done(once):
            self.end(done=False)
            return "done"
        reusable = found is not None and found["base"] == once["base"]
        if found is not None and reusable:
            self._parts = found["parts"]
            if folder is not None and "packages" in found:
                self._by_hand = packages.changes(found["packages"], packages.versions(folder))
        if folder is not None and not reusable and os.path.lexists(folder):
            self.stale = folder
        if self.stale is not None or not once["keep"]:
            Path(once["record"]).unlink(missing_ok=True)
        return "needed"

    def end(self, *, done: bool) -> None:
        """Write the record if the work was done, and let the lock go."""
        if self._lock is None:
            return
        try:
            if done:
                self._write_record()
        finally:
            os.close(self._lock)
            self._lock = None

    def _write_record(self) -> None:
        record = Path(self._once["record"])
        record.parent.mkdir(parents=True, exist_ok=True)
        content = {"base": self._once["base"], "parts": {**self._parts, **self._once["parts"]}}
        if self._once["folder"] is not None and (Path(self._once["folder"]) / "pyvenv.cfg").exists():
            content["packages"] = self._installed(self._once["folder"])
        with replacing(record) as partial:
            partial.write_text(json.dumps(content, indent=1))

    def _installed(self, folder: str) -> dict[str, str]:
        """Return the packages of an environment; what was changed by hand before this work stays a change."""
        found = packages.versions(folder)
        for name, (recorded, seen) in self._by_hand.items():
            if found.get(name) == seen:
                found.pop(name, None)
                found |= {} if recorded is None else {name: recorded}
        return found
