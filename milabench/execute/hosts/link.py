"""Connecting to a node by SSH, and how a connection ends: each way to fail is told with what to do."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import socket
from collections.abc import Callable, Sequence
from typing import cast

import asyncssh
from asyncssh.config import ConfigParseError

from milabench.agent import processes
from milabench.errors import PreflightError
from milabench.execute.hosts.child import KNOWN
from milabench.execute.hosts.hostkeys import HostKeys
from milabench.execute.hosts.login import UNKNOWN_ADDRESS, Login
from milabench.system.file import SSH_PORT

_MISSED = 3  # keep-alives that may stay without an answer
_CLOSE_S = 5.0
_ROUTES = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN)
_OF_ASYNCIO = "Connect call failed"
_NUMBERED = re.compile(rf"\[Errno (\d+)\] {_OF_ASYNCIO}")


def plain(error: Exception) -> Exception:
    """Return an error of connecting in the words of the operating system; asyncio has its own for it.

    Of several addresses of a node a refusal says most: something is there.
    """
    if not isinstance(error, OSError) or isinstance(error, socket.gaierror):
        return error
    if error.errno is None:
        numbers = [int(number) for number in _NUMBERED.findall(str(error))]
    else:
        numbers = [error.errno] if _OF_ASYNCIO in str(error) else []
    if not numbers:
        return error
    number = errno.ECONNREFUSED if errno.ECONNREFUSED in numbers else numbers[0]
    return OSError(number, os.strerror(number))


class Link(asyncssh.SSHClient):
    """A connection to a node: ``connection`` when it is made, ``lost`` when it is gone, with the reason.

    ``tell`` is told of a host key that is new and trusted.
    """

    def __init__(self, login: Login, tell: Callable[[str], object]) -> None:
        self.login, self._tell = login, tell
        self.connection: asyncssh.SSHClientConnection | None = None
        self.lost: str | None = None
        self._keys: HostKeys | None = None
        self._user, self._who = login.user, str(login)
        self._jump: str | None = None
        self._answered = False

    async def open(self) -> asyncssh.SSHClientConnection:
        """Connect and log in. Raises PreflightError with what is wrong and what to do."""
        asyncssh.set_log_level("CRITICAL")  # what there is to say is said here
        try:
            self.connection = await asyncio.wait_for(self._connect(), self.login.connect_s)
        except PreflightError:
            raise
        except asyncio.TimeoutError:
            raise PreflightError(f"{self._who}: {self._silent()}") from None
        except (asyncssh.Error, OSError, ValueError) as error:
            raise PreflightError(f"{self._who_fails(error)} {self._trouble(plain(error))}") from None
        assert self._keys is not None
        try:
            written = self._keys.remember()
        except PreflightError:
            self.abort()
            raise
        if written is not None:
            self._tell(written)
        return self.connection

    async def close(self) -> None:
        """End the connection; where the other side does not answer, without it."""
        if self.connection is None:
            return
        self.connection.close()
        try:
            await asyncio.wait_for(self.connection.wait_closed(), _CLOSE_S)
        except (asyncio.TimeoutError, asyncssh.Error, OSError):
            self.abort()

    def abort(self) -> None:
        if self.connection is not None:
            self.connection.abort()

    # What asyncssh calls -----------------------------------------------------------------------------------------

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        del conn
        self._answered = True

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = "it was closed" if exc is None else self._how(exc)

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        del addr
        return self._keys is not None and self._keys.accepts(host, port, key)

    # Inside ------------------------------------------------------------------------------------------------------

    async def _connect(self) -> asyncssh.SSHClientConnection:
        login = self.login
        options = asyncssh.SSHClientConnectionOptions(
            config=(),  # the user's own
            host=login.address,
            port=() if login.port in (None, SSH_PORT) else login.port,
            username=login.user or (),
            client_keys=() if login.key is None else [str(login.key)],
            password_auth=False,  # nothing is asked of anybody
            kbdint_auth=False,
            keepalive_interval=login.keepalive_s,
            keepalive_count_max=_MISSED,
        )
        self._user, self._jump = options.username, cast(str | None, options.tunnel) or None
        self._who = who(login, options.host, options.port, self._jump, proxied=bool(options.proxy_command))
        # `none` of the user's configuration, which would switch the look off, is as if nothing was named
        own, shared = (options.config.get(f"{whose}KnownHostsFile") or () for whose in ("User", "Global"))
        self._keys = HostKeys(login, cast(Sequence[str], own), cast(Sequence[str], shared))
        asked = options.config.get("HostKeyAlgorithms")
        algorithms = self._keys.algorithms(options.host_key_alias or options.host, options.port)
        connection = await asyncssh.connect(
            login.address,
            options.port,
            options=options,
            known_hosts=self._keys.match,
            server_host_key_algs=() if asked else algorithms,
            client_factory=lambda: self,
        )
        if options.proxy_command:  # a child of this process
            KNOWN.update(processes.children(os.getpid()))
        return connection

    def _who_fails(self, error: Exception) -> str:
        """Return of whom an error of connecting tells; of a node behind another one that one's connection fails so."""
        if self._jump is not None and isinstance(error, OSError) and error.filename is None:
            return f"{self._who}: {self._jump}, on the way there,"
        return self._who

    def _silent(self) -> str:
        """Return what it means that nothing came of connecting in time."""
        within = f"within {self.login.connect_s:g} s"
        if self._answered:
            return (
                f"something takes the connection, and does not let anybody log in {within}: is it sshd that listens"
                " there, and not too busy?"
            )
        return (
            f"no answer {within}: the node is down, or a firewall drops what goes there: see `ping` and the address and"
            " port of the node"
        )

    def _trouble(self, error: Exception) -> str:
        """Return what is wrong, as the rest of a sentence about the node, and what to do."""
        match error:
            case asyncssh.HostKeyNotVerifiable():
                return self._keys.problem if self._keys and self._keys.problem else f"cannot be trusted: {error.reason}"
            case asyncssh.KeyExchangeFailed():
                return f"has no way of encryption in common with this machine: {error.reason}"
            case asyncssh.PermissionDenied():
                return self._refused()
            case asyncssh.ProtocolError() | asyncssh.ProtocolNotSupported():
                return f"speaks no SSH that is understood ({error.reason}): is it sshd that listens there?"
            case asyncssh.ConnectionLost() | ConnectionError() if not isinstance(error, ConnectionRefusedError):
                return (
                    "closed the connection before anybody logged in: is it sshd that listens there? Its log says more"
                )
            case asyncssh.ChannelOpenError() if self._jump is not None:
                return _beyond(self._jump, error)
            case asyncssh.KeyImportError() | asyncssh.KeyEncryptionError():
                return f"needs a key that cannot be read ({error}): load one that has a passphrase by `ssh-add`"
            case ConfigParseError():
                return f"cannot be looked up: {error}: mend that file"
            case OSError():
                return _of_the_system(error)
            case _:
                return f"cannot be connected to: {error}"

    def _refused(self) -> str:
        login = self.login
        tried = str(login.key) if login.key is not None else "those of ssh-agent and ~/.ssh"
        return (
            f"refuses to let {self._user} log in: none of the keys is accepted (tried: {tried}): see whether the user"
            f" is right, and put your public key into ~{self._user}/.ssh/authorized_keys there (`ssh-copy-id`)"
        )

    def _how(self, error: Exception) -> str:
        """Return how a connection that was made came to its end."""
        if "keepalive" in str(error).lower():
            return f"no answer came for {(_MISSED + 1) * self.login.keepalive_s:g} s"
        if isinstance(error, (ConnectionResetError, asyncssh.ConnectionLost)):
            return "the other side closed it: its sshd was ended, or the node went down"
        return str(error)


def who(login: Login, host: str, port: int, jump: str | None, *, proxied: bool = False) -> str:
    """Return who is meant, for messages, with what the user's configuration of SSH says of the way there."""
    asked = SSH_PORT if login.port is None else login.port
    found = [f"{host} port {port}"] if (host, port) != (login.address, asked) else []
    found += [f"through {jump}"] if jump else ["by a ProxyCommand"] if proxied else []
    if not found:
        return str(login)
    named = str(login).removesuffix(")")
    return f"{named}{' (' if named == str(login) else '; '}in ~/.ssh/config {', '.join(found)})"


def _beyond(jump: str, error: asyncssh.ChannelOpenError) -> str:
    """Return what keeps the last host on the way to a node from going on to it."""
    if error.code == asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED:
        return f"is not led to by {jump} ({error.reason}): see AllowTcpForwarding and PermitOpen of its sshd"
    return (
        f"cannot be reached from {jump} ({error.reason}): is sshd running there, on that port, and does {jump} know"
        " the address?"
    )


def _of_the_system(error: OSError) -> str:
    match error:
        case socket.gaierror():
            return f"{UNKNOWN_ADDRESS} ({error.strerror}): mend it, or give its IP address (`ip` in a system file)"
        case ConnectionRefusedError():
            return "refuses the connection, nothing listens on that port: is sshd running there, on that port?"
        case _ if error.errno == errno.ETIMEDOUT:
            return "gives no answer: the node is down, or a firewall drops what goes there: see `ping`"
        case _ if error.errno in _ROUTES:
            return f"cannot be reached ({error.strerror}): see `ip route get` for its address"
        case _ if error.filename:
            return f"needs {error.filename}, which cannot be read ({error.strerror})"
        case _:
            return f"cannot be connected to: {error.strerror or error}"
