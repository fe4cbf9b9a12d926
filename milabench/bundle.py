"""A bundle: one tar of all that a suite needs where there is no network, and a manifest with the hash of each file.

In it: ``manifest.json`` first, then ``suite.yaml``, ``code/``, ``wheels/``, ``locks/<install group>.txt``, and what
goes below the base as it is: ``sources/`` and, where asked for, ``data/``, ``extra/`` and ``cache/``.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import shutil
import tarfile
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import IO, TypeVar

from milabench.errors import PreflightError, UsageError
from milabench.plan import decode

VERSION = 1
MANIFEST = "manifest.json"
SUITE = "suite.yaml"
FOLDER = "bundles"  # below the base
DATA = ("data", "extra", "cache")
_BELOW_BASE = ("sources", *DATA)
_PIECE = 1 << 20
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """A file of a bundle; one with a ``link`` is a symbolic link to what stands there."""

    name: str
    size: int = 0
    sha256: str = ""
    executable: bool = False
    link: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The packages of an install group: what they were asked for (``Once.parts``), and the wheels by file name."""

    name: str
    parts: Mapping[str, str]
    wheels: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What a bundle is for: the vendor, the kind of processor and the Python (``3.11``) its wheels are for."""

    milabench: str
    arch: str
    machine: str
    python: str
    groups: tuple[Group, ...]
    benchmarks: tuple[str, ...]
    data: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    about: About
    files: tuple[Packed, ...]


def write(target: Path, about: About, files: Mapping[str, Path]) -> Manifest:
    """Write a bundle of ``files`` by their names in it; it is there whole or not at all. Raises OSError."""
    manifest = Manifest(about=about, files=tuple(_described(name, files[name]) for name in sorted(files)))
    text = json.dumps({"version": VERSION, **asdict(manifest)}, indent=1).encode()
    partial = target.with_name(f".{target.name}.partial")
    try:
        with tarfile.open(partial, "w", format=tarfile.PAX_FORMAT) as archive:
            archive.addfile(_member(Packed(name=MANIFEST, size=len(text))), io.BytesIO(text))
            for each in manifest.files:
                _add(archive, each, files[each.name])
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return manifest


def read(folder: Path) -> Manifest:
    """Return the manifest of a bundle that was unpacked. Raises PreflightError."""
    try:
        return _manifest((folder / MANIFEST).read_bytes(), folder)
    except OSError as error:
        raise PreflightError(f"{folder} is no bundle that was unpacked: {error.strerror}") from None


def data_of(folder: Path, groups: Collection[str]) -> tuple[Packed, ...]:
    """Return the files of data that a bundle which was unpacked has for groups of benchmarks, below the base.

    Raises PreflightError.
    """

    def is_wanted(name: str) -> bool:
        first, _, rest = name.partition("/")
        return first in DATA and (first != "extra" or rest.partition("/")[0] in groups)

    return tuple(each for each in read(folder).files if is_wanted(each.name))


def folder_of(path: Path, base: Path) -> Path:
    """Return where a bundle is unpacked below a base; errors are those of ``unpack``."""
    with _opened(path) as archive:
        return _folder(_taken(path, lambda: _first(archive, path)), base)


def is_unpacked(folder: Path) -> bool:
    return (folder / MANIFEST).exists()


def unpack(path: Path, base: Path) -> Path:
    """Unpack a bundle below a base, each file checked, unless that has been done; return its folder there.

    Raises PreflightError where it is no bundle, or any file of it is missing, cut or changed, and UsageError where
    there is no such file; what is unpacked then counts for nothing.
    """
    with _opened(path) as archive:
        text = _taken(path, lambda: _first(archive, path))
        manifest, folder = _manifest(text, path), _folder(text, base)
        with _locked(folder):
            if not is_unpacked(folder):
                shutil.rmtree(folder, ignore_errors=True)
                _unpack(archive, path, manifest, folder, base)
                partial = folder / f".{MANIFEST}.partial"
                partial.write_bytes(text)
                partial.replace(folder / MANIFEST)
    return folder


def comparable(parts: Mapping[str, str]) -> dict[str, str]:
    """Return what an environment is asked for without benchmate, which each milabench brings; its extras by name."""
    own = {part: value for part, value in parts.items() if part != "benchmate"}
    return {part: "" if part.startswith("benchmate[") else value for part, value in own.items()}


def minor(version: str) -> str:
    """Return what wheels tell Pythons apart by: 3.11 of 3.11.7."""
    return ".".join(version.split(".")[:2])


# Writing -------------------------------------------------------------------------------------------------------------


def _described(name: str, path: Path) -> Packed:
    if path.is_symlink() and name.partition("/")[0] in _BELOW_BASE:
        return Packed(name=name, link=os.readlink(path))  # noqa: PTH115 - a text, as it stands
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
        size = file.tell()
    return Packed(name=name, size=size, sha256=digest.hexdigest(), executable=os.access(path, os.X_OK))


def _member(each: Packed) -> tarfile.TarInfo:
    found = tarfile.TarInfo(each.name)
    found.size, found.mode = each.size, 0o755 if each.executable else 0o644
    if each.link is not None:
        found.type, found.linkname = tarfile.SYMTYPE, each.link
    return found


def _add(archive: tarfile.TarFile, each: Packed, path: Path) -> None:
    if each.link is not None:
        archive.addfile(_member(each))
        return
    with path.open("rb") as file:
        hashed = _Hashed(file)
        archive.addfile(_member(each), hashed)
    if hashed.digest.hexdigest() != each.sha256:
        raise PreflightError(f"{path} has changed while it was packed: pack once nothing writes there")


class _Hashed:
    """A file that is read, with the hash of what was."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.digest = file, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        piece = self._file.read(size)
        self.digest.update(piece)
        return piece


# Reading -------------------------------------------------------------------------------------------------------------


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
        raise PreflightError(f"{path} is cut off or damaged ({error}): copy it again, or pack it anew") from None


def _first(archive: tarfile.TarFile, path: Path) -> bytes:
    member = archive.next()
    file = archive.extractfile(member) if member is not None and member.name == MANIFEST else None
    if file is None:
        raise PreflightError(f"{path} is no bundle: it does not begin with a {MANIFEST}")
    return file.read()


def _folder(manifest: bytes, base: Path) -> Path:
    return base / FOLDER / hashlib.sha256(manifest).hexdigest()[:12]


def _manifest(text: bytes, where: Path) -> Manifest:
    try:
        document = json.loads(text)
        version = document.get("version") if isinstance(document, dict) else None
        if version != VERSION:
            made = f"it has the format {version!r}, and this milabench reads {VERSION}"
            raise PreflightError(f"{where}: {made}: pack it with this release of milabench")
        return decode.read(Manifest, document)
    except ValueError as error:
        raise PreflightError(f"{where}: its {MANIFEST} is damaged ({error}): copy it again, or pack it anew") from None


def _unpack(archive: tarfile.TarFile, path: Path, manifest: Manifest, folder: Path, base: Path) -> None:
    waiting = {each.name: each for each in manifest.files}
    targets = {each.name: _target(each, path, folder, base) for each in manifest.files}
    _check_ways(manifest, path)
    while member := _taken(path, archive.next):
        each = waiting.pop(member.name, None)
        if each is None:
            raise PreflightError(f"{path}: {member.name} does not stand in its manifest: it is not as it was packed")
        target = targets[each.name]
        target.parent.mkdir(parents=True, exist_ok=True)
        _put(archive, member, each, target, path)
    if waiting:
        names = ", ".join(sorted(waiting)[:3])
        raise PreflightError(f"{path} lacks {len(waiting)} of its files ({names}): copy it again, or pack it anew")


def _target(each: Packed, path: Path, folder: Path, base: Path) -> Path:
    """Return where a file goes. Raises PreflightError for a name, or a link, that leads out of there."""
    name = PurePosixPath(each.name)
    below_base = len(name.parts) > 1 and name.parts[0] in _BELOW_BASE
    stays = each.link is None or (below_base and leads_below(name, each.link).partition("/")[0] in _BELOW_BASE)
    if not stays or name.is_absolute() or ".." in name.parts or str(name) in (".", MANIFEST):
        raise PreflightError(f"{path}: {each.name} would be written outside of the base: no bundle of milabench's")
    return (base if below_base else folder) / name


def leads_below(name: PurePosixPath, link: str) -> str:
    """Return where a link of that name leads to below what the name is relative to, nothing where it leads out.

    Only a link that goes up first and then down can be told without following it: where it goes down before, what it
    goes up from may be a link itself.
    """
    parts = PurePosixPath(link).parts
    up = sum(part == ".." for part in parts)
    if link.startswith("/") or ".." in parts[up:] or up > len(name.parent.parts):
        return ""
    return str(PurePosixPath(*name.parent.parts[: len(name.parent.parts) - up], *parts[up:]))


def _check_ways(manifest: Manifest, path: Path) -> None:
    """Raise PreflightError where a file would be written through a link that the bundle has itself."""
    links = {each.name for each in manifest.files if each.link is not None}
    for each in manifest.files:
        if any(str(folder) in links for folder in PurePosixPath(each.name).parents):
            raise PreflightError(f"{path}: {each.name} would be written through a link: no bundle of milabench's")


def _put(archive: tarfile.TarFile, member: tarfile.TarInfo, each: Packed, target: Path, path: Path) -> None:
    """Write one file, by a rename once it is known to be whole."""
    partial = target.with_name(f".{target.name}.partial")
    try:
        if each.link is not None:
            partial.unlink(missing_ok=True)
            partial.symlink_to(each.link)
        elif _copied(archive, member, partial, path) != each.sha256:
            again = "copy the bundle again, or pack it anew"
            raise PreflightError(f"{path}: {each.name} is damaged, its hash is not that in the manifest: {again}")
        else:
            partial.chmod(0o755 if each.executable else 0o644)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _copied(archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path, path: Path) -> str:
    source = archive.extractfile(member) if member.isreg() else None
    if source is None:
        return ""
    hashed = _Hashed(source)
    with target.open("wb") as file:
        _taken(path, lambda: shutil.copyfileobj(hashed, file, _PIECE))
    return hashed.digest.hexdigest()


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let one milabench at a time unpack a bundle."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder.with_name(f"{folder.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
