"""A host and an agent that is played: what waits for it is answered, whatever it says and whenever it goes."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from benchmate.wire import Frames, frame
from milabench.errors import HostLost, PreflightError
from milabench.execute.hosts import Launch
from milabench.execute.hosts.agent import AgentHost
from milabench.execute.virtual import VirtualTime
from milabench.outcome import Exit
from milabench.plan import Command, Job
from milabench.rundir import Files

Message = dict[str, Any]
Says = Callable[["Agent", Message], None]
HELLO = {"event": "hello", "home": "/home/bench"}


class Agent:
    """A pipe at whose other end an agent is played: ``says`` has what it does about a request."""

    def __init__(self, says: Says) -> None:
        self.asked: list[Message] = []
        self.killed = False
        self._says, self._frames = says, Frames()
        self._said = asyncio.StreamReader()

    def say(self, message: Mapping[str, Any], blob: bytes | None = None) -> None:
        self._said.feed_data(frame(message, blob))

    def say_bytes(self, content: bytes) -> None:
        self._said.feed_data(content)

    def go(self) -> None:
        if not self._said.at_eof():
            self._said.feed_eof()

    async def read(self) -> bytes:
        return await self._said.read(1 << 16)

    def write(self, content: bytes) -> None:
        for request in self._frames.feed(content):
            self.asked.append(request)
            self._says(self, request)

    async def drain(self) -> None:
        """It takes all at once."""

    def close_input(self) -> None:
        self.go()

    async def ended(self) -> str:
        return "the agent is gone"

    async def kill(self) -> None:
        self.killed = True
        self.go()


class Played(AgentHost):
    """A host on another machine whose agents are played, one after the other; ``agents`` are those that there were."""

    remote: ClassVar[bool] = True

    def __init__(self, *says: Says) -> None:
        super().__init__({}, silence_s=60.0)
        self.agents: list[Agent] = []
        self._plays = list(says)

    async def connect(self) -> Agent:
        if not self._plays:
            raise PreflightError("nobody is there")
        self.agents.append(Agent(self._plays.pop(0)))
        return self.agents[-1]


class Tried(Played):
    """One that counts how often somebody tries to connect, and that may come back."""

    tries = 0

    async def connect(self) -> Agent:
        self.tries += 1
        await asyncio.sleep(15.0)
        return await super().connect()

    def come_back(self, says: Says) -> None:
        self._plays.append(says)


def serving(**replies: Callable[[Agent, Message], None]) -> Says:
    """Return an agent that says hello, and of each request what is given for it."""

    def say(agent: Agent, request: Message) -> None:
        if request["op"] == "hello":
            agent.say({"id": request["id"], **HELLO})
        elif request["op"] in replies:
            replies[request["op"]](agent, request)

    return say


def launch(folder: Path) -> Launch:
    command = Command(tag="one", benchmark="one", node="n1", argv=("true",), cwd="/", metrics="file")
    files = Files.of(folder, "one")
    return Launch(
        phase="run",
        job=Job(tag="one", commands=(command,), deadline_s=None),
        command=command,
        files=files,
        env={},
        first_seq=0,
        deadline_s=None,
        group=files,
    )


def talk(story: Callable[[Played], Awaitable[Any]], *says: Says) -> Any:
    async def main() -> Any:
        async with Played(*says) as host:
            return await story(host)

    return asyncio.run(asyncio.wait_for(main(), 20))


def ended(folder: Path, *starts: Callable[[Agent, Message], None], **more: Callable[[Agent, Message], None]) -> Exit:
    """Start a process on an agent and return how the runner takes it to have ended."""

    async def story(host: Played) -> Exit:
        return await (await host.start(launch(folder))).wait()

    found: Exit = talk(story, serving(start=starts[0], **more))
    return found


def account(content: bytes) -> Message:
    return {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


NO_REPLIES: Mapping[str, Any] = {
    "no event": {"id": 1},
    "an id that is none": {"id": [], "event": "exit"},
    "a file that is none": {"event": "chunk", "file": 7, "offset": 0, "bytes": 0},
    "a file elsewhere": {"event": "chunk", "file": "../run.json", "offset": 0, "bytes": 0},
    "a place that is none": {"event": "chunk", "file": "one.data", "offset": 1 << 80, "bytes": 0},
    "no bytes": {"event": "chunk", "file": "one.data", "offset": 0},
}


@pytest.mark.parametrize("reply", NO_REPLIES.values(), ids=NO_REPLIES)
def test_an_agent_that_says_what_is_no_reply_is_lost(tmp_path: Path, reply: Message) -> None:
    found = ended(tmp_path, lambda agent, request: agent.say({"id": request["id"], **reply}))
    assert found.cause == "lost"
    assert str(found.error).startswith("what came from the agent is no reply of one (")
    assert list(tmp_path.iterdir()) == []


def test_an_agent_whose_words_are_nested_without_end_is_lost(tmp_path: Path) -> None:
    found = ended(tmp_path, lambda agent, _: agent.say_bytes((200_000).to_bytes(4, "big") + b"[" * 200_000))
    assert (found.cause, found.error) == (
        "lost",
        "what came from the agent is no reply of one (no frame: it is nested too deep)",
    )


def test_an_end_that_is_told_with_the_last_breath_is_heard(tmp_path: Path) -> None:
    def last(agent: Agent, request: Message) -> None:
        agent.say({"id": request["id"], "event": "chunk", "file": "one.stdout", "offset": 0}, b"all")
        agent.say({"id": request["id"], "event": "exit", "code": 3, "files": {"one.stdout": account(b"all")}})
        agent.go()

    found = ended(tmp_path, last)
    assert (found.code, found.error) == (3, None)
    assert (tmp_path / "one.stdout").read_bytes() == b"all"


def test_an_end_is_heard_of_before_what_was_written_has_come(tmp_path: Path) -> None:
    async def story(host: Played) -> tuple[Exit, bool, Exit]:
        process = await host.start(launch(tmp_path))
        ended = asyncio.ensure_future(process.wait())
        host.agents[0].say({"id": 2, "event": "gone", "code": 3, "cause": None})
        gone = await process.gone()
        early = ended.done()
        host.agents[0].say({"id": 2, "event": "chunk", "file": "one.stdout", "offset": 0}, b"all")
        host.agents[0].say({"id": 2, "event": "exit", "code": 3, "files": {"one.stdout": account(b"all")}})
        return gone, early, await ended

    gone, early, last = talk(story, serving())
    assert (gone.code, early, last.code, last.error) == (3, False, 3, None)


def test_of_a_process_whose_agent_goes_both_is_that(tmp_path: Path) -> None:
    async def story(host: Played) -> tuple[Exit, Exit]:
        process = await host.start(launch(tmp_path))
        return await process.gone(), await process.wait()

    assert [each.cause for each in talk(story, serving(start=goes))] == ["lost", "lost"]


@pytest.mark.parametrize("files", [{"one.stdout": {"size": -4, "sha256": ""}}, {"one.stdout": None}])
def test_files_that_nothing_sensible_is_told_of_are_an_error_of_the_process(tmp_path: Path, files: Any) -> None:
    def fetched(agent: Agent, request: Message) -> None:
        agent.say({"id": request["id"], "event": "fetched", "files": files})

    found = ended(
        tmp_path,
        lambda agent, request: agent.say({"id": request["id"], "event": "exit", "code": 0, "files": files}),
        fetch=fetched,
    )
    assert (found.code, found.error) == (
        0,
        "one.stdout did not come whole from its node: its node did not say what it holds",
    )


def test_what_comes_of_a_process_after_its_end_is_written_nowhere(tmp_path: Path) -> None:
    def late(agent: Agent, request: Message) -> None:
        agent.say({"id": request["id"], "event": "exit", "code": 0, "files": {"one.stdout": account(b"all")}})

    def fetched(agent: Agent, request: Message) -> None:
        agent.say({"id": request["target"], "event": "chunk", "file": "one.stdout", "offset": 3}, b" and more")
        agent.say({"id": request["id"], "event": "chunk", "file": "one.stdout", "offset": 0}, b"all")
        agent.say({"id": request["id"], "event": "fetched", "files": {"one.stdout": account(b"all")}})
        agent.say({"id": request["id"], "event": "chunk", "file": "one.stdout", "offset": 3}, b" and more")

    assert ended(tmp_path, late, fetch=fetched).error is None
    assert (tmp_path / "one.stdout").read_bytes() == b"all"


def held(*, held: bool) -> Callable[[Agent, Message], None]:
    return lambda agent, request: agent.say({"id": request["id"], "event": "held", "held": held})


def goes(agent: Agent, _: Message) -> None:
    agent.go()


def refused(agent: Agent, request: Message) -> None:
    agent.say({"id": request["id"], "event": "error", "message": "read-only"})


def test_no_agent_works_on_without_what_the_one_before_held(tmp_path: Path) -> None:
    """Where the next cannot hold it, processes of the one before may still write the run's files."""

    async def story(host: Played) -> tuple[list[str], list[bool]]:
        await host.request("hold", path="run.lock")
        await (await host.start(launch(tmp_path))).wait()
        why = []
        for _ in range(2):
            with pytest.raises(HostLost) as found:
                await host.start(launch(tmp_path))
            why.append(str(found.value))
        return why, [agent.killed for agent in host.agents]

    why, killed = talk(story, serving(hold=held(held=True), start=goes), serving(hold=refused), serving(hold=refused))
    assert why == ["the agent is gone; and then: hold failed: read-only"] * 2
    assert killed == [False, True, True]


def test_an_agent_that_nobody_waits_for_any_more_is_not_taken_for_one_that_was_greeted(tmp_path: Path) -> None:
    async def story(host: Played) -> list[bool]:
        await (await host.start(launch(tmp_path))).wait()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(host.request("clock"), 0.01)
        assert (await host.request("clock"))["time_ns"] == 5
        return [agent.killed for agent in host.agents]

    silent: Says = lambda agent, request: None  # noqa: E731
    clock = serving(clock=lambda agent, request: agent.say({"id": request["id"], "event": "clock", "time_ns": 5}))
    assert talk(story, serving(start=goes), silent, clock) == [False, True, False]


def test_a_node_that_could_not_be_reached_again_is_not_tried_for_a_while_but_to_see_whether_it_is_there(
    tmp_path: Path,
) -> None:
    def answer(agent: Agent, request: Message) -> None:
        agent.say({"id": request["id"], "event": "clock", "time_ns": 1})

    def go(agent: Agent, request: Message) -> None:
        del request
        agent.go()

    async def story() -> None:
        async with Tried(serving(port=go)) as host:
            for _ in range(3):
                with pytest.raises(HostLost) as raised:
                    await host.request("port")
            assert str(raised.value) == "the agent is gone; and then: nobody is there"
            with pytest.raises(HostLost, match="nobody is there"):
                await host.start(launch(tmp_path))
            assert host.tries == 2  # to connect, and once again
            with pytest.raises(HostLost):
                await host.request("clock")
            assert host.tries == 3
            await asyncio.sleep(61.0)
            with pytest.raises(HostLost):
                await host.request("port")
            assert host.tries == 4
            host.come_back(serving(clock=answer, port=answer))
            assert (await host.request("clock"))["time_ns"] == 1
            assert (await host.request("port"))["time_ns"] == 1
            assert host.tries == 5

    VirtualTime().run(story())


def test_a_monitor_that_went_with_its_agent_is_ended_without_another_one() -> None:
    async def story(host: Played) -> int:
        with pytest.raises(HostLost):
            await host.request("monitor", path="n1.monitor.jsonl")
        with pytest.raises(HostLost, match="the agent is gone"):
            await host.request("monitor", path=None)
        return len(host.agents)

    assert talk(story, serving(monitor=goes), serving()) == 1


def test_a_node_that_is_being_connected_again_is_given_up_at_once(tmp_path: Path) -> None:
    async def story() -> None:
        loop = asyncio.get_running_loop()
        async with Tried(serving(port=goes)) as host:
            with pytest.raises(HostLost):
                await host.request("port")
            host.come_back(serving())
            began = loop.time()
            loop.call_later(2.0, host.give_up)
            waiting = [asyncio.ensure_future(host.start(launch(tmp_path))) for _ in range(2)]
            for each in waiting:
                with pytest.raises(HostLost, match="the agent is gone; and it was not connected again"):
                    await each
            assert (loop.time() - began, host.tries) == (2.0, 2)
            with pytest.raises(HostLost, match="not connected again"):
                await host.request("clock")
            assert (loop.time() - began, host.tries) == (2.0, 2)

    VirtualTime().run(story())


def test_an_agent_that_cannot_hold_yet_what_the_one_before_held_is_given_up_at_once(tmp_path: Path) -> None:
    async def story() -> None:
        loop = asyncio.get_running_loop()
        async with Played(serving(hold=held(held=True), start=goes), serving(hold=held(held=False))) as host:
            await host.request("hold", path="run.lock")
            await (await host.start(launch(tmp_path))).wait()
            began = loop.time()
            loop.call_later(2.0, host.give_up)
            with pytest.raises(HostLost, match="not connected again"):
                await host.start(launch(tmp_path))
            assert (loop.time() - began, [agent.killed for agent in host.agents]) == (2.0, [False, True])

    VirtualTime().run(story())


def test_an_agent_that_is_there_serves_on_when_it_would_be_given_up(tmp_path: Path) -> None:
    async def story(host: Played) -> None:
        host.give_up()
        await host.start(launch(tmp_path))
        assert (await host.request("clock"))["time_ns"] == 5

    clock = serving(clock=lambda agent, request: agent.say({"id": request["id"], "event": "clock", "time_ns": 5}))
    talk(story, clock)
