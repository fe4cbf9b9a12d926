"""``milabench status``: how far a run is, seen from outside of it."""

from __future__ import annotations

from pathlib import Path

from milabench.app.report import find_run
from milabench.follow.run import Watch


def status(name: str | None, base: Path) -> Watch:
    """Return what looks at a run, given by folder or name; the newest by default. Changes nothing there.

    Raises RunDirError where there is no such run, or no plan in it.
    """
    return Watch(find_run(name, base))
