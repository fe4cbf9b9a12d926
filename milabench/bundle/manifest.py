"""What a bundle has: its files with the hash of each, and what it is for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from milabench.errors import PreflightError
from milabench.plan import decode

VERSION = 1
MANIFEST = "manifest.json"
DATA = ("data", "extra", "cache")
BELOW_BASE = ("sources", *DATA)


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


def read(folder: Path) -> Manifest:
    """Return the manifest of a bundle that was unpacked. Raises PreflightError."""
    try:
        return parsed((folder / MANIFEST).read_bytes(), folder)
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


def is_below_base(name: str) -> bool:
    """Say whether a file goes below the base as it is, and not into the bundle's own folder there."""
    parts = PurePosixPath(name).parts
    return len(parts) > 1 and parts[0] in BELOW_BASE


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


class Hashed:
    """A file that is read, with the hash of what was."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.digest = file, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        piece = self._file.read(size)
        self.digest.update(piece)
        return piece


def parsed(text: bytes, where: Path) -> Manifest:
    """Return a manifest that was read from somewhere. Raises PreflightError."""
    try:
        document = json.loads(text)
        version = document.get("version") if isinstance(document, dict) else None
        if version != VERSION:
            made = f"it has the format {version!r}, and this milabench reads {VERSION}"
            raise PreflightError(f"{where}: {made}: pack it with this release of milabench")
        return decode.read(Manifest, document)
    except ValueError as error:
        raise PreflightError(f"{where}: its {MANIFEST} is damaged ({error}): copy it again, or pack it anew") from None


def comparable(parts: Mapping[str, str]) -> dict[str, str]:
    """Return what an environment is asked for without benchmate, which each milabench brings; its extras by name."""
    own = {part: value for part, value in parts.items() if part != "benchmate"}
    return {part: "" if part.startswith("benchmate[") else value for part, value in own.items()}


def minor(version: str) -> str:
    """Return what wheels tell Pythons apart by: 3.11 of 3.11.7."""
    return ".".join(version.split(".")[:2])
