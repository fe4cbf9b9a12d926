"""Unpacking a bundle below a base: each file checked, those in place by a rename, none outside of the base."""

from __future__ import annotations

import fcntl
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Final, TypeVar

from milabench.agent.files import replacing
from milabench.bundle import placed, space
from milabench.bundle.manifest import (
    BELOW_BASE,
    MANIFEST,
    Hashed,
    Manifest,
    Packed,
    is_below_base,
    leads_below,
    parsed,
)
from milabench.bundle.placed import Placing
from milabench.errors import PreflightError, UsageError
from milabench.plan.site import BUNDLES
from milabench.rundir import RunDir

T = TypeVar("T")
_PIECE: Final = 1 << 20
_REMEDY: Final = "make room there, or choose another --base"
_AGAIN: Final = "copy it again, or pack it anew"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A bundle's file: its manifest, and the folder below a base that it is unpacked into."""

    path: Path
    base: Path
    text: bytes
    manifest: Manifest
    folder: Path

    @property
    def is_unpacked(self) -> bool:
        return (self.folder / MANIFEST).exists()

    @property
    def is_in_place(self) -> bool:
        """Whether it is unpacked, and what lies below the base is its own: no other was placed there since."""
        return self.is_unpacked and placed.read(self.base).bundle == self.folder.name


def find(path: Path, base: Path) -> Bundle:
    """Return what a bundle's file says of itself. Raises PreflightError, UsageError where there is no such file."""
    with _opened(path) as archive:
        text = _taken(path, lambda: _first(archive, path))
    folder = base / BUNDLES / sha256(text).hexdigest()[:12]
    return Bundle(path=path, base=base, text=text, manifest=parsed(text, path), folder=folder)


def unpack(found: Bundle, tell: Callable[[str], object]) -> None:
    """Have a bundle unpacked, and its files below the base, each file checked; what is there already is left alone.

    ``tell`` is told what is written. Raises PreflightError where any file is missing, cut or changed, where there is
    no room, and where a file of somebody's own would be written over; what is unpacked then counts for nothing.
    """
    _check_names(found)
    if found.is_in_place and not _needed(found).lacking:
        return
    with _locked(found.folder.parent, tell):
        fresh, needed = not found.is_unpacked, _needed(found)
        _check_ours(found, needed)
        wanted = {each.name: _target(each, found) for each in needed.lacking}
        if fresh:
            own = (each for each in found.manifest.files if not is_below_base(each.name))
            wanted |= {each.name: _target(each, found) for each in own}
        _check_room(found, wanted)
        _tell(found, needed, tell, fresh=fresh)
        with space.found(str(found.path), found.base, _REMEDY):
            if fresh:
                shutil.rmtree(found.folder, ignore_errors=True)
            if needed.lacking:
                placed.begin(found.base, needed)
            if wanted:
                _unpack(found, wanted)
            if fresh:
                _write_manifest(found)
            placed.finish(found.base, found.folder.name, found.manifest, needed)


def _needed(found: Bundle) -> Placing:
    return placed.placing(found.base, found.folder.name, found.manifest, anew=not found.is_unpacked)


def _check_names(found: Bundle) -> None:
    """Raise PreflightError where a file would be written outside of the base, or through a link of the bundle's."""
    links = {each.name for each in found.manifest.files if each.link is not None}
    for each in found.manifest.files:
        _target(each, found)
        if any(str(folder) in links for folder in PurePosixPath(each.name).parents):
            raise PreflightError(f"{found.path}: {each.name} would be written through a link: no bundle of milabench's")


def _check_ours(found: Bundle, needed: Placing) -> None:
    """Raise PreflightError where something must not be written over."""
    if needed.foreign:
        many = f"{len(needed.foreign)} files of {found.base} are" if len(needed.foreign) > 1 else "this file is"
        names = ", ".join(str(found.base / name) for name in needed.foreign[:3])
        remedy = "move what is yours away, or choose another --base"
        raise PreflightError(
            f"{many} in the way of those of {found.path}, and no bundle brought them: {names}: {remedy}"
        )
    if needed.replaced and (run := _run_at_work(found.base)):
        raise PreflightError(
            f"{found.path} has other data, or other code by git, than what lies in {found.base}, and a run is at work"
            f" there ({run}): wait for it, or choose another --base"
        )


def _run_at_work(base: Path) -> Path | None:
    """Return the folder of a run that is measured in a base."""
    return next((path for path in sorted(base.glob("runs/*")) if RunDir(path).is_being_written()), None)


def _check_room(found: Bundle, wanted: Mapping[str, Path]) -> None:
    sizes = {each.name: each.size for each in found.manifest.files}
    space.require(str(found.path), ((target, sizes[name]) for name, target in wanted.items()), _REMEDY)


def _tell(found: Bundle, needed: Placing, tell: Callable[[str], object], *, fresh: bool) -> None:
    if fresh:
        tell(f"unpacking {found.path.name} into {found.folder}")
    if needed.replaced:
        tell(f"of what other bundles brought below {found.base}, {_some(needed.replaced)} is replaced")
    elif needed.lacking and not fresh:
        tell(
            f"of {found.path.name}, {_some([each.name for each in needed.lacking])} is placed below {found.base} again"
        )
    if needed.changed:
        tell(f"warning: {_some(needed.changed)} was changed there since, or made there: it is replaced too")


def _some(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def _write_manifest(found: Bundle) -> None:
    found.folder.mkdir(parents=True, exist_ok=True)
    with replacing(found.folder / MANIFEST) as partial:
        partial.write_bytes(found.text)


@contextmanager
def _opened(path: Path) -> Iterator[tarfile.TarFile]:
    try:
        archive = tarfile.open(path, "r:")  # noqa: SIM115 - closed below
    except tarfile.TarError:
        raise PreflightError(f"{path} is no bundle (milabench bundle-env makes them)") from None
    except OSError as error:
        raise UsageError(f"--bundle {path}: {error.strerror}") from None
    with archive:
        yield archive


def _taken(path: Path, take: Callable[[], T]) -> T:
    """Return what is taken of an archive. Raises PreflightError where it ends before that."""
    try:
        return take()
    except tarfile.TarError as error:
        raise PreflightError(f"{path} is cut off or damaged ({error}): {_AGAIN}") from None


def _first(archive: tarfile.TarFile, path: Path) -> bytes:
    member = archive.next()
    file = archive.extractfile(member) if member is not None and member.name == MANIFEST else None
    if file is None:
        raise PreflightError(f"{path} is no bundle: it does not begin with a {MANIFEST}")
    return file.read()


def _unpack(found: Bundle, wanted: Mapping[str, Path]) -> None:
    """Write the wanted files of a bundle; that all of its files are there is seen too. Folders are made as needed."""
    path, waiting = found.path, {each.name: each for each in found.manifest.files}
    with _opened(path) as archive:
        _taken(path, lambda: _first(archive, path))
        while member := _taken(path, archive.next):
            if member.isdir():  # of a tar that was made anew
                continue
            each = waiting.pop(member.name, None)
            if each is None:
                odd = "does not stand in its manifest: it is not as it was packed"
                raise PreflightError(f"{path}: {member.name} {odd}")
            if (target := wanted.get(each.name)) is not None:
                with space.found(f"{path}: {each.name}", target.parent, _REMEDY):
                    target.parent.mkdir(parents=True, exist_ok=True)
                    _put(archive, member, each, target, path)
    if waiting:
        names = ", ".join(sorted(waiting)[:3])
        raise PreflightError(f"{path} lacks {len(waiting)} of its files ({names}): {_AGAIN}")


def _target(each: Packed, found: Bundle) -> Path:
    """Return where a file goes. Raises PreflightError for a name, or a link, that leads out of there."""
    name = PurePosixPath(each.name)
    below_base = is_below_base(each.name)
    stays = each.link is None or (below_base and leads_below(name, each.link).partition("/")[0] in BELOW_BASE)
    if not stays or name.is_absolute() or ".." in name.parts or str(name) in (".", MANIFEST):
        raise PreflightError(
            f"{found.path}: {each.name} would be written outside of the base: no bundle of milabench's"
        )
    return (found.base if below_base else found.folder) / name


def _put(archive: tarfile.TarFile, member: tarfile.TarInfo, each: Packed, target: Path, path: Path) -> None:
    """Write one file, by a rename once it is known to be whole."""
    partial = target.with_name(f".{target.name}.partial")
    try:
        if each.link is not None:
            partial.unlink(missing_ok=True)
            partial.symlink_to(each.link)
        elif _copied(archive, member, partial, path) != each.sha256:
            damaged = "is damaged, its hash is not that in the manifest"
            raise PreflightError(f"{path}: {each.name} {damaged}: {_AGAIN}")
        else:
            partial.chmod(0o755 if each.executable else 0o644)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _copied(archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path, path: Path) -> str:
    source = archive.extractfile(member) if member.isreg() else None
    if source is None:
        return ""
    hashed = Hashed(source)
    with target.open("wb") as file:
        _taken(path, lambda: shutil.copyfileobj(hashed, file, _PIECE))
    return hashed.digest.hexdigest()


@contextmanager
def _locked(folder: Path, tell: Callable[[str], object]) -> Iterator[None]:
    """Let one milabench at a time unpack bundles below a base; that another does is told."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            tell(f"waiting for another milabench that unpacks a bundle into {folder}")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
