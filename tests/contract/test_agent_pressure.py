"""Nothing stalls an agent: a runner that does not read, a program that floods its output, hundreds at once."""

from __future__ import annotations

import os
import resource
import signal
import threading
from pathlib import Path

import pytest

from agents import Raw
from benchmate.wire import Frames, frame, read_steps
from harness import Project, benchmarks, shell, wait_until
from milabench.agent.processes import children

MEGABYTES = """i=0; while [ $i -lt 128 ]; do cat block; i=$((i+1)); done; echo '{"count": 7}'"""
BLOCK = (b"x" * 1023 + b"\n") * 64
FLOOD = """yes '{"count": 1, "unit": "items"}'"""


def said(agent: Raw, name: str, what: str) -> bool:
    path = agent.folder / f"{name}.stderr"
    return path.exists() and what in path.read_text()


def test_while_the_runner_reads_nothing_all_goes_on_and_then_every_reply_arrives(agent: Raw) -> None:
    (agent.folder / "block").write_bytes(BLOCK)
    asked = [agent.send("missing", onces={}) for _ in range(20_000)]  # ten times what the pipe holds
    late = agent.start("exec sleep 1000", "late", deadline_s=0.5)
    printing = agent.start(MEGABYTES, "printing", metrics="stdout")
    wait_until((agent.folder / "printing.stdout").exists)
    wait_until(lambda: (agent.folder / "printing.stdout").stat().st_size == 128 * len(BLOCK) + len('{"count": 7}\n'))
    wait_until(lambda: said(agent, "late", "max_duration is reached"))
    wait_until(lambda: len(children(agent.pid)) == 0)
    seen: dict[int, list[str]] = {}
    exits = {}
    for reply in agent.replies():
        seen.setdefault(reply["id"], []).append(reply["event"])
        if reply["event"] == "exit":
            exits[reply["id"]] = reply
        if len(exits) == 2:
            break
    assert [seen[number] for number in asked] == [["missing"]] * len(asked)
    assert (seen[late], seen[printing]) == (["started", "exit"], ["started", "exit"])
    assert (exits[late]["cause"], exits[late]["signal"]) == ("deadline", signal.SIGTERM)
    assert 0.5 <= exits[late]["seconds"] < 30
    assert (exits[printing]["code"], exits[printing]["cause"]) == (0, None)
    assert list(read_steps(agent.folder / "printing.steps").columns["count"]) == [7]


def test_what_is_asked_of_an_agent_whose_replies_nobody_reads_waits_unread(agent: Raw) -> None:
    onces = {"x" * 10_000: {"record": "/nowhere", "base": "", "parts": {}}}
    count = 3000
    content = b"".join(frame({"id": number, "op": "missing", "onces": onces}) for number in range(1, count + 1))
    assert agent.process.stdin is not None
    descriptor = agent.process.stdin.fileno()

    def write() -> None:
        left = memoryview(content)
        while left:
            left = left[os.write(descriptor, left) :]

    writer = threading.Thread(target=write)
    writer.start()
    writer.join(2)
    assert writer.is_alive()  # 30 MB are more than the agent takes while it cannot answer
    assert agent.process.stdout is not None
    frames, found = Frames(), []
    while len(found) < count:
        found += [message["id"] for message in frames.feed(os.read(agent.process.stdout.fileno(), 1 << 16))]
    writer.join()
    assert found == list(range(1, count + 1))
    assert agent.exit(agent.start("exit 3"))["code"] == 3


def test_a_runner_that_goes_away_unread_lets_everything_end(agent: Raw) -> None:
    for _ in range(20_000):
        agent.send("missing", onces={})
    agent.start("trap '' TERM; touch mark; while true; do sleep 0.05; done")
    wait_until((agent.folder / "mark").exists)
    assert agent.process.stdout is not None
    agent.process.stdout.close()
    assert agent.process.stdin is not None
    agent.process.stdin.close()
    assert agent.process.wait(30) == 0


def test_programs_that_flood_their_output_starve_nobody(agent: Raw) -> None:
    floods = [agent.start(FLOOD, f"flood{number}", metrics="stdout") for number in range(4)]
    wait_until(lambda: all((agent.folder / f"flood{number}.steps").exists() for number in range(4)))
    late = agent.start("exec sleep 1000", "late", deadline_s=0.3)
    small = agent.start("""echo '{"count": 2}'""", "small", metrics="stdout")
    found = agent.exits(late, small)
    assert (found[late]["cause"], found[small]["code"]) == ("deadline", 0)
    assert list(read_steps(agent.folder / "small.steps").columns["count"]) == [2]
    for flood in floods:
        agent.stop(flood, "limit", grace_s=1.0)
    assert {reply["cause"] for reply in agent.exits(*floods).values()} == {"limit"}


def test_a_probe_that_takes_long_delays_nothing(tmp_path: Path) -> None:
    tool = tmp_path / "bin" / "nvidia-smi"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\nwhile ! test -e go; do sleep 0.02; done\n")
    tool.chmod(0o755)
    with Raw(tmp_path, before=lambda: os.chdir(tmp_path), PATH=f"{tool.parent}:{os.environ['PATH']}") as agent:
        probe, freeze = (
            agent.send("probe", arch="cuda", reach={}),
            agent.send("freeze", folders={"a": "/nowhere"}, sources=[]),
        )
        late = agent.start("exec sleep 1000", "late", deadline_s=0.3)
        printing = agent.start("""echo '{"count": 2}'; exit 3""", metrics="stdout")
        assert (agent.exit(late)["cause"], agent.exit(printing)["code"]) == ("deadline", 3)
        (tmp_path / "go").touch()
        assert agent.reply(probe)["facts"]["arch"] == "cuda"
        assert agent.reply(freeze)["packages"] == {"a": []}


def test_what_is_asked_for_aside_is_answered_also_where_it_fails(agent: Raw) -> None:
    staged = agent.send("stage", staged=[{"source": "/nowhere", "target": "/proc/x/y"}])
    senseless = agent.send("stage", staged=[{}])
    assert agent.reply(staged)["message"].startswith("No such file or directory")
    assert "milabench has a bug: KeyError" in agent.reply(senseless)["message"]
    assert agent.exit(agent.start("exit 3"))["code"] == 3


@pytest.mark.parametrize("op", ["usage", "freeze"])
def test_what_no_descriptors_are_left_for_is_an_error_and_is_answered_once_there_are_some(
    tmp_path: Path, op: str
) -> None:
    fields = {"folders": {}, "sources": []} if op == "freeze" else {}
    with Raw(tmp_path, before=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))) as agent:
        running = agent.start("exec sleep 1000", metrics="stdout")
        agent.reply(running, "started")
        held = (agent.reply(agent.send("hold", path=str(tmp_path / f"{number}.lock"))) for number in range(40))
        assert "Too many open files" in next(reply for reply in held if reply["event"] == "error")["message"]
        message = agent.reply(agent.send(op, **fields))["message"]
        assert message == "cannot start a process: Too many open files"
        agent.stop(running)
        assert agent.exit(running)["cause"] == "interrupt"
        assert agent.reply(agent.send(op, **fields))["event"] in ("usage", "frozen")
        assert agent.process.stdin is not None
        agent.process.stdin.close()
        assert agent.process.wait(30) == 0


def test_what_no_process_is_left_for_is_an_error_and_is_answered_once_there_is_one(tmp_path: Path) -> None:
    patch = """
import errno, os
fork, failing = os.fork, [True, True]
def few():
    if failing:
        failing.pop()
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    return fork()
os.fork = few
"""
    with Raw(tmp_path, patch=f"exec({patch!r})") as agent:
        for op, fields in (("usage", {}), ("freeze", {"folders": {}, "sources": []})):
            message = agent.reply(agent.send(op, **fields))["message"]
            assert message == "cannot start a process: Resource temporarily unavailable"
        assert agent.reply(agent.send("usage"))["event"] == "usage"
        assert agent.process.stdin is not None
        agent.process.stdin.close()
        assert agent.process.wait(30) == 0


ALONE = '{"event": "stop", "data": {"reason": "observations"}}'
OF_A_GROUP = '{"event": "stop", "data": {"reason": "observations", "world_size": %s}}'


@pytest.mark.parametrize(
    ("size", "patch"),
    [("8", "pass"), ("null", "from milabench.agent import tail; tail.Watcher.add = lambda *_: None")],
)
def test_the_leader_of_a_group_is_heard_once_in_a_flood_of_events(tmp_path: Path, size: str, patch: str) -> None:
    words = [ALONE, OF_A_GROUP % 1, OF_A_GROUP % size, OF_A_GROUP % size]
    (tmp_path / "flood").write_text('{"event": "data", "data": {"stop": 1}}\n' * 20_000 + "x" * (2 << 20) + "\n")
    (tmp_path / "words").write_text("\n".join([*words, ""]))
    script = "cat flood flood words flood >> one.data; while ! test -e end; do sleep 0.02; done"
    with Raw(tmp_path, patch=patch) as agent:
        one = agent.start(script, "one", metrics="file")
        other = agent.start("exec sleep 1000", "other", deadline_s=0.3)
        assert agent.exit(other)["cause"] == "deadline"
        assert agent.reply(one, "full") == {"id": one, "event": "full"}
        (tmp_path / "end").touch()
        events = []
        for reply in agent.replies():
            events.append(reply["event"])
            if reply["event"] == "exit":
                break
    assert "full" not in events


def test_many_processes_have_a_deadline_at_once(agent: Raw) -> None:
    numbers = [agent.start("exec sleep 1000", f"p{number}", deadline_s=1.5) for number in range(100)]
    found = agent.exits(*numbers)
    assert {(reply["cause"], reply["signal"]) for reply in found.values()} == {("deadline", signal.SIGTERM)}
    assert all(reply["seconds"] >= 1.5 for reply in found.values())


def test_many_printing_processes_need_no_more_descriptors_than_there_are(tmp_path: Path) -> None:
    def few() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))

    script = """echo '{"count": 1}'; ulimit -Sn; while ! test -e go; do sleep 0.1; done"""
    with Raw(tmp_path, before=few) as agent:
        numbers = [agent.start(script, f"p{number}", metrics="stdout") for number in range(60)]
        wait_until(lambda: all((tmp_path / f"p{number}.steps").exists() for number in range(60)))
        (tmp_path / "go").touch()
        assert {reply["code"] for reply in agent.exits(*numbers).values()} == {0}
    assert {path.read_text() for path in tmp_path.glob("p*.stdout")} == {'{"count": 1}\n64\n'}


def test_a_process_inherits_none_of_the_agents_descriptors(agent: Raw) -> None:
    agent.reply(agent.send("hold", path=str(agent.folder / "lock")))
    other = agent.start("exec sleep 1000", metrics="stdout")
    found = agent.exit(agent.start("for each in /proc/$$/fd/*; do readlink $each; done", "one"))
    assert found["code"] == 0
    listed = (agent.folder / "one.stdout").read_text().split()
    folder = str(agent.folder)
    assert sorted(set(listed)) == ["/dev/null", *(f"{folder}/one.{end}" for end in ("data", "stderr", "stdout"))]
    agent.stop(other)


def test_a_deadline_holds_while_the_runner_is_stopped(project: Project) -> None:
    project.suite(long=shell("exec sleep 1000", max_duration=2))
    with project.started("run", "--config", "suite.yaml") as runner:
        wait_until(lambda: list(project.base.glob("runs/*/long.stdout")))
        (agent,) = children(runner.pid)
        wait_until(lambda: benchmarks(agent))
        runner.send_signal(signal.SIGSTOP)
        wait_until(lambda: not benchmarks(agent))
        runner.send_signal(signal.SIGCONT)
        assert runner.wait(60) == 1
    assert project.run().outcomes()["long"].kind == "timeout"
