"""A pipe that is a child process of this one: the agent itself, or a program that carries its streams elsewhere."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TypeVar

from milabench.agent import processes
from milabench.agent.ender import is_ender
from milabench.execute.hosts.words import LastWords

_CHUNK = 1 << 16
KNOWN: set[int] = set()  # children of this process that are no orphans of an agent that was killed

C = TypeVar("C", bound="Child")


class Child:
    """The standard streams of a child process in a session of its own: Ctrl-C is for the runner.

    Of what it prints to standard error ``words`` has the end, where that is kept; else it goes where this process's
    own goes.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        KNOWN.add(process.pid)
        self.words = LastWords()
        self._listener = asyncio.create_task(self._listen(process.stderr)) if process.stderr is not None else None

    @classmethod
    async def spawn(cls: type[C], argv: Sequence[str], environ: Mapping[str, str], *, keeps_words: bool = False) -> C:
        """Start it. Raises OSError, or RuntimeError where no thread can be started."""
        return cls(
            await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE if keeps_words else None,
                env=environ,
                start_new_session=True,
            )
        )

    @property
    def complaint(self) -> str:
        return str(self.words)

    async def read(self) -> bytes:
        assert self.process.stdout is not None
        return await self.process.stdout.read(_CHUNK)

    def write(self, content: bytes) -> None:
        assert self.process.stdin is not None
        if not self.process.stdin.is_closing():
            self.process.stdin.write(content)

    async def drain(self) -> None:
        assert self.process.stdin is not None
        with suppress(ConnectionError):
            await self.process.stdin.drain()

    def close_input(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    async def ended(self) -> str:
        code = await self.process.wait()
        KNOWN.discard(self.process.pid)
        if self._listener is not None:
            await self._listener
        return f"exit code {code}" if code >= 0 else f"killed by signal {-code}"

    async def kill(self) -> None:
        agent, *others = processes.below([self.process.pid], is_ender)
        processes.kill([*others, agent], signal.SIGKILL)

    async def _listen(self, stream: asyncio.StreamReader) -> None:
        while chunk := await stream.read(_CHUNK):
            self.words.hear(chunk)
