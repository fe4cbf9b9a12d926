"""Processes in containers, by the agent: as without one, and nothing is left of them."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agents import assert_ends, launch, pid_in, talk
from containers import Engine
from harness import agents, wait_until
from milabench.agent.abandoned import mark
from milabench.agent.container import Container, Inside, started
from milabench.agent.ender import is_ender
from milabench.agent.processes import children
from milabench.execute.hosts.local import LocalHost
from milabench.launchtime import TEMPORARY
from milabench.outcome import Exit, Seen, outcome
from places import TEXTS

_GIVEN = "{name: value for name, value in os.environ.items() if name.startswith('T_')}"
TELLS = f"import json, os, sys; print(json.dumps([sys.argv[1:], {_GIVEN}]))"


def ended(engine: Engine, folder: Path, script: str, container: Container, **keys: Any) -> Exit:
    """Start a line of shell in a container and return how it ended."""
    env = keys.pop("env", None)

    async def story(host: LocalHost) -> Exit:
        return await (await host.start(launch(folder, script, env=env, container=container, **keys))).wait()

    found: Exit = talk(story, **engine.environ)
    return found


def stopped(engine: Engine, folder: Path, script: str, container: Container, grace_s: float) -> Exit:
    """Start a line of shell in a container, wait for its mark, interrupt it, and return how it ended."""

    async def story(host: LocalHost) -> Exit:
        process = await host.start(launch(folder, script, container=container))
        while not (folder / "mark").exists() or not engine.running():
            await asyncio.sleep(0.02)
        await process.stop("interrupt", grace_s)
        return await process.wait()

    found: Exit = talk(story, **engine.environ)
    return found


def printed(folder: Path) -> str:
    return (folder / "one.stdout").read_text()


# What a process finds ------------------------------------------------------------------------------------------------


def test_a_process_runs_in_a_container_and_its_output_and_exit_code_arrive(
    engine: Engine, container: Container, tmp_path: Path
) -> None:
    script = "test -e /run/.containerenv -o -e /.dockerenv && echo inside; touch made; echo said >&2; exit 7"
    found = ended(engine, tmp_path, script, container)
    assert (found.code, found.signal, found.error, found.cause) == (7, None, None, None)
    assert (printed(tmp_path), (tmp_path / "one.stderr").read_text()) == ("inside\n", "said\n")
    assert (tmp_path / "made").stat().st_uid == os.getuid()
    assert engine.names() == []


def test_arguments_and_values_arrive_unchanged(engine: Engine, container: Container, tmp_path: Path) -> None:
    env = {f"T_{number}": text for number, text in enumerate(TEXTS.values())}
    argv = ("python3", "-c", TELLS, *TEXTS.values(), "last")
    assert ended(engine, tmp_path, "", container, argv=argv, env=env).code == 0
    (*arguments, last), variables = json.loads(printed(tmp_path))
    assert dict(zip(TEXTS, arguments, strict=True)) == TEXTS
    assert last == "last"
    assert variables == env


def test_what_is_outside_of_the_base_is_as_the_image_has_it_at_each_start(
    engine: Engine, container: Container, tmp_path: Path
) -> None:
    script = "test ! -e /of-a-container && touch /of-a-container"
    assert [ended(engine, tmp_path, script, container).code for _ in range(2)] == [0, 0]
    assert not Path("/of-a-container").exists()


def test_a_temporary_folder_of_a_process_in_a_container_goes_with_it(
    engine: Engine, container: Container, tmp_path: Path
) -> None:
    script = 'mkdir -p "$LOGS/inner" && touch "$LOGS/inner/file" && echo "$LOGS"'
    assert ended(engine, tmp_path, script, container, env={"LOGS": TEMPORARY}).code == 0
    folder = Path(printed(tmp_path).strip())
    assert (folder.parent, folder.exists()) == (tmp_path, False)


SHARED = "import os; there = os.statvfs('/dev/shm'); print(there.f_frsize * there.f_blocks >> 20)"


def test_shared_memory_is_the_nodes_unless_its_size_is_asked_for(
    engine: Engine, container: Container, tmp_path: Path
) -> None:
    argv, there = ("python3", "-c", SHARED), os.statvfs("/dev/shm")  # noqa: S108 - it is only looked at
    found = []
    for args in ((), ("--shm-size=16m",)):
        assert ended(engine, tmp_path, "", replace(container, args=args), argv=argv).code == 0
        found.append(int(printed(tmp_path).split()[-1]))
    assert found == [there.f_frsize * there.f_blocks >> 20, 16]


@pytest.mark.parametrize("name", ["with, comma", "with: colon"])
def test_folders_are_there_at_their_own_paths_and_what_is_not_there_is_no_hindrance(
    engine: Engine, container: Container, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, name: str
) -> None:
    other = tmp_path_factory.mktemp(name)
    (other / "file").write_text("of the node")
    there = replace(container, folders=(str(other), "/not/there"))
    assert ended(engine, tmp_path, f"cat '{other}/file'", there).code == 0
    assert printed(tmp_path) == "of the node"


def test_no_value_of_a_variable_is_seen_in_a_list_of_processes(
    engine: Engine, container: Container, tmp_path: Path
) -> None:
    script = "for each in /proc/[0-9]*/cmdline; do tr '\\0' ' ' < $each; done > seen; echo $GIVEN"
    assert ended(engine, tmp_path, script, container, env={"GIVEN": "not-to-be-seen"}).code == 0
    assert printed(tmp_path) == "not-to-be-seen\n"
    seen = (tmp_path / "seen").read_text()
    assert "--env=GIVEN" in seen
    assert "not-to-be-seen" not in seen


def test_the_program_finds_its_own_things_whatever_the_process_is_given(
    engine: Engine, container: Container, tmp_path: Path
) -> None:
    env = {"PATH": "/usr/bin:/bin", "HOME": "/elsewhere", "XDG_RUNTIME_DIR": "/nowhere", "CONTAINERS_CONF": "/no/file"}
    assert ended(engine, tmp_path, "echo $PATH $HOME $XDG_RUNTIME_DIR $CONTAINERS_CONF", container, env=env).code == 0
    assert printed(tmp_path) == "/usr/bin:/bin /elsewhere /nowhere /no/file\n"


def test_events_are_written_by_their_path_and_there_is_no_descriptor_for_them(
    engine: Engine, container: Container, tmp_path: Path
) -> None:
    script = """echo "${DATA_FD-none}"; echo '{"event": "data", "data": {"x": 1}}' >> "$MILABENCH_EVENTS" """
    assert ended(engine, tmp_path, script, container, metrics="file").code == 0
    assert printed(tmp_path) == "none\n"
    assert (tmp_path / "one.data").read_text() == '{"event": "data", "data": {"x": 1}}\n'


def test_metrics_that_a_process_in_a_container_prints_are_taken(
    engine: Engine, container: Container, tmp_path: Path
) -> None:
    script = """for n in 1 2 3; do echo '{"count": 10, "unit": "items"}'; sleep 0.01; done"""
    assert ended(engine, tmp_path, script, container, metrics="stdout").code == 0
    assert (tmp_path / "one.steps").stat().st_size > 0


def test_limits_of_files_are_those_of_the_node(engine: Engine, container: Container, tmp_path: Path) -> None:
    assert ended(engine, tmp_path, "ulimit -Sn; ulimit -Hn", container).code == 0
    inside = printed(tmp_path)

    async def story(host: LocalHost) -> Exit:
        return await (await host.start(launch(tmp_path, "ulimit -Sn; ulimit -Hn"))).wait()

    (tmp_path / "one.stdout").unlink()
    talk(story)
    assert printed(tmp_path) == inside


# How it ends ---------------------------------------------------------------------------------------------------------

STUBBORN = """trap "" TERM; setsid sh -c 'trap "" TERM; echo $$ > left; sleep 1000' & echo $$ > pid; touch mark; wait"""


def test_a_container_whose_process_hears_sigterm_ends_by_that(
    engine: Engine, container: Container, tmp_path: Path
) -> None:
    script = "trap 'echo bye; exit 3' TERM; touch mark; while true; do sleep 0.05; done"
    found = stopped(engine, tmp_path, script, container, 30)
    assert (found.cause, found.code, printed(tmp_path)) == ("interrupt", 3, "bye\n")
    assert engine.names() == []


@pytest.mark.parametrize("grace_s", [0, 0.3])
def test_a_container_that_does_not_is_ended_by_its_name_with_all_that_is_in_it(
    engine: Engine, container: Container, tmp_path: Path, grace_s: float
) -> None:
    found = stopped(engine, tmp_path, STUBBORN, container, grace_s)
    assert found.cause == "interrupt"
    assert found.error is None
    assert engine.names() == []
    for name in ("pid", "left"):
        assert_ends(int((tmp_path / name).read_text()))


def test_a_deadline_ends_a_container(engine: Engine, container: Container, tmp_path: Path) -> None:
    found = ended(engine, tmp_path, "echo $$ > pid; sleep 1000", container, deadline_s=2.0)
    assert outcome(found, Seen(expects_rate=False)).kind == "timeout"
    assert engine.names() == []
    assert_ends(pid_in(tmp_path / "pid"))


def test_what_a_process_leaves_behind_ends_with_its_container(
    engine: Engine, container: Container, tmp_path: Path
) -> None:
    script = "setsid sh -c 'echo $$ > left; sleep 1000' & while ! test -s left; do sleep 0.02; done"
    assert ended(engine, tmp_path, script, container).code == 0
    assert engine.names() == []
    assert_ends(pid_in(tmp_path / "left"))


def test_containers_end_when_the_runner_is_gone(engine: Engine, container: Container, tmp_path: Path) -> None:
    async def story(host: LocalHost) -> None:
        await host.start(launch(tmp_path, "echo $$ > pid; touch mark; sleep 1000", container=container))
        while not (tmp_path / "mark").exists():
            await asyncio.sleep(0.02)

    talk(story, **engine.environ)  # closing the pipe is all that is done
    assert engine.names() == []
    assert_ends(pid_in(tmp_path / "pid"))


def test_what_a_killed_agent_left_is_removed_before_the_same_process_starts_again(
    engine: Engine, container: Container, tmp_path: Path
) -> None:
    async def story(host: LocalHost) -> Exit:
        first = launch(tmp_path, "touch mark; exec sleep 1000", container=container)
        process = await host.start(first)
        while not (tmp_path / "mark").exists():
            await asyncio.sleep(0.02)
        (agent,) = agents(os.getpid())
        os.kill(agent, signal.SIGKILL)
        assert (await process.wait()).cause == "lost"
        again = await host.start(first)
        (tmp_path / "mark").unlink()
        while not (tmp_path / "mark").exists():
            await asyncio.sleep(0.02)
        await again.stop("interrupt", 0)
        return await again.wait()

    assert talk(story, **engine.environ).error is None
    wait_until(lambda: engine.names() == [])


def test_what_waits_beside_a_container_may_be_killed(engine: Engine, container: Container, tmp_path: Path) -> None:
    async def story(host: LocalHost) -> Exit:
        process = await host.start(launch(tmp_path, STUBBORN, container=container))
        while not (tmp_path / "mark").exists() or not engine.running():
            await asyncio.sleep(0.02)
        (ender,) = filter(is_ender, children(*agents(os.getpid())))
        os.kill(ender, signal.SIGKILL)
        await process.stop("interrupt", 0.3)
        return await process.wait()

    found = talk(story, **engine.environ)
    assert (found.cause, found.error) == ("interrupt", None)
    assert engine.names() == []


def test_sigterm_of_all_of_a_run_ends_its_containers(engine: Engine, container: Container, tmp_path: Path) -> None:
    """Slurm sends it so: what waits beside a container is to outlive it."""

    async def story(host: LocalHost) -> Exit:
        process = await host.start(launch(tmp_path, STUBBORN, container=container))
        while not (tmp_path / "mark").exists() or not engine.running():
            await asyncio.sleep(0.02)
        (agent,) = agents(os.getpid())
        (ender,) = filter(is_ender, children(agent))
        for pid in (ender, agent):
            os.kill(pid, signal.SIGTERM)
        return await process.wait()

    assert talk(story, **engine.environ).cause == "lost"
    assert engine.names() == []


def test_what_an_agent_left_that_was_killed_with_all_it_had_is_ended_by_the_next(
    engine: Engine, container: Container, tmp_path: Path
) -> None:
    """As the end of a job by SIGKILL does, whose containers are not in its cgroup."""
    lines = tmp_path / "one.stderr"
    gone, living = mark(os.getpid()) + "0", mark(os.getpid())
    foreign = gone.replace(f"{os.getuid()}:", f"{os.getuid() + 1}:", 1)
    marks = {"gone": gone, "living": living, "foreign": foreign, "odd": "odd"}
    for name, told in marks.items():
        of = replace(container, args=("--detach",))
        inside = Inside(argv=("sleep", "1000"), cwd="/", env={}, name=f"milabench-{name}", agent=told)
        engine(*started(of, inside, lambda _: None)[1:])
    try:
        script = f"while ! grep -q ended {lines}; do sleep 0.05; done"
        assert ended(engine, tmp_path, script, container, deadline_s=30.0).code == 0
        said = "milabench: of an agent that was killed there were containers, now ended: milabench-gone\n"
        assert lines.read_text() == said
        assert sorted(engine.names()) == ["milabench-foreign", "milabench-living", "milabench-odd"]
    finally:
        for name in marks:
            engine("rm", "--force", f"milabench-{name}", check=False)


@pytest.fixture
def keeping(podman: Engine, tmp_path: Path) -> Engine:
    """Return podman as it is where it cannot remove a container (a mount in it is busy, say)."""
    program = tmp_path / "bin" / "podman"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\ntest "$1" = rm && exit 1\nexec {shutil.which("podman")} "$@"\n')
    program.chmod(0o755)
    return replace(podman, program=str(program))


def test_a_container_that_cannot_be_removed_is_told_with_how_to_remove_it(
    keeping: Engine, podman: Engine, tmp_path: Path
) -> None:
    found = stopped(keeping, tmp_path, STUBBORN, keeping.container(tmp_path), 0.3)
    (name,) = podman.names()
    try:
        remedy = f"{keeping.program} rm --force --ignore {name}"
        assert found.error == f"its container could not be ended; try it by hand: {remedy}"
        assert outcome(found, Seen(expects_rate=False)).reason.endswith(found.error)
    finally:
        podman("rm", "--force", name)


def test_where_removing_fails_of_a_container_that_is_gone_nothing_is_said(keeping: Engine, tmp_path: Path) -> None:
    found = ended(keeping, tmp_path, "true", keeping.container(tmp_path))
    assert (found.code, found.error) == (0, None)


# What goes wrong -----------------------------------------------------------------------------------------------------


def test_an_image_that_is_not_there_is_the_reason(engine: Engine, container: Container, tmp_path: Path) -> None:
    found = ended(engine, tmp_path, "true", replace(container, image="no/such-image:1"))
    assert found.error is not None
    assert found.error.startswith("the container cannot be started: ")
    assert "no/such-image:1" in found.error
    assert found.error.endswith(f"({engine.program}, exit code 125)")
    assert outcome(found, Seen(expects_rate=False)).kind == "failed"


def test_a_program_that_is_not_in_the_image_is_the_reason(engine: Engine, container: Container, tmp_path: Path) -> None:
    found = ended(engine, tmp_path, "", container, argv=("no-such-program",))
    assert found.error is not None
    assert found.error.startswith("its program is not in the container: ")
    assert "no-such-program" in found.error


def test_a_file_that_is_no_program_is_the_reason(engine: Engine, container: Container, tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    found = ended(engine, tmp_path, "", container, argv=(f"{tmp_path}/data",))
    assert found.error is not None
    assert found.error.startswith("its program cannot be run in the container: ")


@pytest.mark.parametrize("code", [125, 126, 127])
def test_such_a_code_of_the_process_itself_stays_its_code(
    engine: Engine, container: Container, tmp_path: Path, code: int
) -> None:
    found = ended(engine, tmp_path, f"echo its own trouble >&2; exit {code}", container)
    assert (found.code, found.error) == (code, None)


def test_where_there_is_no_program_for_containers_that_is_said(tmp_path: Path) -> None:
    lacking = Container(executable="/nowhere/podman", image="i", base=str(tmp_path))

    async def story(host: LocalHost) -> Exit:
        return await (await host.start(launch(tmp_path, "true", container=lacking))).wait()

    assert talk(story).error == "cannot be started: No such file or directory: /nowhere/podman"


def test_a_process_that_the_kernel_killed_for_memory_in_its_container_is_told_so(
    engine: Engine, container: Container, tmp_path: Path
) -> None:
    if not Path("/sys/fs/cgroup/memory").exists() and not Path("/sys/fs/cgroup/memory.max").parent.exists():
        pytest.skip("no memory cgroup can be made here")
    small = replace(container, args=("--memory=64m", "--memory-swap=64m"))
    argv = ("python3", "-c", "b = [bytearray(b'x' * (1 << 20)) for _ in range(1000)]")
    found = ended(engine, tmp_path, "", small, argv=argv)
    if found.code == 0 or found.error:
        pytest.skip("no memory cgroup can be made here")
    assert (found.code, found.oom) == (137, True)
    assert "out of memory" in outcome(found, Seen(expects_rate=False)).reason
