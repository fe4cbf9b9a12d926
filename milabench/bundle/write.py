"""Writing a bundle: one tar, its manifest first, each file as the manifest has it."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Final

from milabench.agent.receive import digest
from milabench.bundle import space
from milabench.bundle.manifest import MANIFEST, VERSION, About, Hashed, Manifest, Packed, is_below_base
from milabench.errors import PreflightError

_REMEDY: Final = "make room there, or write it elsewhere (--output)"
_HEADER: Final = 1024  # bytes of a tar for each file, beside its content


def write(target: Path, about: About, files: Mapping[str, Path]) -> Manifest:
    """Write a bundle of ``files`` by their names in it; it is there whole or not at all.

    Raises OSError, and PreflightError where there is no room for it.
    """
    manifest = Manifest(about=about, files=tuple(_described(name, files[name]) for name in sorted(files)))
    text = json.dumps({"version": VERSION, **asdict(manifest)}, indent=1).encode()
    partial = target.with_name(f".{target.name}.partial")
    total = len(text) + sum(each.size + _HEADER for each in manifest.files)
    space.require(str(target), [(partial, total)], _REMEDY)
    try:
        with space.found(str(target), target.parent, _REMEDY):
            with tarfile.open(partial, "w", format=tarfile.PAX_FORMAT) as archive:
                archive.addfile(_member(Packed(name=MANIFEST, size=len(text))), io.BytesIO(text))
                for each in manifest.files:
                    _add(archive, each, files[each.name])
            partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return manifest


def _described(name: str, path: Path) -> Packed:
    if path.is_symlink() and is_below_base(name):
        return Packed(name=name, link=os.readlink(path))  # noqa: PTH115 - a text, as it stands
    return Packed(name=name, size=path.stat().st_size, sha256=digest(path), executable=os.access(path, os.X_OK))


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
        hashed = Hashed(file)
        archive.addfile(_member(each), hashed)
    if hashed.digest.hexdigest() != each.sha256:
        raise PreflightError(f"{path} has changed while it was packed: pack once nothing writes there")
