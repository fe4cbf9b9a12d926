"""The first word of an agent: who it is and where; and how long it goes on when it hears nothing."""

from __future__ import annotations

import hashlib
import math
import os
import platform
import socket
import stat
import sys
import tempfile
import time
from collections.abc import MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import Any

_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO")


def hello(request: dict[str, Any], environ: MutableMapping[str, str]) -> dict[str, Any]:
    """Take on the variables that a request brings, for the agent and all that it starts; return what it is."""
    told = {name: value for name, value in request.get("environ", {}).items() if _holds_here(name, value)}
    environ.update(told)
    os.environ.update(told)
    return {
        "event": "hello",
        "host": socket.gethostname(),
        "python": sys.executable,
        "python_version": platform.python_version(),
        "machine": platform.machine(),
        "time_ns": time.time_ns(),
        "archive": archive(),
        "uid": os.getuid(),
        "identity": identity(),
        "home": os.path.expanduser("~"),  # noqa: PTH111 - Path's raises where there is none
    }


def identity(root: Path = Path("/")) -> str | None:
    """Return what is the same for all agents of one machine whose locks meet, and for no others; None is not known.

    The kernel by its boot, the network that nodes are reached in, and this user's own folder; containers that share
    the first two are told apart by their names and the last.
    """
    try:
        boot = boot_id(root)
        network, own = (root / "proc/self/ns/net").stat().st_ino, private_folder().stat()
    except OSError:
        return None
    return f"{boot} {socket.gethostname()} {network} {own.st_dev}:{own.st_ino}"


def boot_id(root: Path = Path("/")) -> str:
    """Return what is another after each boot of a machine. Raises OSError."""
    return (root / "proc/sys/kernel/random/boot_id").read_text().strip()


def machine_mark(root: Path = Path("/")) -> str:
    """Return what is another for each machine and boot, and each node of Slurm, of which one may have several."""
    boot = ""
    with suppress(OSError):
        boot = boot_id(root)
    return hashlib.sha256(f"{boot} {node()}".encode()).hexdigest()[:8]


def node() -> str:
    """Return how this machine is called: by Slurm, where it runs this, else by itself."""
    return os.environ.get("SLURMD_NODENAME") or platform.node()


def _holds_here(name: str, value: str) -> bool:
    """Say whether a variable means something on this node: one that names certificates may name no file here."""
    return name not in _CERTIFICATES or Path(value).exists()


def private_folder() -> Path:
    """Return a folder on this node's own disk that is this user's, and nobody else's.

    Where somebody else has made what bears its name, it is a new one.
    """
    folder = Path(tempfile.gettempdir(), f"milabench-{os.getuid()}")
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022:
        return folder
    return Path(tempfile.mkdtemp(prefix=f"{folder.name}-"))


def archive() -> str | None:
    """Return the zip that this agent runs from; None where it runs from folders."""
    path = Path(__file__).parents[2]
    return str(path) if path.is_file() else None


class Silence:
    """How long nothing was heard of the runner, on a link that may be cut without a word.

    Hearing is not only reading: a runner that takes replies while it is let wait is there as well. ``wake_at``
    (monotonic clock) is when it has been too long, None where there is no limit.
    """

    def __init__(self) -> None:
        self._most_s = math.inf
        self._heard = time.monotonic()

    def limit(self, most_s: float | None) -> None:
        self._most_s = most_s or math.inf
        self.heard()

    def heard(self) -> None:
        self._heard = time.monotonic()

    @property
    def wake_at(self) -> float | None:
        return None if self._most_s == math.inf else self._heard + self._most_s

    @property
    def too_long(self) -> bool:
        return time.monotonic() - self._heard >= self._most_s
