"""What makes environments, as folders that travel: to nodes, and into containers, that have a Python and nothing else.

A folder is named by what it holds and a hash of that, so that what is there already is what is wanted.
"""

from __future__ import annotations

import functools
import hashlib
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from milabench import resources
from milabench.errors import PreflightError

_REQUIREMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_LEFT_OUT = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"}  # of an installation: they say nothing of contents


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A folder to be: its name, and where each of its files lies here."""

    name: str
    files: Mapping[str, Path] = field(repr=False)


@functools.cache
def virtualenv() -> Tool:
    """Return virtualenv and all that it needs, for whatever Python; it is of this interpreter's installation.

    Raises PreflightError where that does not say which files it has.
    """
    files: dict[str, Path] = {}
    digest = hashlib.sha256()
    for distribution in _closure("virtualenv"):
        for name, path, hashed in _files(distribution):
            files[name] = path
            digest.update(f"{name}\0{hashed}\0".encode())
    return Tool(name=f"virtualenv-{metadata.version('virtualenv')}-{digest.hexdigest()[:12]}", files=files)


@functools.cache
def uv(program: str) -> Tool:
    """Return uv's program, for machines of this one's kind."""
    hashed = hashlib.sha256(Path(program).read_bytes()).hexdigest()
    return Tool(name=f"uv-{hashed[:12]}", files={"uv": Path(program)})


@functools.cache
def sources() -> Tool:
    """Return milabench's own modules, which await the coroutines of benchfiles."""
    files: dict[str, Path] = {}
    digest = hashlib.sha256()
    for root in map(Path, resources.import_path()):
        for package in ("milabench", "benchmate"):
            for path in sorted((root / package).rglob("*.py")):
                name = str(path.relative_to(root))
                if name not in files and "data" not in path.relative_to(root).parts[1:2]:
                    files[name] = path
                    digest.update(f"{name}\0".encode() + path.read_bytes() + b"\0")
    return Tool(name=f"milabench-{digest.hexdigest()[:12]}", files=files)


def assemble(tool: Tool, folder: Path) -> None:
    """Put a tool's folder together unless it is there: whole or not at all. Raises PreflightError where it cannot."""
    if folder.is_dir():
        return
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{tool.name}.", dir=folder.parent))
        try:
            for name, path in tool.files.items():
                (partial / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, partial / name)
            partial.chmod(0o755)
            partial.rename(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        if folder.is_dir():  # another milabench was first
            return
        where = f"{error.filename or folder}: {error.strerror}"
        raise PreflightError(f"what makes environments on nodes cannot be put together: {where}") from None


def _closure(name: str) -> list[metadata.Distribution]:
    """Return a distribution and those it needs, on whatever Python; what is not installed here is needed elsewhere."""
    found: dict[str, metadata.Distribution] = {}
    waiting = [name]
    while waiting:
        each = waiting.pop()
        if each in found:
            continue
        try:
            found[each] = metadata.distribution(each)
        except metadata.PackageNotFoundError:
            continue
        waiting += [_normal(word) for text in found[each].requires or () if (word := _needed(text))]
    return [found[each] for each in sorted(found)]


def _needed(requirement: str) -> str | None:
    """Return the name of what a requirement asks for, None where that is for an extra."""
    name = _REQUIREMENT.match(requirement)
    return name[0] if name and "extra ==" not in requirement else None


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _files(distribution: metadata.Distribution) -> Iterator[tuple[str, Path, str]]:
    """Yield the files of a distribution: names, paths and hashes. Raises PreflightError where they are not known."""
    if not distribution.files:
        name = distribution.metadata["Name"]
        why = f"{name} is installed without a list of its files, and nodes need them to make environments"
        raise PreflightError(f"{why}: install milabench into an environment of its own (python3 -m venv), by pip or uv")
    for file in distribution.files:
        outside = ".." in file.parts or file.is_absolute()
        if not outside and file.suffix != ".pyc" and file.name not in _LEFT_OUT:
            yield str(file), Path(str(file.locate())), file.hash.value if file.hash else str(file.size)
