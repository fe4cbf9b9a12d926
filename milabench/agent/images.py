"""What a node has of a container image: whether it is there, what it is, and what its processes find in it."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from milabench.agent import tools
from milabench.agent.container import PATH, Container, Kind, file_of, is_root
from milabench.agent.files import replacing

_LOOK_S = 60
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}  # as images and as kernels call them
_ABSENT = ("no such image", "image not known", "no such object")
_CHUNK = 1 << 20
# Nodes that share a base share the file: the first of them fetches it. apptainer makes no folder for it.
_FETCH_FILE = 'mkdir -p "${2%/*}" && { test -e "$2" || exec "$0" "$@"; }'


def look(container: Container, *, keep: bool = True) -> dict[str, Any]:
    """Return {program, version, image, problem}: where its program is, and what the image is.

    ``program`` is None where there is none, ``image`` where it is not there; ``problem`` is what keeps that from being
    known. An image has ``digest`` or ``root`` (a folder), ``id``, ``machine``, ``environ``. ``keep``: hashes of files,
    which take a while, may be written down below the base.
    """
    program = shutil.which(container.executable)
    if program is None:
        return {"program": None, "version": "", "image": None, "problem": ""}
    try:
        version = tools.ask(program, "--version", within_s=_LOOK_S).stdout.strip()
        found = _look(program, container, keep=keep)
    except subprocess.TimeoutExpired:
        version, found = "", {"image": None, "problem": f"{program} has not answered for {_LOOK_S} s"}
    except OSError as error:  # the program is none, or an image's file cannot be read
        version, found = "", {"image": None, "problem": f"{error.strerror or error}: {error.filename or program}"}
    return {"program": program, "version": version, **found}


def _look(program: str, container: Container, *, keep: bool) -> dict[str, Any]:
    if is_root(container):
        return {"image": _root(container.image.removesuffix(":O")), "problem": ""}
    if container.kind == "apptainer":
        return {"image": _file(container, keep=keep), "problem": ""}
    said = tools.ask(program, "image", "inspect", container.image, within_s=_LOOK_S)
    return _read(said.returncode, said.stdout, said.stderr, container.kind)


def pulled(container: Container) -> list[str] | None:
    """Return the argv that fetches an image from where it is published; None for a file or a folder of the node."""
    if container.kind != "apptainer":
        return None if is_root(container) else [container.executable, "pull", container.image]
    if "://" not in container.image:
        return None
    return [container.executable, "pull", file_of(container.image, container.base), container.image]


def fetched(container: Container) -> list[str] | None:
    """Return the argv of a process that does so, where another may have done it meanwhile; None as ``pulled``."""
    argv = pulled(container)
    return ["sh", "-c", _FETCH_FILE, *argv] if argv and container.kind == "apptainer" else argv


def _read(code: int, out: str, err: str, kind: Kind) -> dict[str, Any]:
    """Return what is told of an image by its program's answer."""
    if code != 0:
        last = err.strip().splitlines()[-1:] or [f"exit code {code}"]
        absent = any(words in err.lower() for words in _ABSENT)
        return {"image": None, "problem": "" if absent else last[0]}
    try:
        (found,) = json.loads(out)
        return {"image": _image(found, kind), "problem": ""}
    except (ValueError, TypeError, AttributeError, KeyError):
        return {"image": None, "problem": "what it says of the image cannot be read"}


def _image(found: Mapping[str, Any], kind: Kind) -> dict[str, Any]:
    number = str(found["Id"])
    number = number if number.startswith("sha256:") else f"sha256:{number}"
    published = [name.partition("@")[2] for name in found.get("RepoDigests") or () if "@" in name]
    digest = found.get("Digest") if kind == "podman" else (published or [None])[0]
    said = [word.partition("=") for word in (found.get("Config") or {}).get("Env") or ()]
    machine = str(found.get("Architecture", ""))
    return {
        "id": number,
        "digest": digest or number,
        "root": None,
        "machine": _MACHINES.get(machine, machine),
        "environ": {"PATH": PATH, **{name: value for name, _, value in said}},
    }


def _root(folder: str) -> dict[str, Any] | None:
    """Return what a root file system is, None where it is no folder: what is in it may change, and has no digest."""
    if not Path(folder).is_dir():
        return None
    return {"id": None, "digest": None, "root": folder, "machine": "", "environ": {"PATH": PATH}}


def _file(container: Container, *, keep: bool) -> dict[str, Any] | None:
    path = Path(file_of(container.image, container.base))
    if path.is_dir():
        return _root(str(path))
    if not path.exists():
        return None
    digest = _hashed(path, Path(container.base) / "cache" / "images" / "digests.json", keep=keep)
    return {"id": digest, "digest": digest, "root": None, "machine": "", "environ": {"PATH": PATH}}


def _hashed(path: Path, known: Path, *, keep: bool) -> str:
    """Return a hash of a file, which may take a minute the first time: as long as it is the same it is looked up."""
    seen = path.stat()
    state: Sequence[object] = [seen.st_size, seen.st_mtime_ns]
    try:
        digests = dict(json.loads(known.read_text()))
    except (OSError, ValueError, TypeError):
        digests = {}
    if digests.get(str(path), [None])[:-1] == state:
        return str(digests[str(path)][-1])
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    found = f"sha256:{digest.hexdigest()}"
    if keep:
        known.parent.mkdir(parents=True, exist_ok=True)
        with replacing(known) as partial:
            partial.write_text(json.dumps({**digests, str(path): [*state, found]}))
    return found
