"""Copy benchmark folders into the base, only what changed; and zip benchmate's sources into a wheel."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from milabench.agent.files import replacing
from milabench.pack import STAGED

_LEFT_OUT = {"__pycache__", ".git"}  # of a submodule .git is a file
_TIMESTAMP = (2020, 1, 1, 0, 0, 0)  # equal sources make an equal wheel
_METADATA = """\
Metadata-Version: 2.1
Name: benchmate
Version: {version}
Requires-Python: >=3.10
Provides-Extra: voir
Requires-Dist: voir>=0.2.24; extra == "voir"
Provides-Extra: compat
Requires-Dist: torchcompat>=1.1.4; extra == "compat"
"""
_WHEEL = "Wheel-Version: 1.0\nGenerator: milabench\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def stage(source: str, target: str, *, fresh: bool = False) -> None:
    """Make ``target`` hold what ``source`` holds. A target that ends in ``.whl`` is the wheel of a package's sources.

    What travels to the same place of other nodes is where it belongs already: nothing is done.
    What installs wrote into a staged folder stays, unless it is to be ``fresh``; what was staged before and is gone
    from the source is removed.
    """
    if source == target:
        return
    if is_wheel(source, target):
        if not Path(target).exists():
            _write_wheel(Path(source), Path(target))
        return
    if Path(source).is_file():
        _copy(Path(source), Path(target))
        return
    clear(source, target, fresh=fresh)
    names = files_below(Path(source))
    Path(target).mkdir(parents=True, exist_ok=True)
    for name in names:
        _copy(Path(source) / name, Path(target) / name)
    finish(source, target, names)


def is_wheel(source: str, target: str) -> bool:
    """Say whether a target is to be the wheel of the package whose sources are a folder."""
    return target.endswith(".whl") and Path(source).is_dir()


def clear(source: str, target: str, *, fresh: bool) -> None:
    """Remove a target that is to be ``fresh``, or that holds another folder of the same name."""
    before = _manifest(Path(target) / STAGED)
    if fresh or (before is not None and before["source"] != source):
        shutil.rmtree(target, ignore_errors=True)


def finish(source: str, target: str, names: Sequence[str]) -> None:
    """Remove from a target what was staged before and is gone from the source, and note what is staged now."""
    manifest = Path(target) / STAGED
    before = _manifest(manifest)
    for name in set(before["names"] if before else []) - set(names):
        (Path(target) / name).unlink(missing_ok=True)
    content = json.dumps({"source": source, "names": list(names)})
    if before is None or manifest.read_text() != content:
        manifest.write_text(content)


def digest(folder: str) -> str | None:
    """Return a hash of what would be staged of a folder, names and contents; None where it cannot be read."""
    found = hashlib.sha256()
    try:
        if not Path(folder).is_dir():
            return None
        for name in files_below(Path(folder)):
            path = Path(folder) / name
            content = path.read_bytes() if path.exists() else os.fsencode(path.readlink())
            found.update(f"{name}\0{len(content)}\0".encode(errors="surrogateescape") + content)
    except OSError:
        return None
    return found.hexdigest()


def _manifest(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def files_below(folder: Path) -> list[str]:
    """Return the files below a folder; links to folders are followed, each folder once."""
    names: list[str] = []
    seen = {os.path.realpath(folder)}
    for root, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if name not in _LEFT_OUT and _first(Path(root) / name, seen))
        names += [str((Path(root) / name).relative_to(folder)) for name in sorted(files) if name not in _LEFT_OUT]
    return names


def _first(folder: Path, seen: set[str]) -> bool:
    real = os.path.realpath(folder)
    new = real not in seen
    seen.add(real)
    return new


def link(path: Path, to: str) -> None:
    """Make a link, also to what is not there, in place of whatever file bears its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(to)


def _copy(source: Path, target: Path) -> None:
    """Copy a file whose size or time of change differs, by a rename, so that no reader sees half of it."""
    if not source.exists():  # a link to nothing stays one
        link(target, str(source.readlink()))
        return
    wanted = source.stat()
    try:
        found = target.stat()
        if (found.st_size, found.st_mtime_ns) == (wanted.st_size, wanted.st_mtime_ns):
            return
    except FileNotFoundError:
        target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as partial:
        shutil.copy2(source, partial)


def _write_wheel(package: Path, wheel: Path) -> None:
    version = wheel.name.split("-")[1]
    info = f"benchmate-{version}.dist-info"
    files = {
        f"benchmate/{path.relative_to(package)}": path.read_bytes()
        for path in sorted(package.rglob("*"))
        if path.suffix in {".py", ".typed", ".toml"}
    }
    files[f"{info}/METADATA"] = _METADATA.format(version=version).encode()
    files[f"{info}/WHEEL"] = _WHEEL.encode()
    record = [f"{name},sha256={_digest(content)},{len(content)}" for name, content in files.items()]
    files[f"{info}/RECORD"] = ("\n".join([*record, f"{info}/RECORD,,"]) + "\n").encode()
    wheel.parent.mkdir(parents=True, exist_ok=True)
    with replacing(wheel) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, _TIMESTAMP), content)


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
