"""What every host does alike, whatever its pipe: one test for all kinds of them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from agents import assert_ends, send_tree
from benchmate.wire import decode_event
from milabench.errors import PreflightError
from milabench.execute.hosts.agent import AgentHost
from milabench.launchtime import TEMPORARY
from milabench.outcome import Exit
from milabench.plan.types import Once
from places import PLACES, TEXTS, Place


@pytest.fixture(params=PLACES, scope="module")
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with PLACES[request.param](tmp_path_factory.mktemp(request.param)) as made:
        yield made


@pytest.fixture(autouse=True)
def _fresh(place: Place) -> None:
    """Let each test find empty folders."""
    for folder in (place.seen, place.run):
        for path in folder.iterdir():
            path.unlink()


def ended(place: Place, script: str = "", **keys: Any) -> Exit:
    """Start a process and return how it ended."""

    async def story(host: AgentHost) -> Exit:
        return await (await host.start(place.launch(script, **keys))).wait()

    found: Exit = place.talk(story)
    return found


# Words and values --------------------------------------------------------------------------------------------------


def test_arguments_and_variables_arrive_as_they_are(place: Place) -> None:
    shown = "[sys.argv[1:], {k: v for k, v in os.environ.items() if k[:2] == 'T_'}]"
    show = f"import json, os, sys; print(json.dumps({shown}))"
    env = {f"T_{number}": text for number, text in enumerate(TEXTS.values())}
    found = ended(place, argv=("python3", "-I", "-S", "-c", show, " ".join(env), *TEXTS.values()), env=env)
    assert found.code == 0
    (_, *arguments), variables = json.loads(place.printed())
    assert dict(zip(TEXTS, arguments, strict=True)) == TEXTS
    assert variables == env


def test_a_folder_of_any_name_is_worked_in(place: Place) -> None:
    name = 'it\'s a "folder" $HOME * é'
    (place.seen / name).mkdir(mode=0o777)
    launch = place.launch("pwd")
    object.__setattr__(launch.command, "cwd", f"{place.cwd}/{name}")

    async def story(host: AgentHost) -> int | None:
        return (await (await host.start(launch)).wait()).code

    assert place.talk(story) == 0
    (place.seen / name).rmdir()
    assert place.printed() == f"{place.cwd}/{name}\n"


def test_what_the_operator_sets_for_pip_is_known_on_the_node(place: Place) -> None:
    assert ended(place, 'printf %s "$PIP_TOLD"').code == 0
    assert place.printed() == "by the operator"


# Starting and ending -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "code", "number"), [("exit 0", 0, None), ("exit 7", 7, None), ("kill -9 $$", None, signal.SIGKILL)]
)
def test_how_a_process_ended_is_told(place: Place, script: str, code: int | None, number: int | None) -> None:
    found = ended(place, f"echo out; echo err >&2; {script}")
    assert (found.code, found.signal, found.cause, found.error) == (code, number, None, None)
    assert ((place.run / "one.stdout").read_text(), (place.run / "one.stderr").read_text()) == ("out\n", "err\n")


@pytest.mark.parametrize("end", ["exit 0", "exit 1", "kill -9 $$", "sleep 1000"])
def test_a_temporary_folder_is_there_as_long_as_its_process(place: Place, end: str) -> None:
    script = f'echo "$1=$LOGS"; mkdir -p "$1/inner" && touch "$1/inner/file" && touch there; {end}'
    argv = ("sh", "-c", script, "sh", TEMPORARY)
    shown: list[str] = []

    async def story(host: AgentHost) -> None:
        process = await host.start(place.launch("", argv=argv, env={"LOGS": TEMPORARY}))
        while not (place.seen / "there").exists():
            await asyncio.sleep(0.02)
        if end == "sleep 1000":
            await process.stop("limit", 0.5)
        await process.wait()
        folder, _, same = place.printed().strip().partition("=")
        assert folder == same
        look = await host.start(place.launch(f'test -d "{Path(folder).parent}"; echo $?; test -e "{folder}"; echo $?'))
        await look.wait()
        shown.extend(place.printed().splitlines()[1:])

    place.talk(story)
    assert shown == ["0", "1"]


def test_a_variable_that_the_node_has_already_is_no_temporary_folder(place: Place) -> None:
    assert ended(place, 'printf %s "$PIP_TOLD"', env={"PIP_TOLD": TEMPORARY}).code == 0
    assert place.printed() == "by the operator"


def test_what_cannot_be_started_is_told_and_others_are(place: Place) -> None:
    assert ended(place, argv=("no-such-program",)).error == (
        "cannot be started: No such file or directory: no-such-program"
    )
    assert ended(place, "exit 3").code == 3


def test_printed_metrics_become_events_where_the_runner_is(place: Place) -> None:
    assert ended(place, "echo '{\"rate\": 1.5}'", metrics="stdout").code == 0
    events = [decode_event(line) for line in (place.run / "one.data").read_bytes().splitlines()]
    assert [event.data["rate"] for event in events if event and event.event == "data"] == [1.5]


def test_much_that_is_printed_is_all_there_with_the_exit(place: Place) -> None:
    found = ended(place, "seq 1000000; seq 5 >&2")
    assert (found.code, found.error) == (0, None)
    assert place.printed() == "".join(f"{number}\n" for number in range(1, 1_000_001))
    assert (place.run / "one.stderr").read_text() == "1\n2\n3\n4\n5\n"


def test_folders_and_files_are_sent_to_the_node_as_they_are(place: Place, tmp_path: Path) -> None:
    source = tmp_path / "tree"
    (source / "inner").mkdir(parents=True)
    (source / "inner" / "run").write_text("#!/bin/sh\necho it runs $(wc -c < ${0%/*}/../large)\n")
    (source / "inner" / "run").chmod(0o755)
    (source / "large").write_bytes(os.urandom(3 << 20))

    async def story(host: AgentHost) -> Exit:
        await send_tree(host, source, f"{place.cwd}/tree")
        await send_tree(host, source / "large", f"{place.cwd}/tree/again")
        script = "tree/inner/run; cmp tree/large tree/again && rm -r tree"
        return await (await host.start(place.launch(script))).wait()

    found: Exit = place.talk(story)
    assert (found.code, place.printed()) == (0, f"it runs {3 << 20}\n")


def test_many_processes_run_at_once(place: Place) -> None:
    async def one(host: AgentHost, number: int) -> int | None:
        launch = place.launch(
            f"echo $$ > began{number}; while ! test -e go; do sleep 0.02; done; exit {number}", tag=f"p{number}"
        )
        return (await (await host.start(launch)).wait()).code

    async def story(host: AgentHost) -> list[int | None]:
        running = [asyncio.create_task(one(host, number)) for number in range(20)]
        for number in range(20):
            await place.marked(f"began{number}")
        (place.seen / "go").touch()
        return await asyncio.gather(*running)

    assert place.talk(story) == list(range(20))


@pytest.mark.parametrize(
    ("script", "number"),
    [
        ("echo $$ > pid; exec sleep 1000", signal.SIGTERM),
        ("trap '' TERM; echo $$ > pid; while :; do sleep 0.05; done", signal.SIGKILL),
    ],
    ids=["gentle", "at once"],
)
def test_a_stop_is_gentle_first(place: Place, script: str, number: int) -> None:
    async def story(host: AgentHost) -> tuple[Exit, int]:
        process = await host.start(place.launch(script))
        pid = await place.marked("pid")
        await process.stop("interrupt", 0.3)
        return await process.wait(), pid

    found, pid = place.talk(story)
    assert (found.signal, found.cause) == (number, "interrupt")
    assert_ends(pid)


def test_a_deadline_ends_the_whole_tree(place: Place) -> None:
    found = ended(place, "(setsid sh -c 'echo $$ > pid; exec sleep 1000' &) ; sleep 1000", deadline_s=0.5)
    assert found.cause == "deadline"
    assert_ends(asyncio.run(place.marked("pid")))


def test_closing_ends_everything(place: Place) -> None:
    async def story(host: AgentHost) -> int:
        await host.start(
            place.launch("(setsid sh -c 'echo $$ > daemon; exec sleep 1000' &); echo $$ > pid; sleep 1000")
        )
        await place.marked("daemon")
        return await place.marked("pid")

    pid = place.talk(story)
    assert_ends(pid)
    assert_ends(asyncio.run(place.marked("daemon")))


# Requests ----------------------------------------------------------------------------------------------------------


def test_the_agent_says_where_it_is(place: Place) -> None:
    async def story(host: AgentHost) -> Any:
        return dict(await host.hello()), (await host.request("probe", arch=None, reach={}))["facts"], host.remote

    hello, facts, remote = place.talk(story)
    assert hello["host"] == facts["hostname"]
    assert hello["python_version"].startswith("3.")
    assert abs(hello["time_ns"] - time.time_ns()) < 60e9
    assert (hello["archive"] is not None) == remote
    assert facts["cpus"] == len(os.sched_getaffinity(0))


def test_what_a_node_cannot_do_is_told_and_harms_nothing(place: Place) -> None:
    async def story(host: AgentHost) -> int | None:
        with pytest.raises(PreflightError, match="no such op|KeyError"):
            await host.request("no such op")
        return (await (await host.start(place.launch("exit 4"))).wait()).code

    assert place.talk(story) == 4


def test_what_is_needed_once_is_begun_and_ended(place: Place) -> None:
    once = asdict(Once(record=f"{place.cwd}/record", folder=None, base={"a": "1"}, parts={}))

    async def story(host: AgentHost) -> list[Any]:
        states = [(await host.request("begin", target="t", once=once))["state"]]
        await host.request("end", target="t", done=True)
        states.append((await host.request("begin", target="t", once=once))["state"])
        return states

    assert place.talk(story) == ["needed", "done"]


def test_a_file_is_held_by_one_agent_at_a_time(place: Place) -> None:
    path = f"{place.cwd}/held"

    async def story(host: AgentHost) -> list[bool]:
        found = [(await host.request("hold", path=path))["held"]]
        async with place.make() as other:
            found.append((await other.request("hold", path=path))["held"])
        return found

    assert place.talk(story) == [True, False]


# The agent's own end -----------------------------------------------------------------------------------------------


def test_an_agent_that_is_killed_is_told_of_and_followed_by_another(place: Place) -> None:
    path = f"{place.cwd}/held"

    async def story(host: AgentHost) -> tuple[Exit, int, bool, int | None]:
        await host.request("hold", path=path)
        process = await host.start(place.launch("echo $PPID > agent; echo $$ > pid; exec sleep 1000"))
        pid = await place.marked("pid")
        os.kill(await place.marked("agent"), signal.SIGKILL)
        lost = await process.wait()
        again = (await (await host.start(place.launch("exit 3", tag="two"))).wait()).code
        async with place.make() as other:
            return lost, pid, (await other.request("hold", path=path))["held"], again

    lost, pid, held_by_other, again = place.talk(story)
    assert lost.cause == "lost"
    assert lost.error
    assert_ends(pid, timeout_s=20)
    assert (held_by_other, again) == (False, 3)


def test_a_runner_that_is_killed_leaves_nothing(place: Place, tmp_path: Path) -> None:
    """It is another process that talks to an agent here, and is killed while the agent runs something."""
    runner = os.fork()
    if not runner:
        try:
            place.talk(lambda host: _for_ever(place, host), timeout_s=60)
        finally:
            os._exit(0)
    pid = asyncio.run(asyncio.wait_for(place.marked("pid"), 60))
    agent = asyncio.run(place.marked("agent"))
    os.kill(runner, signal.SIGKILL)
    os.waitpid(runner, 0)
    assert_ends(pid, timeout_s=30)
    assert_ends(agent, timeout_s=30)


async def _for_ever(place: Place, host: AgentHost) -> None:
    await host.start(place.launch("echo $PPID > agent; echo $$ > pid; exec sleep 1000"))
    await asyncio.sleep(1000)
