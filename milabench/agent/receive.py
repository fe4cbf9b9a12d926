"""Folders and files that a runner on another machine sends: what of them is lacking here, taken in, put in place.

A folder ends as one that was staged on its own machine does. What comes is written beside its place, and takes it
once all of the folder is here and each file is as it was sent.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from milabench.agent import stage
from milabench.agent.files import partial_of

Message = dict[str, Any]


def wanted(request: Mapping[str, Any]) -> dict[str, str | None]:
    """Return which of the files that are offered are lacking here, or may: those with the hash of what is here.

    ``files`` are ``name``, ``size``, ``mtime_ns`` and ``mode`` of each. Raises OSError.
    """
    target = request["target"]
    if request["source"] is not None:
        stage.clear(request["source"], target, fresh=request["fresh"])
    lacking: dict[str, str | None] = {}
    for name, size, mtime_ns, _ in request["files"]:
        path = Path(target, name)
        try:
            found = path.stat()
        except OSError:
            lacking[name] = None
            continue
        if (found.st_size, found.st_mtime_ns) != (size, mtime_ns):
            lacking[name] = digest(path) if found.st_size == size else None
    return lacking


def put_in_place(request: Mapping[str, Any]) -> None:
    """Put what has come where it belongs, or keep none; ``sent`` are the hashes of those files. Raises OSError."""
    try:
        _put_in_place(request)
    except OSError:
        for name in request["sent"]:
            with suppress(OSError):
                partial_of(Path(request["target"], name)).unlink()
        raise


def _put_in_place(request: Mapping[str, Any]) -> None:
    target, sent = Path(request["target"]), request["sent"]
    target.mkdir(parents=True, exist_ok=True)
    _check(target, sent)
    for name, _, mtime_ns, mode in request["files"]:
        path = partial_of(target / name) if name in sent else target / name
        if name in sent or path.stat().st_mtime_ns != mtime_ns:
            path.chmod(mode)
            os.utime(path, ns=(mtime_ns, mtime_ns))
        if name in sent:
            path.replace(target / name)
    for name, to in request["links"]:
        stage.link(target / name, to)
    if request["source"] is not None:
        stage.finish(request["source"], str(target), request["names"])


def _check(target: Path, sent: Mapping[str, str]) -> None:
    """See that each file has come as it was sent."""
    for name, sha256 in sent.items():
        if digest(partial_of(target / name)) != sha256:
            raise OSError(0, "it did not come as it was sent", str(target / name))


def digest(path: Path) -> str:
    """Return the hash of a file's content. Raises OSError."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            found.update(part)
    return found.hexdigest()


class Receiving:
    """Transfers under way, by the number of the request that began them; ``send`` takes replies."""

    def __init__(self, send: Callable[[Message], object]) -> None:
        self._send = send
        self._targets: dict[int, Path] = {}
        self._partials: dict[int, set[Path]] = {}

    def begin(self, request: Message) -> None:
        """Begin a transfer into a folder: it is answered when all is in place, or when something cannot be written."""
        self._targets[request["id"]] = Path(request["target"])
        self._partials[request["id"]] = set()

    def put(self, request: Message) -> None:
        """Write a part of a file beside its place."""
        target = self._targets.get(request["transfer"])
        if target is None:  # it failed already
            return
        partial = partial_of(target / request["file"])
        self._partials[request["transfer"]].add(partial)
        try:
            partial.parent.mkdir(parents=True, exist_ok=True)
            _write(partial, request["offset"], request["blob"])
        except OSError as error:
            self._drop(request["transfer"])
            message = f"{error.strerror}: {error.filename or partial}"
            self._send({"id": request["transfer"], "event": "error", "message": message})

    def end(self, request: Message) -> Message | None:
        """Return what is to be done, aside, to put a transfer in place, and answers it; None where it has failed."""
        if self._targets.pop(request["transfer"], None) is None:
            return None
        del self._partials[request["transfer"]]
        return {**request, "id": request["transfer"]}

    def close(self) -> None:
        """Keep nothing of what has not come whole: nobody sends the rest of it."""
        for number in list(self._targets):
            self._drop(number)

    def _drop(self, number: int) -> None:
        del self._targets[number]
        for partial in self._partials.pop(number):
            with suppress(OSError):
                partial.unlink()


def _write(path: Path, offset: int, content: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | (0 if offset else os.O_TRUNC)
    descriptor = os.open(path, flags, 0o600)
    try:
        left = memoryview(content)
        while left:
            written = os.pwrite(descriptor, left, offset)
            left, offset = left[written:], offset + written
    finally:
        os.close(descriptor)
