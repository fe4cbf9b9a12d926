"""What an agent is talked to over: a stream of bytes each way, and how it ended."""

from __future__ import annotations

from typing import Protocol


class Transport(Protocol):
    """A pipe to an agent that has been started; whoever makes one starts the agent with it."""

    @property
    def complaint(self) -> str:
        """The last line on standard error so far, where that is kept."""

    async def read(self) -> bytes:
        """Return what comes next; nothing at the end, also where the pipe broke."""

    def write(self, content: bytes) -> None:
        """Send bytes, or keep them until they can be sent; after the end they are dropped."""

    async def drain(self) -> None:
        """Return when little is left to be sent, or when nothing can be sent any more."""

    def close_input(self) -> None:
        """Send no more: the agent ends all that it started, and then itself."""

    async def ended(self) -> str:
        """Wait until nothing of it is left on this machine; return how it ended, in words for the user."""

    async def kill(self) -> None:
        """Break it off at once, with the agent and all that it started as far as they can be reached from here."""
