"""What makes environments, as folders that travel: to nodes, and into containers, that have a Python and nothing else.

A folder is named by what it holds and a hash of that, so that what is there already is what is wanted.
"""

from __future__ import annotations

import functools
import hashlib
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from milabench import resources
from milabench.errors import PreflightError

_OLDEST = "3.10"  # of the Pythons that benchmarks run on


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A folder to be: its name, and where each of its files lies here."""

    name: str
    files: Mapping[str, Path] = field(repr=False)


@functools.cache
def seeds() -> Tool:
    """Return what an environment has from its beginning, as virtualenv brings it: the wheels of pip and setuptools.

    Those for the oldest Python, which all newer ones take too.
    """
    from virtualenv.seed.wheels.embed import get_embed_wheel

    found = {name: get_embed_wheel(name, _OLDEST) for name in ("pip", "setuptools")}
    files = {wheel.path.name: Path(wheel.path) for wheel in found.values()}
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in files.values())).hexdigest()
    return Tool(name=f"pip-{found['pip'].version}-{digest[:12]}", files=files)


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
