"""Which host keys of a node are trusted: the one its system file names, or those of known_hosts. Never any."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import asyncssh
from asyncssh.public_key import get_default_certificate_algs, get_default_public_key_algs

from milabench.errors import PreflightError
from milabench.execute.hosts.login import Login
from milabench.system.file import SSH_PORT

GLOBAL_FILES = ("/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2")
Matches = tuple[
    Sequence[Any], ...
]  # as asyncssh has them: host keys, authorities, revoked keys; X.509 is not asked for


class HostKeys:
    """What is trusted of a node, and what is wrong with what it shows, told in ``problem``.

    ``own`` and ``shared`` are the files of known_hosts that the user's configuration of SSH names, as of the user and
    of all; nothing where it names none, and the usual ones count. New keys are written into the first of ``own``.
    """

    def __init__(self, login: Login, own: Iterable[str] = (), shared: Iterable[str] = ()) -> None:
        self._login = login
        names = (*(own or ("~/.ssh/known_hosts",)), *(shared or GLOBAL_FILES))
        self._files = [Path(name).expanduser() for name in names]
        self._fingerprint, self._key = _read(login)
        self._books = [] if login.hostkey is not None else [_parsed(path) for path in self._files]
        self._known: list[asyncssh.SSHKey] = []
        self._new: tuple[str, asyncssh.SSHKey] | None = None
        self.problem: str | None = None

    def match(self, host: str, address: str, port: int | None) -> Matches:
        """Return the keys that are trusted for a host; asyncssh asks."""
        if self._login.hostkey is not None:
            self._known = [] if self._key is None else [self._key]
            return (self._known, [], [])
        found: list[list[Any]] = [[], [], []]
        for book in self._books:
            for place, keys in zip(found, book.match(host, address, port), strict=False):
                place.extend(keys)
        self._known = found[0]
        return tuple(found)

    def algorithms(self, host: str, port: int) -> list[str]:
        """Return what keys to ask a host for: of the kinds that are known first, so that one of them comes if it can.

        Any other kind comes where the host has none of those, and is then told as a change.
        """
        keys, authorities, *_ = self.match(host, "", None if port == SSH_PORT else port)
        certified = get_default_certificate_algs() if authorities else []
        known = [algorithm for key in keys for algorithm in key.sig_algorithms]
        wanted = dict.fromkeys((*certified, *known, *get_default_public_key_algs()))
        return [algorithm.decode() for algorithm in wanted]

    def accepts(self, host: str, port: int, key: asyncssh.SSHKey) -> bool:
        """Say whether a key is good that ``match`` does not have."""
        shown = key.get_fingerprint()
        if self._login.hostkey is not None:
            if shown == self._fingerprint:
                return True
            wanted = self._fingerprint or (self._key and self._key.get_fingerprint())
            self.problem = (
                f"shows another host key ({_named(key)}) than `hostkey` of the system file ({wanted}): somebody else"
                " may be answering; where the node was made anew, mend the file"
            )
        elif self._known:
            known = ", ".join(sorted({_named(each) for each in self._known}))
            self.problem = (
                f"has changed its host key: known_hosts has {known}, and it shows {_named(key)}: somebody else may be"
                f" answering; where the node was made anew, `ssh-keygen -R '{_pattern(host, port)}'` here, and give"
                " --accept-new-host-keys once"
            )
        elif self._login.accept_new:
            self._new = (_pattern(host, port), key)
            return True
        else:
            self.problem = (
                f"shows a host key that is not known yet ({_named(key)}): compare it with what `ssh-keygen -lf"
                " /etc/ssh/ssh_host_*_key.pub` says on the node itself, then give --accept-new-host-keys once, or set"
                " `hostkey` of the node in the system file"
            )
        return False

    def remember(self) -> str | None:
        """Write down a key that was accepted for the first time, and return what was; None: there was none to write.

        Raises PreflightError.
        """
        if self._new is None:
            return None
        (pattern, key), self._new, path = self._new, None, self._files[0]
        line = " ".join((pattern, *key.export_public_key().decode().split()[:2])) + "\n"
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            text = _text(path)
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(b"\n" * bool(text and not text.endswith("\n")) + line.encode())
        except OSError as error:
            raise PreflightError(f"{path} cannot be written: {error.strerror}") from None
        return f"{self._login} is known from now on: {_named(key)}, written into {path}"


def _read(login: Login) -> tuple[str | None, asyncssh.SSHKey | None]:
    """Return the fingerprint or the key that the system file names. Raises PreflightError."""
    if login.hostkey is None or login.hostkey.startswith("SHA256:"):
        return login.hostkey and login.hostkey.rstrip("="), None
    try:
        return None, asyncssh.import_public_key(login.hostkey)
    except asyncssh.KeyImportError:
        raise PreflightError(
            f"{login}: `hostkey` is no public key (`ssh-ed25519 AAAA…`) and no fingerprint (`SHA256:…`): see"
            f" `ssh-keyscan {login.address}`"
        ) from None


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:  # as for ssh, a file that cannot be read has nothing
        return ""


def _parsed(path: Path) -> asyncssh.SSHKnownHosts:
    try:
        return asyncssh.import_known_hosts(_text(path))
    except ValueError as error:
        raise PreflightError(f"{path}: {error}: mend the line, or take it out") from None


def _pattern(host: str, port: int) -> str:
    return host if port == SSH_PORT else f"[{host}]:{port}"


def _named(key: asyncssh.SSHKey) -> str:
    return f"{key.get_algorithm()} {key.get_fingerprint()}"
