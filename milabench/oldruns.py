"""Runs as others left them: of milabench's first releases, several in a folder, packed in an archive."""

from __future__ import annotations

import contextlib
import lzma
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from milabench.errors import RunDirError
from milabench.rundir import Files, RunDir, is_run, is_setup, open_run

_READ = (".data", ".json", ".jsonl", ".steps")  # what a report reads of a run
_MOST_BYTES = 16 << 30
_MIB = 1 << 20
_DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, ValueError)


class FirstRun(RunDir):
    """A run of milabench before 2023-03-27 (v0.0.1 and earlier): what a process did stands in ``<tag>.json``."""

    def tags(self) -> tuple[str, ...]:
        return tuple(sorted(path.name.removesuffix(".json") for path in _first_files(self.path)))

    def files(self, tag: str) -> Files:
        return replace(super().files(tag), lines=".json")


def open_any(path: Path) -> RunDir:
    """Open a run of any release to read. Raises RunDirError for none, with the runs in its folders where there are."""
    if is_run(path) or not path.is_dir():
        return open_run(path)
    if next(_first_files(path), None):
        return FirstRun(path)
    within = sorted(each.name for each in path.iterdir() if each.is_dir() and _holds_run(each))
    if within:
        raise RunDirError(f"{path} holds no run itself: give one or several of {', '.join(within)}")
    return open_run(path)


@contextlib.contextmanager
def unpacked(archive: Path) -> Iterator[dict[Path, RunDir]]:
    """Unpack the runs of a zip archive for as long as they are read, by their paths as if it were a folder.

    Raises RunDirError where there are none in it.
    """
    with tempfile.TemporaryDirectory(prefix="milabench-") as made:
        folder = Path(made) / archive.stem  # the name of a run that is packed without its folder
        _unpack(archive, folder)
        found = sorted(path for path in (folder, *folder.rglob("*")) if path.is_dir() and _holds_run(path))
        if not found:
            raise RunDirError(f"{archive} holds no run: give an archive of the folder of a run, or of several")
        yield {archive / path.relative_to(folder): open_any(path) for path in found}


def is_archive(path: Path) -> bool:
    """Say whether a path is that of a zip archive; what cannot be looked at is none."""
    return zipfile.is_zipfile(path)


def _unpack(archive: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(archive) as packed:
            members = [member for member in packed.infolist() if member.filename.endswith(_READ)]
            _check_room(archive, folder.parent, sum(member.file_size for member in members))
            packed.extractall(folder, members)
    except (*_DAMAGED, OSError, RuntimeError, NotImplementedError) as error:
        why = str(error) or "it ends too early"
        raise RunDirError(f"{archive} cannot be unpacked ({why}): unpack it and give its folders") from None


def _check_room(archive: Path, where: Path, size: int) -> None:
    """Raise RunDirError where an archive is too large to be unpacked in passing."""
    if size > _MOST_BYTES:
        raise RunDirError(f"{archive} is over {_MOST_BYTES >> 30} GiB unpacked: unpack it and give its folders")
    if size > (free := shutil.disk_usage(where).free):
        raise RunDirError(
            f"{archive} is {size / _MIB:.0f} MiB unpacked, and {free / _MIB:.0f} MiB are free in {where.parent}: set"
            " TMPDIR to a folder with room, or unpack it and give its folders"
        )


def _holds_run(path: Path) -> bool:
    return not is_setup(path) and (is_run(path) or next(_first_files(path), None) is not None)


def _first_files(path: Path) -> Iterator[Path]:
    """Yield the files of processes of a run of the first releases: they begin with the runner's ``#start``."""
    for each in path.glob("*.json"):
        with contextlib.suppress(OSError), each.open("rb") as file:
            if file.read(3) == b'{"#':
                yield each
