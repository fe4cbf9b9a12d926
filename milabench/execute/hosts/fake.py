"""A host without processes: every command does what its story says. Public, for exact tests of schedules.

With ``execute.virtual`` its processes take virtual time. It keeps what an agent promises: deadlines, limits that the
runner is to enforce, the ladder of signals, exits that are told once.
"""

from __future__ import annotations

import asyncio
import itertools
import signal
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmate import wire
from milabench.errors import HostLost
from milabench.execute.hosts import GRACE_S, Launch
from milabench.execute.travel import SoFar
from milabench.outcome import Cause, Exit


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What a process does: ``warmups`` and ``steps`` of ``items`` each, one every ``step_s``, then it ends.

    ``ends`` is how it does so by itself, ``after_s`` seconds after its last step; None: it goes on until it is ended.
    ``ignores_term``: only SIGKILL ends it. ``leads``: after its last step it says, as the leader of a group, that
    enough is measured, and waits. What it wrote takes ``sends_s`` to arrive, after its end. ``events`` are written at
    its beginning. A launcher's ranks all do the same, but for
    those that are ``silent``.
    """

    steps: int = 3
    warmups: int = 0
    items: int = 10
    step_s: float = 0.1
    after_s: float = 0.0
    ends: Exit | None = Exit(tag="", code=0)
    ignores_term: bool = False
    leads: bool = False
    sends_s: float = 0.0
    events: Sequence[tuple[str, Any]] = ()
    silent: Collection[int] = ()


Script = Callable[[Launch], Story]
Reply = dict[str, Any] | Callable[[dict[str, Any]], dict[str, Any]]
HANGS = Story(steps=0, ends=None)


def exits(code: int, **story: Any) -> Story:
    """Return the story of a process that exits with a code, without a step unless ``steps`` says otherwise."""
    return Story(**{"steps": 0, **story}, ends=Exit(tag="", code=code))


class FakeHost:
    """Keep what was asked in ``launched`` and ``requests``; answer requests, ``hello`` too, from ``replies``.

    A reply is a message, or what makes one of a request's fields.
    """

    def __init__(
        self,
        script: Script | None = None,
        replies: Mapping[str, Reply] | None = None,
        *,
        remote: bool = False,
    ) -> None:
        self.remote = remote
        self.launched: list[str] = []
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self._script = script or (lambda _: Story())
        self._processes: list[FakeProcess] = []
        self._lost = False
        self._replies: dict[str, Reply] = {
            "stage": {"event": "staged"},
            "begin": {"event": "begun", "state": "needed"},
            "hold": {"event": "held", "held": True},
            "hello": {"event": "hello", "host": "fake", "archive": None},
            "port": lambda fields: {"event": "port", "port": _free(**fields)},
            "reach": {"event": "reached", "why": ""},
            "ready": {"event": "ready", "why": ""},
            **(replies or {}),
        }

    async def start(self, launch: Launch) -> FakeProcess:
        self.launched.append(launch.command.tag)
        process = FakeProcess(launch, self._script(launch))
        self._processes.append(process)
        if self._lost:
            await process.stop("lost", 0.0)
        return process

    async def request(self, op: str, **fields: Any) -> dict[str, Any]:
        self.requests.append((op, fields))
        if self._lost:
            raise HostLost("the node is gone")
        reply = self._replies.get(op, {"event": "done"})
        return reply(fields) if callable(reply) else reply

    async def stage(self, staged: Sequence[Mapping[str, Any]], so_far: SoFar | None = None) -> None:
        del so_far
        await self.request("stage", staged=staged)

    async def send(self, source: Path, target: str, names: Sequence[str], told: Callable[[int, int], object]) -> None:
        """Have the files there, and tell that each was sent."""
        await self.request("send", source=source, target=target, names=names)
        for name in names:
            size = (source / name).lstat().st_size
            told(size, size)

    async def hello(self) -> Mapping[str, Any]:
        return await self.request("hello")

    async def lose(self) -> None:
        """Be gone, with everything that runs."""
        self._lost = True
        for process in self._processes:
            await process.stop("lost", 0.0)

    def give_up(self) -> None:
        """Nothing is connected again."""

    async def close(self) -> None:
        """Nothing is open."""


def _free(lowest: int, taken: Sequence[int]) -> int:
    return next(port for port in itertools.count(lowest) if port not in taken)


class FakeProcess:
    """A process that lives in the event loop."""

    def __init__(self, launch: Launch, story: Story) -> None:
        self._launch, self._story = launch, story
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[Exit] = self._loop.create_future()
        self._cause: Cause | None = None
        self._sent_at = 0.0
        self._started = self._loop.time()
        self._writing = list(self._files())
        self._steps: list[wire.StepsWriter] = []
        self._life = asyncio.create_task(self._live())
        deadline_s = launch.deadline_s
        self._deadline = deadline_s and self._loop.call_later(deadline_s, self._end, "deadline", GRACE_S["deadline"])

    async def stop(self, cause: Cause, grace_s: float | None = None, why: str | None = None) -> None:
        del why
        self._end(cause, GRACE_S[cause] if grace_s is None else grace_s)

    async def gone(self) -> Exit:
        return await asyncio.shield(self._ended)

    async def wait(self) -> Exit:
        ended = await self.gone()
        if (left_s := self._sent_at - self._loop.time()) > 0:
            await asyncio.sleep(left_s)
        return ended

    async def _live(self) -> None:
        story = self._story
        for events_path, _ in self._writing:
            events = wire.EventWriter(events_path, first_seq=self._launch.first_seq)
            for event, data in story.events:
                events.write(event, data)
            events.close()
        for index in range(story.warmups + story.steps):
            await asyncio.sleep(story.step_s)
            if self._writing:
                self._step(index)
            if self._ended.done():
                return
        if story.leads:
            self._launch.full()
        elif story.ends is not None:
            await asyncio.sleep(story.after_s)
            self._finish(story.ends)

    def _files(self) -> Iterator[tuple[Path, Path]]:
        """Yield the events and steps of each rank that says something; of a process without ranks, its own."""
        group, ranks = self._launch.group, self._launch.command.ranks
        if group is None:
            return
        for rank in range(ranks.first, ranks.first + ranks.count) if ranks else (0,):
            if rank not in self._story.silent:
                yield group.of_rank(rank)

    def _step(self, index: int) -> None:
        story, limit = self._story, self._launch.job.limit
        if not self._steps:
            self._steps += [wire.StepsWriter(path, unit="items", zero_ns=0) for _, path in self._writing]
        ns, phase = round(story.step_s * 1e9), wire.WARMUP if index < story.warmups else wire.MEASURED
        for steps in self._steps:
            steps.append(index * ns + 1, (index + 1) * ns + 1, story.items, phase, wire.GOOD)
        if self._launch.job.stop == "runner" and index + 1 == limit.skip + (limit.observations or 0):
            self._end("limit", GRACE_S["limit"])

    def _end(self, cause: Cause, grace_s: float) -> None:
        """SIGTERM, and SIGKILL after the grace."""
        if self._ended.done():
            return
        self._cause = self._cause or cause
        if grace_s > 0 and not self._story.ignores_term:
            self._finish(Exit(tag="", signal=signal.SIGTERM))
        elif grace_s > 0:
            self._loop.call_later(grace_s, self._end, cause, 0.0)
        else:
            self._finish(Exit(tag="", signal=signal.SIGKILL))

    def _finish(self, ended: Exit) -> None:
        if self._ended.done():
            return
        while self._steps:
            self._steps.pop().close()
        if self._deadline:
            self._deadline.cancel()
        if asyncio.current_task() is not self._life:
            self._life.cancel()
        seconds = self._loop.time() - self._started
        self._sent_at = self._loop.time() + self._story.sends_s
        self._ended.set_result(
            replace(ended, tag=self._launch.command.tag, cause=ended.cause or self._cause, seconds=seconds)
        )
