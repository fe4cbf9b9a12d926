"""What processes write on a node whose runner is elsewhere: all of it, as it comes, and it waits for nobody."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agents import Raw, launch, pid_in
from benchmate import wire
from elsewhere import elsewhere, gives_room_back, script, until
from harness import PRINTER, wait_until
from milabench.agent.monitor import samples
from milabench.execute.hosts.local import LocalHost
from milabench.outcome import Exit
from milabench.rundir import Files
from milabench.suite import Limit


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The run's folder, of the runner."""
    folder = tmp_path / "run"
    folder.mkdir()
    return folder


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """The node's own disk."""
    folder = tmp_path / "node"
    folder.mkdir()
    return folder


def spooled(disk: Path) -> list[str]:
    return sorted(path.name for path in disk.rglob("*") if path.is_file())


def holds(path: Path, what: str) -> bool:
    return path.exists() and what in path.read_text()


async def ended(host: LocalHost, run: Path, line: str, **keys: Any) -> Exit:
    return await (await host.start(launch(run, line, **keys))).wait()


# What arrives --------------------------------------------------------------------------------------------------------


def test_all_that_a_process_writes_is_there_when_its_end_is_told_and_no_longer_on_the_node(
    run: Path, disk: Path
) -> None:
    line = """echo out; echo err >&2; echo '{"event": "data", "data": 1}' >&$DATA_FD
echo '{"event": "data", "data": 2}' > ${MILABENCH_EVENTS%.data}.rank1.jsonl; echo $MILABENCH_STEPS; exit 3"""
    (run / "one.data").write_text('{"event": "start"}\n')

    async def story(host: LocalHost) -> Exit:
        found = await ended(host, run, line, metrics="file")
        await until(lambda: not spooled(disk))
        return found

    found = elsewhere(disk, story)
    assert (found.code, found.error, found.full_disk) == (3, None, None)
    said, steps = (run / "one.stdout").read_text().split()
    assert (said, Path(steps).name) == ("out", "one.steps")
    assert disk in Path(steps).parents
    assert (run / "one.stderr").read_text() == "err\n"
    assert (run / "one.data").read_text() == '{"event": "start"}\n{"event": "data", "data": 1}\n'
    assert json.loads((run / "one.rank1.jsonl").read_text())["data"] == 2
    assert {path.name for path in run.iterdir()} == {"one.data", "one.stderr", "one.stdout", "one.rank1.jsonl"}
    assert not list(disk.glob("milabench-spool-*"))  # the agent has ended


def test_ranks_of_a_further_node_write_beside_their_leader(run: Path, disk: Path) -> None:
    line = """echo "$MILABENCH_EVENTS $MILABENCH_STEPS ${DATA_FD-none}"
lead=${MILABENCH_EVENTS%.data}; echo '{"event": "hello"}' > $lead.rank4.jsonl; echo no | tee ${lead}x.rank4.jsonl"""
    (run / "lead.n0.data").write_text('{"event": "start"}\n')  # its process writes on another node

    async def story(host: LocalHost) -> Exit:
        there = replace(launch(run, line), group=Files.of(run, "lead.n0"))
        found = await (await host.start(there)).wait()
        await until(lambda: all(name.startswith("lead.n0x") for name in spooled(disk)))
        return found

    found = elsewhere(disk, story)
    assert (found.code, found.error) == (0, None)
    events, steps, descriptor = (run / "one.stdout").read_text().split()[:3]
    assert (Path(events).name, Path(steps).name, descriptor) == ("lead.n0.data", "lead.n0.steps", "none")
    assert disk in Path(events).parents
    assert (run / "lead.n0.rank4.jsonl").read_text() == '{"event": "hello"}\n'
    assert (run / "lead.n0.data").read_text() == '{"event": "start"}\n'
    assert {path.name for path in run.iterdir()} == {"one.stdout", "lead.n0.data", "lead.n0.rank4.jsonl"}


def test_what_is_written_is_seen_while_the_process_runs(run: Path, disk: Path) -> None:
    async def story(host: LocalHost) -> Exit:
        process = await host.start(launch(run, "", argv=script(100_000, waits=True), metrics="file"))
        await until(lambda: holds(run / "one.data", '"loss"'))
        await until(lambda: wire.count_steps(run / "one.steps") == 100_000)
        assert len(wire.read_steps(run / "one.steps")) == 100_000
        assert (run / "one.steps").stat().st_size == 64 + 100_000 * 40  # nothing of the room that is made ahead
        (run / "go").touch()
        return await process.wait()

    found = elsewhere(disk, story)
    assert (found.code, found.error) == (0, None)
    assert wire.read_steps(run / "one.steps").columns["start"][-1] == 999_990


def test_a_million_steps_arrive(run: Path, disk: Path) -> None:
    async def story(host: LocalHost) -> Exit:
        return await ended(host, run, "", argv=script(1_000_000), metrics="file")

    assert elsewhere(disk, story).error is None
    steps = wire.read_steps(run / "one.steps")
    assert (len(steps), steps.columns["end"][-1]) == (1_000_000, 9_999_997)


def test_metrics_that_a_program_prints_arrive(run: Path, disk: Path) -> None:
    async def story(host: LocalHost) -> Exit:
        limit = Limit(skip=2, observations=5)
        return await ended(host, run, PRINTER, metrics="stdout", stop="runner", limit=limit)

    assert elsewhere(disk, story).cause == "limit"
    assert list(wire.read_steps(run / "one.steps").columns["phase"])[:7] == [wire.WARMUP] * 2 + [wire.MEASURED] * 5
    assert "enough is measured" in (run / "one.stderr").read_text()


def test_what_grandchildren_write_as_they_are_ended_arrives(run: Path, disk: Path) -> None:
    late = """(setsid sh -c 'trap "echo late; exit" TERM; echo $$ > pid; while true; do sleep 0.05; done' &)"""

    async def story(host: LocalHost) -> Exit:
        return await ended(host, run, f"{late}\nwhile ! test -s pid; do sleep 0.02; done; echo first")

    assert elsewhere(disk, story).code == 0
    assert (run / "one.stdout").read_text() == "first\nlate\n"


REWRITES = {
    "one that begins its file anew": "echo a long first line; sleep 1; echo second > $OWN",
    "one that writes over what it wrote": "echo first; sleep 1; printf FIRST | dd of=$OWN conv=notrunc 2>/dev/null",
    "one that replaces it": "echo a long first line; sleep 1; echo second > $OWN.new; mv $OWN.new $OWN",
}


@pytest.mark.parametrize("line", REWRITES.values(), ids=REWRITES)
def test_what_a_process_leaves_is_what_arrives(run: Path, disk: Path, line: str) -> None:
    async def story(host: LocalHost) -> Exit:
        return await ended(host, run, f"OWN=$(readlink /proc/$$/fd/1); {line}; cat $OWN >&2")

    assert elsewhere(disk, story).error is None
    assert (run / "one.stdout").read_text() == (run / "one.stderr").read_text() != ""


def test_a_file_that_a_process_removes_is_no_trouble(run: Path, disk: Path) -> None:
    async def story(host: LocalHost) -> Exit:
        return await ended(host, run, "rm $(readlink /proc/$$/fd/1); echo lost; exit 4")

    found = elsewhere(disk, story)
    assert (found.code, found.error) == (4, None)


def test_what_cannot_be_started_is_told_and_the_same_can_be_tried_again(run: Path, disk: Path) -> None:
    async def story(host: LocalHost) -> list[Exit]:
        argvs = [("no-such-program",), ("sh", "-c", "echo there")]
        return [await ended(host, run, "", argv=argv) for argv in argvs]

    first, second = elsewhere(disk, story)
    assert first.error == "cannot be started: No such file or directory: no-such-program"
    assert (second.code, (run / "one.stdout").read_text()) == (0, "there\n")


def test_many_at_once_each_have_their_own(run: Path, disk: Path) -> None:
    def folder(number: int) -> Path:
        made = run / str(number)
        made.mkdir()
        return made

    async def story(host: LocalHost) -> list[Exit]:
        lines = (f"head -c {number}00000 /dev/zero; echo {number} >&2" for number in range(1, 21))
        return await asyncio.gather(*(ended(host, folder(number), line) for number, line in enumerate(lines, 1)))

    assert {each.error for each in elsewhere(disk, story)} == {None}
    for number in range(1, 21):
        assert (run / str(number) / "one.stdout").stat().st_size == number * 100_000
        assert (run / str(number) / "one.stderr").read_text() == f"{number}\n"


def test_the_samples_of_a_node_arrive_and_all_of_them_before_its_monitor_has_ended(run: Path, disk: Path) -> None:
    path = run / f"here{samples.SUFFIX}"
    keys = {"node": "here", "interval_s": 0.1, "arch": "cpu", "devices": [], "nvml": ""}

    def many(least: int) -> bool:
        return path.exists() and sum(line["event"] == "sample" for line in samples.lines(path)) >= least

    async def story(host: LocalHost) -> None:
        for least in (3, 6):  # a monitor that begins again goes on in the same file
            assert (await host.request("monitor", path=str(path), **keys))["event"] == "monitoring"
            await until(lambda least=least: many(least))
            assert (await host.request("monitor", path=None))["event"] == "monitored"
            await until(lambda: not spooled(disk))

    elsewhere(disk, story)
    assert [line["event"] for line in samples.lines(path)].count("monitor") == 2
    assert samples.passed_over(path) == 0


# What goes wrong -----------------------------------------------------------------------------------------------------


def test_of_an_agent_that_is_killed_what_had_arrived_stays_and_the_next_one_goes_on(run: Path, disk: Path) -> None:
    async def story(host: LocalHost) -> tuple[Exit, Exit]:
        process = await host.start(launch(run, "echo $PPID > agent; echo said; exec sleep 1000"))
        await until(lambda: holds(run / "one.stdout", "said\n"))
        os.kill(pid_in(run / "agent"), signal.SIGKILL)
        lost = await process.wait()
        assert (run / "one.stdout").read_text() == "said\n"
        return lost, await ended(host, run, "echo again")

    lost, again = elsewhere(disk, story)
    assert (lost.cause, again.code, again.error) == ("lost", 0, None)
    assert (run / "one.stdout").read_text() == "said\nagain\n"


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of a node with room for half a megabyte."""
    folder = tmp_path / "small"
    folder.mkdir()
    argv = ["mount", "-t", "tmpfs", "-o", "size=512k", "milabench-test", str(folder)]
    if os.getuid() or subprocess.run(argv, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("metrics", ["none", "stdout"])
def test_a_full_disk_of_the_node_fails_who_writes_there_and_says_where(run: Path, small: Path, metrics: str) -> None:
    async def story(host: LocalHost) -> tuple[Exit, Exit]:
        found = await ended(host, run, "head -c 3000000 /dev/zero || exit 9", metrics=metrics)
        return found, await ended(host, run, "exit 0")

    full, other = elsewhere(small, story)
    if metrics == "none":
        assert (full.code, full.error) == (9, None)
        assert str(full.full_disk).startswith(str(small))
        assert 0 < (run / "one.stdout").stat().st_size <= 512 << 10
    else:
        assert full.error == "its output cannot be written: No space left on device"
    assert other.code == 0


def test_where_no_disk_is_the_nodes_own_it_is_told_at_once(run: Path, disk: Path, tmp_path: Path) -> None:
    patch = "import milabench.agent.spool as s; s.Spool._own = lambda _: iter(())"
    with Raw(run, patch=patch) as agent:
        assert "set TMPDIR" in agent.reply(agent.send("hello", environ={}))["message"]
        assert "set TMPDIR" in agent.exit(agent.start("true", forward=True))["error"]
        assert agent.exit(agent.start("exit 3"))["code"] == 3


# Who does not read ---------------------------------------------------------------------------------------------------

FLOOD = "head -c 200000000 /dev/zero"


def peak_bytes(pid: int) -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) << 10


def test_while_nobody_reads_deadlines_hold_and_the_agent_keeps_next_to_nothing(run: Path, disk: Path) -> None:
    with Raw(run, TMPDIR=str(disk)) as agent:
        agent.exit(agent.start("true", "first", forward=True))
        before = peak_bytes(agent.pid)
        flood = agent.start(FLOOD, "flood", forward=True)
        late = agent.start("echo late; exec sleep 1000", "late", deadline_s=1.0, forward=True)
        wait_until(lambda: any(path.stat().st_size == 200_000_000 for path in disk.rglob("flood.stdout")), 60)
        wait_until(lambda: any(holds(path, "max_duration is reached") for path in disk.rglob("late.stderr")), 60)
        received: dict[str, int] = {}
        exits: dict[int, dict[str, Any]] = {}
        for reply in agent.replies():
            if reply["event"] == "chunk":
                assert reply["offset"] == received.get(reply["file"], 0)
                received[reply["file"]] = reply["offset"] + len(reply["blob"])
            if reply["event"] == "exit":
                exits[reply["id"]] = reply
            if len(exits) == 2:
                break
        assert peak_bytes(agent.pid) - before < 16 << 20
        assert (exits[flood]["code"], exits[late]["cause"]) == (0, "deadline")
        assert exits[flood]["files"]["flood.stdout"]["size"] == received["flood.stdout"] == 200_000_000
        assert exits[late]["seconds"] < 30
        assert list(exits) == [late, flood]  # the little that the one wrote did not wait for all of the other's
    assert list(disk.iterdir()) == []


def test_the_end_of_a_process_is_told_while_much_that_it_wrote_is_on_its_way(run: Path, disk: Path) -> None:
    with Raw(run, TMPDIR=str(disk)) as agent:
        flood = agent.start(f"{FLOOD}; exit 3", "flood", forward=True)
        pid = agent.reply(flood, "started")["pid"]
        wait_until(lambda: not Path(f"/proc/{pid}").exists())
        before = 0
        for reply in agent.replies():
            before += len(reply.get("blob", b""))
            if reply["event"] == "gone":
                break
        assert (reply["code"], reply["cause"], "files" in reply) == (3, None, False)
        assert before < 8 << 20
        assert agent.exit(flood)["files"]["flood.stdout"]["size"] == 200_000_000


def test_the_room_of_what_has_arrived_is_given_back_while_a_process_prints_on(run: Path, disk: Path) -> None:
    async def story(host: LocalHost) -> Exit:
        process = await host.start(launch(run, f"{FLOOD}; while ! test -e {run}/go; do sleep 0.02; done; {FLOOD}"))
        await until(lambda: (run / "one.stdout").exists() and (run / "one.stdout").stat().st_size == 200_000_000)
        (written,) = disk.rglob("one.stdout")
        await until(lambda: written.stat().st_blocks * 512 < 100_000_000)
        (run / "go").touch()
        return await process.wait()

    if not gives_room_back(disk):
        pytest.skip("this file system gives no room back")
    found = elsewhere(disk, story)
    assert (found.code, found.error) == (0, None)
    assert (run / "one.stdout").stat().st_size == 400_000_000
    assert spooled(disk) == []


def test_a_request_is_answered_while_much_is_on_its_way(run: Path, disk: Path) -> None:
    with Raw(run, TMPDIR=str(disk)) as agent:
        flood = agent.start(FLOOD, "flood", forward=True)
        wait_until(lambda: any(path.stat().st_size == 200_000_000 for path in disk.rglob("flood.stdout")), 60)
        asked, before = agent.send("missing", onces={}), 0
        for reply in agent.replies():
            before += len(reply.get("blob", b""))
            if reply["id"] == asked:
                break
        assert before < 8 << 20
        agent.exit(flood)


def test_a_runner_that_goes_away_leaves_nothing_of_it_on_the_node(run: Path, disk: Path) -> None:
    with Raw(run, TMPDIR=str(disk)) as agent:
        agent.start(FLOOD, "flood", forward=True)
        wait_until(lambda: any(path.stat().st_size == 200_000_000 for path in disk.rglob("flood.stdout")), 60)
        for pipe in (agent.process.stdout, agent.process.stdin):
            assert pipe is not None
            pipe.close()
        assert agent.process.wait(60) == 0
    assert list(disk.iterdir()) == []
