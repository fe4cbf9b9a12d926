"""How a node is reached by SSH."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from milabench.system.file import SSH_PORT

UNKNOWN_ADDRESS = "has an address that is not known"  # what is said of a node that cannot be looked up


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """What is said of a node's login; what is not (None, and port 22) ``~/.ssh/config`` says, else SSH's defaults.

    ``hostkey`` is a public key (``ssh-ed25519 AAAA…``) or a fingerprint (``SHA256:…``) and then the only one that is
    trusted. ``accept_new`` writes the key of a node that known_hosts does not have there. ``connect_s`` is how long
    connecting and logging in may take; a link that is gone is noticed after four times ``keepalive_s``.
    """

    name: str
    address: str
    port: int | None = None
    user: str | None = None
    key: Path | None = None
    hostkey: str | None = None
    accept_new: bool = False
    python: str = "python3"
    connect_s: float = 15.0
    keepalive_s: float = 5.0

    def __str__(self) -> str:
        """Return who is meant, for messages."""
        port = "" if self.port in (None, SSH_PORT) else f" port {self.port}"
        where = f"{self.address}{port}"
        return f"node {self.name}" if self.name == where else f"node {self.name} ({where})"
