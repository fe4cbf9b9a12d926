"""Paths as benchfile authors use them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlparse

_WRITABLE = 0o200
_READ_ONLY = 0o555


class XPath(type(Path())):  # type: ignore[misc]  # pathlib picks its concrete class at run time
    """A path that also fetches, removes, copies and edits what it names."""

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
        """Copy the file or folder to a path; folders on the way are made."""
        Path(destination).parent.mkdir(parents=True, exist_ok=True)
        if self.is_dir():
            shutil.copytree(self, destination, dirs_exist_ok=True)
        else:
            shutil.copy2(self, destination)

    def merge_into(
        self, dest: str | Path, manifest: str | Path = "*", move: bool = False, readonly: bool = False
    ) -> None:
        """Copy (or move) the files that a manifest names into another folder, over what is there.

        The manifest, a text or a file of it, has a pattern a line as ``.gitignore`` has them; git reads them.
        ``readonly`` leaves the copies without write permission.
        """
        text = manifest
        if isinstance(manifest, Path):
            text = manifest.read_text() if manifest.exists() else ""
        for name in _matching(self, str(text)):
            target = Path(dest) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.exists():
                target.chmod(target.stat().st_mode | _WRITABLE)
            (shutil.move if move else shutil.copy2)(self / name, target)
            if readonly:
                target.chmod(target.stat().st_mode & _READ_ONLY)

    def prepend_lines(self, *lines: str) -> None:
        """Put lines before those of the file."""
        self.write_text("".join(f"{line}\n" for line in lines) + self.read_text())

    def append_lines(self, *lines: str) -> None:
        """Put lines after those of the file."""
        text = self.read_text()
        end = "" if text.endswith("\n") or not text else "\n"
        self.write_text(text + end + "".join(f"{line}\n" for line in lines))

    def sub(self, pattern: str, replacement: object) -> None:
        """Replace what a regular expression matches in the file."""
        self.write_text(re.sub(pattern, str(replacement), self.read_text()))

    def download(self, url: str, dest: str | Path | None = None) -> None:
        """Fetch a file into this folder, under the last part of its address or the name given; whole or not at all."""
        import urllib.request  # takes as long to import as all the rest of milabench

        target = self / (dest or urlparse(url).path.rsplit("/", 1)[-1])
        partial = target.with_name(f".{target.name}.partial")
        with urllib.request.urlopen(url) as source, partial.open("wb") as file:  # noqa: S310 - the author's own address
            shutil.copyfileobj(source, file)
        partial.replace(target)

    def clone_subtree(
        self, remote: str, commit: str, subtree: str | None = None, dest: str | Path | None = None
    ) -> XPath:
        """Put what a git repository holds at a commit or branch (or a folder of it) into a folder, this one by default.

        Only that commit is fetched, and its history is left out. Raises CalledProcessError with git's own message
        above it.
        """
        target = self if dest is None else self / dest
        with tempfile.TemporaryDirectory() as folder:
            _git(folder, "init", "--quiet")
            _git(folder, "remote", "add", "origin", remote)  # where git-lfs looks for its files, too
            _git(folder, "fetch", "--quiet", "--depth", "1", "origin", commit)
            _git(folder, "checkout", "--quiet", "FETCH_HEAD", *(["--", subtree] if subtree else []))
            source = Path(folder) / (subtree or ".")
            ignore = shutil.ignore_patterns(".git")
            shutil.copytree(source, target, dirs_exist_ok=True, symlinks=True, ignore=ignore)
        return XPath(target)


def _git(folder: str | os.PathLike[str], *arguments: str) -> str:
    argv = ["git", "-C", os.fspath(folder), *arguments]
    return subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True).stdout


def _matching(folder: Path, patterns: str) -> list[str]:
    """Return the files below a folder that ``.gitignore`` patterns match, as git itself says."""
    with _repository() as repository, tempfile.NamedTemporaryFile("w", suffix=".manifest") as file:
        file.write(patterns)
        file.flush()
        tree = (f"--git-dir={repository}", f"--work-tree={folder.absolute()}")
        listed = ("ls-files", "--others", "--ignored", "-z", f"--exclude-from={file.name}")
        return [name for name in _git(folder, *tree, *listed).split("\0") if name]


@contextmanager
def _repository() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        _git(folder, "init", "--quiet", "--bare")
        yield folder
