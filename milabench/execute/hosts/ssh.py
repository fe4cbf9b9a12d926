"""The agent of another machine, over one session of a connection that stays."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Mapping
from contextlib import suppress
from typing import ClassVar

import asyncssh

from milabench.errors import PreflightError
from milabench.execute.hosts.agent import END_S, SILENCE_S, AgentHost
from milabench.execute.hosts.boot import Boot, passed
from milabench.execute.hosts.link import Link
from milabench.execute.hosts.login import Login
from milabench.execute.hosts.words import LastWords

_CHUNK = 1 << 18
_GONE = (asyncssh.Error, OSError)


class SSHHost(AgentHost):
    """A pipe to an agent on the node of a login; of ``environ`` only what every node is told goes there."""

    remote: ClassVar[bool] = True

    def __init__(self, login: Login, boot: Boot, environ: Mapping[str, str], silence_s: float = SILENCE_S) -> None:
        super().__init__(passed(environ), silence_s)
        self.login, self._boot = login, boot

    async def connect(self) -> Session:
        link = Link(self.login)
        connection = await link.open()
        try:
            command = f"exec {shlex.join(self._boot.command(self.login.python))}"
            try:
                process = await connection.create_process(command, encoding=None, request_pty=False)
            except _GONE as error:
                raise PreflightError(f"{self.login} lets nobody start a command: {error}") from None
            pipe = Session(link, process)
            await self._boot.start(pipe, str(self.login), self.login.python)
        except BaseException:
            link.abort()
            raise
        return pipe


class Session:
    """The streams of a command on a node; the connection is its own and ends with it."""

    def __init__(self, link: Link, process: asyncssh.SSHClientProcess[bytes]) -> None:
        self._link, self._process = link, process
        self._words = LastWords()
        self._listener = asyncio.create_task(self._listen())

    async def read(self) -> bytes:
        try:
            return await self._process.stdout.read(_CHUNK)
        except _GONE:
            return b""

    def write(self, content: bytes) -> None:
        with suppress(*_GONE):
            if not self._process.stdin.is_closing():
                self._process.stdin.write(content)

    async def drain(self) -> None:
        with suppress(*_GONE):
            await self._process.stdin.drain()

    def close_input(self) -> None:
        with suppress(*_GONE):
            self._process.stdin.write_eof()

    async def ended(self) -> str:
        """Wait for the command's end, or the connection's."""
        await self._listener
        with suppress(asyncio.TimeoutError, *_GONE):
            await asyncio.wait_for(self._process.wait_closed(), END_S)
        lost = self._link.lost
        await self._link.close()
        return self._ended() if lost is None else f"the connection to {self._link.login} is gone: {lost}"

    async def kill(self) -> None:
        self._link.abort()

    async def _listen(self) -> None:
        with suppress(*_GONE):
            while chunk := await self._process.stderr.read(_CHUNK):
                self._words.hear(chunk)

    def _ended(self) -> str:
        code, signal = self._process.exit_status, self._process.exit_signal
        how = f"killed by SIG{signal[0]}" if signal else f"exit code {code}"
        said = f": {self._words}" if str(self._words) else ""
        return f"the agent on {self._link.login} has ended: {how}{said}"
