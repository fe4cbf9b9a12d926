"""The agent of another machine, over one session of a connection that stays."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import ClassVar

import asyncssh

from milabench.errors import PreflightError
from milabench.execute.hosts.agent import END_S, SILENCE_S, AgentHost
from milabench.execute.hosts.boot import Boot, passed
from milabench.execute.hosts.link import Link
from milabench.execute.hosts.login import Login
from milabench.execute.hosts.words import LastWords

_MOST_UNREAD = 1 << 20  # bytes that wait here; more wait at the node
_LAST_S = 1.0  # so long after a command's end what it said last may take
_GONE = (asyncssh.Error, OSError)


class SSHHost(AgentHost):
    """A pipe to an agent on the node of a login; of ``environ`` only what every node is told goes there.

    ``tell`` is told, in a line, of a host key that is new and trusted.
    """

    remote: ClassVar[bool] = True

    def __init__(
        self,
        login: Login,
        boot: Boot,
        environ: Mapping[str, str],
        silence_s: float = SILENCE_S,
        tell: Callable[[str], object] = lambda _: None,
    ) -> None:
        super().__init__(passed(environ), silence_s)
        self.login, self._boot, self._tell = login, boot, tell

    async def connect(self) -> Session:
        link = Link(self.login, self._tell)
        connection = await link.open()
        try:
            command = f"exec {shlex.join(self._boot.command(self.login.python))}"
            pipe = Session(link)
            try:
                await connection.create_session(lambda: pipe, command, encoding=None, request_pty=False)
            except _GONE as error:
                raise PreflightError(f"{self.login} lets nobody start a command: {error}") from None
            await self._boot.start(pipe, str(self.login), self.login.python)
        except BaseException:
            link.abort()
            raise
        return pipe


class Session(asyncssh.SSHClientSession[bytes]):
    """The streams of a command on a node; the connection is its own and ends with it.

    What else holds the command's streams there (something that a start-up file of the shell left running) does not
    keep it: it has ended when the command has.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._channel: asyncssh.SSHClientChannel[bytes] | None = None
        self._words = LastWords()
        self._pieces = bytearray()
        self._how: str | None = None
        self._over = False
        self._news, self._ended, self._writable = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._writable.set()

    # What an agent's host calls ----------------------------------------------------------------------------------

    @property
    def complaint(self) -> str:
        return str(self._words)

    async def read(self) -> bytes:
        while not self._pieces and not self._over:
            self._news.clear()
            await self._news.wait()
        content = bytes(self._pieces)
        self._pieces.clear()
        if self._channel is not None and not self._over:
            self._channel.resume_reading()
        return content

    def write(self, content: bytes) -> None:
        if self._channel is not None and not self._channel.is_closing():
            with suppress(*_GONE):
                self._channel.write(content)

    async def drain(self) -> None:
        await self._writable.wait()

    def close_input(self) -> None:
        if self._channel is not None and not self._channel.is_closing():
            with suppress(*_GONE):
                self._channel.write_eof()

    async def ended(self) -> str:
        """Wait for the command's end, or the connection's."""
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._ended.wait(), END_S)
        lost = self._link.lost
        await self._link.close()
        if self._how is None and lost is not None:
            return f"the connection to {self._link.login} is gone: {lost}"
        said = f": {self._words}" if str(self._words) else ""
        return f"the agent on {self._link.login} has ended: {self._how or 'how is not known'}{said}"

    async def kill(self) -> None:
        self._link.abort()

    # What asyncssh calls -----------------------------------------------------------------------------------------

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        self._channel = chan

    def data_received(self, data: bytes, datatype: int | None) -> None:
        if datatype == asyncssh.EXTENDED_DATA_STDERR:
            self._words.hear(data)
            return
        self._pieces += data
        self._news.set()
        if len(self._pieces) > _MOST_UNREAD and self._channel is not None:
            self._channel.pause_reading()

    def eof_received(self) -> bool:
        self._close()
        return True  # what is being said to the command is still said

    def exit_status_received(self, status: int) -> None:
        self._exited(f"exit code {status}")

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:
        del core_dumped, msg, lang
        self._exited(f"killed by SIG{signal}")

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._ended.set()
        self._writable.set()
        self._close()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def _exited(self, how: str) -> None:
        """Take it that the command has ended; the last of what it said may still be on its way."""
        self._how = how
        self._ended.set()
        asyncio.get_running_loop().call_later(_LAST_S, self._close)

    def _close(self) -> None:
        self._over = True
        self._news.set()
