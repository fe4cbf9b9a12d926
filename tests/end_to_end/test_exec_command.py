"""``milabench exec`` over real connections: words, streams, exit codes, ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents import alive
from harness import Project, Result, wait_until
from nodes import BASE, USER, Nodes, started, why_not

WORDS = ("--help", "two  words", 'it\'s "quoted"', '{"a": [1, "$HOME"]}', "*", "one\ntwo", "日本語 é", "", "-x", "--")


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    if (reason := why_not()) is not None:
        pytest.skip(reason)
    with started(tmp_path_factory.mktemp("nodes") / "all", ("n1", "n2")) as made:
        yield made


@pytest.fixture
def run(nodes: Nodes, project: Project) -> Iterator[Project]:
    """A project of the operator's, whose system file has both nodes."""
    project.environ |= nodes.environ()
    project.environ.pop("SSH_AUTH_SOCK", None)
    entries = [{"name": node.name, "ip": node.address, "user": USER, "main": node.name == "n1"} for node in nodes.nodes]
    project.write("system.yaml", json.dumps({"system": {"arch": "cpu", "nodes": entries}}))
    nodes.trust()
    yield project
    for node in nodes.nodes:
        wait_until(node.idle, timeout_s=20)


def execute(run: Project, nodes: Nodes, *arguments: str) -> Result:
    return run.milabench("exec", *arguments, under=nodes["op"].prefix(cwd=run.folder), timeout_s=120)


# Words and streams -------------------------------------------------------------------------------------------------


def test_words_variables_and_folder_arrive_as_they_are(run: Project, nodes: Nodes) -> None:
    show = "import json, os, sys; print(json.dumps([sys.argv[1:], os.environ['T'], os.environ['HERE'], os.getcwd()]))"
    command = ("python3", "-c", show, *WORDS)
    options = ("--host", f"{USER}@{nodes['n1'].address}", "--cwd", str(BASE), "--env", "T= a=b\n", "--env", "HERE")
    run.environ["HERE"] = "it's *"
    found = execute(run, nodes, *options, "--", *command)
    assert (found.code, found.err) == (0, "")
    assert found.json == [list(WORDS), " a=b\n", "it's *", str(BASE)]


def test_streams_come_apart_byte_for_byte(run: Project, nodes: Nodes) -> None:
    script = r"printf 'a\nb\377'; printf 'no newline' >&2; exit 7"
    argv = ["exec", "--system", "system.yaml", "--host", "n1", "--", "sh", "-c", script]
    done = subprocess.run(
        [*nodes["op"].prefix(cwd=run.folder), sys.executable, "-m", "milabench", *argv],
        cwd=run.folder,
        env=run.environ,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (7, b"a\nb\xff", b"no newline")


def test_what_is_printed_is_shown_as_it_comes(run: Project, nodes: Nodes) -> None:
    script = f"echo first; while ! test -e {BASE}/go; do sleep 0.05; done; echo last"
    argv = ["exec", "--system", "system.yaml", "--host", "n1", "--", "sh", "-c", script]
    with _started(run, nodes, argv) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "first\n"
        (nodes["n1"].seen / "go").touch()
        assert process.stdout.read() == "last\n"
        assert process.wait(60) == 0
    (nodes["n1"].seen / "go").unlink()


def test_much_output_arrives_whole(run: Project, nodes: Nodes) -> None:
    found = execute(run, nodes, "--system", "system.yaml", "--host", "n1", "--", "seq", "1", "300000")
    assert found.code == 0
    assert found.out == "".join(f"{number}\n" for number in range(1, 300_001))


# Several nodes -----------------------------------------------------------------------------------------------------


def test_each_line_of_several_nodes_is_named_and_the_worst_code_is_returned(run: Project, nodes: Nodes) -> None:
    script = "echo on $(hostname); echo again; test $(hostname) = n1 || exit 9"
    found = execute(run, nodes, "--system", "system.yaml", "--", "sh", "-c", script)
    assert found.code == 9
    assert sorted(found.out.splitlines()) == ["n1: again", "n1: on n1", "n2: again", "n2: on n2"]


def test_this_machine_may_be_among_them(run: Project, nodes: Nodes) -> None:
    found = execute(run, nodes, "--host", "localhost", "--host", f"{USER}@{nodes['n2'].address}:22", "--", "hostname")
    assert sorted(found.out.splitlines()) == [f"{USER}@{nodes['n2'].address}:22: n2", "localhost: op"]


# Ends --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (("sh", "-c", "kill -9 $$"), 137, ""),
        (("no-such-program",), 127, "n1: cannot be started: No such file or directory: no-such-program"),
        (("sh", "-c", "exit 4"), 4, ""),
    ],
)
def test_the_exit_code_is_that_of_the_command(
    run: Project, nodes: Nodes, command: tuple[str, ...], code: int, said: str
) -> None:
    found = execute(run, nodes, "--system", "system.yaml", "--host", "n1", "--", *command)
    assert (found.code, found.err.strip()) == (code, said)


def test_a_command_that_takes_too_long_is_ended(run: Project, nodes: Nodes) -> None:
    found = execute(run, nodes, "--system", "system.yaml", "--timeout", "0.5", "--", "sleep", "1000")
    assert found.code == 124


def test_where_one_node_cannot_be_used_nothing_is_begun(run: Project, nodes: Nodes) -> None:
    nodes.trust("n1")
    found = execute(run, nodes, "--system", "system.yaml", "--", "sh", "-c", f"touch {BASE}/begun")
    assert found.code == 4
    assert f"node n2 ({nodes['n2'].address}) shows a host key that is not known yet" in found.err
    assert not (nodes["n1"].seen / "begun").exists()
    found = execute(run, nodes, "--system", "system.yaml", "--accept-new-host-keys", "--", "true")
    assert found.code == 0
    assert nodes["n2"].host_key() in nodes.known_hosts.read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--", "true"), "where? give --host"),
        (("--host", "a b", "--", "true"), "--host a b: neither a node of the system nor an address"),
        (("--host", "-oProxyCommand=x", "--", "true"), "neither a node of the system nor an address"),
        (("--slurm", "--", "true"), "--slurm: this is no Slurm allocation"),
        (("--host", "n1", "--env", "NO_SUCH_NAME", "--", "true"), "--env NO_SUCH_NAME: give NAME=VALUE"),
        (("--hots", "n1", "--", "true"), "No such option"),
        (("--host", "n1", "--"), "Missing argument"),
    ],
)
def test_mistakes_are_told_before_anything_is_done(project: Project, arguments: tuple[str, ...], said: str) -> None:
    found = project.milabench("exec", *arguments)
    assert found.code == 2
    assert said in found.err


def _started(run: Project, nodes: Nodes, argv: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*nodes["op"].prefix(cwd=run.folder), sys.executable, "-m", "milabench", *argv],
        cwd=run.folder,
        env=run.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_whatever_ends_milabench_nothing_stays_on_any_node(run: Project, nodes: Nodes, number: signal.Signals) -> None:
    script = f"(setsid sh -c 'sleep 1000' &); echo $$ > {BASE}/pid; sleep 1000"
    argv = ["exec", "--system", "system.yaml", "--", "sh", "-c", script]
    marks = [node.seen / "pid" for node in nodes.nodes]
    with _started(run, nodes, argv) as process:
        wait_until(lambda: all(mark.exists() and mark.read_text() for mark in marks))
        pids = [int(mark.read_text()) for mark in marks]
        os.kill(process.pid, number)
        code = process.wait(60)
    assert code == (-number if number == signal.SIGKILL else 130)
    began = time.monotonic()
    for node in nodes.nodes:
        wait_until(node.idle, timeout_s=20)
    assert not any(map(alive, pids)), time.monotonic() - began
    for mark in marks:
        mark.unlink()


def test_a_node_that_is_lost_is_told_and_the_others_go_on(run: Project, nodes: Nodes, tmp_path: Path) -> None:
    script = f"echo $$ > {BASE}/pid; while ! test -e {BASE}/go; do sleep 0.05; done; echo done"
    argv = ["exec", "--system", "system.yaml", "--", "sh", "-c", script]
    marks = [node.seen / "pid" for node in nodes.nodes]
    with _started(run, nodes, argv) as process:
        wait_until(lambda: all(mark.exists() and mark.read_text() for mark in marks))
        nodes["n2"].kill_sshd()
        (nodes["n1"].seen / "go").touch()
        out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (4, "n1: done\n")
    assert f"n2: the connection to node n2 ({nodes['n2'].address}) is gone: the other side closed it" in err
    nodes.restart("n2")
    for path in (*marks, nodes["n1"].seen / "go"):
        path.unlink()
