"""A process that an agent started, by what is told of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from milabench.execute.hosts import GRACE_S
from milabench.outcome import Cause, Exit


def _future() -> asyncio.Future[dict[str, Any]]:
    return asyncio.get_running_loop().create_future()


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What is told of a process: that it is ``gone``, and has ``ended``: elsewhere its files come between.

    That it is gone is told of one elsewhere only: of others it is known when they have ended.
    """

    gone: asyncio.Future[dict[str, Any]] = field(default_factory=_future)
    ended: asyncio.Future[dict[str, Any]] = field(default_factory=_future)

    def __post_init__(self) -> None:
        self.ended.add_done_callback(self._told_last)

    def _told_last(self, ended: asyncio.Future[dict[str, Any]]) -> None:
        if not self.gone.done():
            self.gone.set_result(ended.result())


class AgentProcess:
    """A process that an agent started; ``post`` sends that agent what has no reply."""

    def __init__(self, post: Callable[[dict[str, Any]], object], number: int, tag: str, told: Told) -> None:
        self._post, self._number, self._tag, self._told = post, number, tag, told

    async def stop(self, cause: Cause, grace_s: float | None = None, why: str | None = None) -> None:
        grace_s = GRACE_S[cause] if grace_s is None else grace_s
        self._post({"op": "stop", "target": self._number, "cause": cause, "grace_s": grace_s, "why": why})

    async def gone(self) -> Exit:
        return self._exit(await asyncio.shield(self._told.gone))

    async def wait(self) -> Exit:
        return self._exit(await asyncio.shield(self._told.ended))

    def _exit(self, message: Mapping[str, Any]) -> Exit:
        fields = ("code", "signal", "oom", "cause", "error", "max_rss_bytes", "seconds", "ended_s", "full_disk")
        return Exit(tag=self._tag, **{name: message[name] for name in fields if name in message})
