"""Paths as benchfile authors use them."""

from __future__ import annotations

import shutil
from pathlib import Path


class XPath(type(Path())):  # type: ignore[misc]  # pathlib picks its concrete class at run time
    """A path that also removes, copies and cleans what it names."""

    def rm(self) -> None:
        """Remove the file or the whole folder; nothing there is no error."""
        if self.is_dir() and not self.is_symlink():
            shutil.rmtree(self)
        else:
            self.unlink(missing_ok=True)

    def clean(self) -> None:
        """Make it an empty folder."""
        self.rm()
        self.mkdir(parents=True)

    def copy(self, destination: str | Path) -> None:
        """Copy the file or folder to a path."""
        if self.is_dir():
            shutil.copytree(self, destination, dirs_exist_ok=True)
        else:
            shutil.copy2(self, destination)
