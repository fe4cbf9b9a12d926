"""``milabench exec`` over real connections: words, streams, exit codes, ends."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator

import pytest

from agents import alive
from harness import Project, Result, living, wait_until
from machines import Machines
from nodes import BASE, USER, started

WORDS = ("--help", "two  words", 'it\'s "quoted"', '{"a": [1, "$HOME"]}', "*", "one\ntwo", "日本語 é", "", "-x", "--")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    place = tmp_path_factory.mktemp("nodes")
    with started(place / "nodes", ("n1", "n2")) as nodes:
        found = Machines(place / "project", nodes)
        found.write_system(nodes={node.name: {"user": USER} for node in nodes.nodes})
        yield found


@pytest.fixture
def machines(made: Machines) -> Iterator[Machines]:
    """Yield two nodes of empty bases; after each test nothing is left on them, and they are mended."""
    yield made
    wait_until(lambda: made.left() == {}, timeout_s=20)
    made.nodes.mend()


def execute(machines: Machines, *arguments: str, **environ: str) -> Result:
    return machines.milabench("exec", *arguments, timeout_s=120, **environ)


def on_nodes(machines: Machines, *arguments: str, host: str | None = "n1") -> list[str]:
    """Return the arguments before a command on a node of the system, or all of them."""
    hosts = [] if host is None else ["--host", host]
    return ["--system", str(machines.system), *hosts, *arguments, "--"]


# Words and streams -------------------------------------------------------------------------------------------------


def test_words_variables_and_folder_arrive_as_they_are(machines: Machines) -> None:
    show = "import json, os, sys; print(json.dumps([sys.argv[1:], os.environ['T'], os.environ['HERE'], os.getcwd()]))"
    command = ("python3", "-c", show, *WORDS)
    options = (
        "--host",
        f"{USER}@{machines.nodes['n1'].address}",
        "--cwd",
        str(BASE),
        "--env",
        "T= a=b\n",
        "--env",
        "HERE",
    )
    found = execute(machines, *options, "--", *command, HERE="it's *")
    assert (found.code, found.err) == (0, "")
    assert found.json == [list(WORDS), " a=b\n", "it's *", str(BASE)]


def test_streams_come_apart_byte_for_byte(machines: Machines) -> None:
    script = r"printf 'a\nb\377'; printf 'no newline' >&2; exit 7"
    found = execute(machines, *on_nodes(machines), "sh", "-c", script)
    assert (found.code, os.fsencode(found.out), found.err) == (7, b"a\nb\xff", "no newline")


def test_what_is_printed_is_shown_as_it_comes(machines: Machines) -> None:
    script = f"echo first; while ! test -e {BASE}/go; do sleep 0.05; done; echo last"
    with machines.started("exec", *on_nodes(machines), "sh", "-c", script) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "first\n"
        (machines.nodes["n1"].seen / "go").touch()
        assert process.stdout.read() == "last\n"
        assert process.wait(60) == 0


def test_much_output_arrives_whole(machines: Machines) -> None:
    found = execute(machines, *on_nodes(machines), "seq", "1", "300000")
    assert found.code == 0
    assert found.out == "".join(f"{number}\n" for number in range(1, 300_001))


# Several nodes -----------------------------------------------------------------------------------------------------


def test_each_line_of_several_nodes_is_named_and_the_worst_code_is_returned(machines: Machines) -> None:
    script = "echo on $(hostname); echo again; test $(hostname) = n1 || exit 9"
    found = execute(machines, *on_nodes(machines, host=None), "sh", "-c", script)
    assert found.code == 9
    assert sorted(found.out.splitlines()) == ["n1: again", "n1: on n1", "n2: again", "n2: on n2"]


def test_this_machine_may_be_among_them(machines: Machines) -> None:
    found = execute(
        machines, "--host", "localhost", "--host", f"{USER}@{machines.nodes['n2'].address}:22", "--", "hostname"
    )
    assert sorted(found.out.splitlines()) == [f"{USER}@{machines.nodes['n2'].address}:22: n2", "localhost: op"]


# Ends --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (("sh", "-c", "kill -9 $$"), 137, ""),
        (("no-such-program",), 127, "n1: cannot be started: No such file or directory: no-such-program"),
    ],
)
def test_the_exit_code_is_that_of_the_command(
    machines: Machines, command: tuple[str, ...], code: int, said: str
) -> None:
    found = execute(machines, *on_nodes(machines), *command)
    assert (found.code, found.err.strip()) == (code, said)


def test_a_command_that_takes_too_long_is_ended(machines: Machines) -> None:
    found = execute(machines, *on_nodes(machines, "--timeout", "0.5", host=None), "sleep", "1000")
    assert found.code == 124
    assert "n2: milabench: --timeout is reached: the process is ended\n" in found.err


def test_where_one_node_cannot_be_used_nothing_is_begun(machines: Machines) -> None:
    machines.nodes.trust("n1")
    found = execute(machines, *on_nodes(machines, host=None), "sh", "-c", f"touch {BASE}/begun")
    assert found.code == 4
    assert f"node n2 ({machines.nodes['n2'].address}) shows a host key that is not known yet" in found.err
    assert not (machines.nodes["n1"].seen / "begun").exists()
    found = execute(machines, *on_nodes(machines, "--accept-new-host-keys", host=None), "true")
    assert found.code == 0
    (told,) = (line for line in found.err.splitlines() if "is known from now on" in line)
    assert told.startswith(f"node n2 ({machines.nodes['n2'].address}) is known from now on: ssh-ed25519 SHA256:")
    assert machines.nodes["n2"].host_key() in machines.nodes.known_hosts.read_text()


def test_on_a_machine_that_is_two_nodes_nothing_is_begun_unless_both_are_named(machines: Machines) -> None:
    system = machines.system.read_text()
    machines.write_doubled("n1")
    try:
        refused = execute(machines, *on_nodes(machines, host=None), "sh", "-c", f"echo x >> {BASE}/begun")
        named = execute(machines, *on_nodes(machines, "--host", "n1", host="n2"), "hostname")
    finally:
        machines.system.write_text(system)
    said = "node n2: it is the machine that node n1 is, by another address or port: leave one of them out"
    assert (refused.code, said in refused.err, (machines.nodes["n2"].seen / "begun").exists()) == (4, True, False)
    assert (named.code, sorted(named.out.splitlines())) == (0, ["n1: n2", "n2: n2"])
    told = "warning: node n1: it is the machine that node n2 is, by another address or port: leave one of them out"
    assert f"{told}, or the command runs there twice\n" in named.err


def test_a_node_that_is_mistyped_is_told_with_those_there_are(machines: Machines) -> None:
    found = execute(machines, *on_nodes(machines, "--host", "n9", host="n1"), "true")
    assert found.code == 2
    assert "--host n9: no node n9 in" in found.err
    assert ": n1, n2; nor a known address" in found.err


def test_nodes_that_were_not_asked_for_are_not_counted(machines: Machines) -> None:
    machines.nodes.trust("n1")
    found = execute(machines, *on_nodes(machines, host="n2"), "true")
    assert (found.code, found.err.startswith("milabench: node n2 (")) == (4, True)


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
        (("--host", "n1", "--", "", "x"), "its first word, the program, is empty"),
        (("--host", "n1", "--cwd", "~bob/x", "--", "true"), "--cwd ~bob/x: ~ alone is known"),
        (
            ("--host", "no-such-node", "--", "true"),
            "--host no-such-node: no known address: mend it, or give the system",
        ),
    ],
)
def test_mistakes_are_told_before_anything_is_done(project: Project, arguments: tuple[str, ...], said: str) -> None:
    found = project.milabench("exec", *arguments)
    assert found.code == 2
    assert said in found.err


def test_a_folder_may_begin_at_ones_home(machines: Machines) -> None:
    home = execute(machines, *on_nodes(machines), "sh", "-c", "cd && pwd").out
    assert execute(machines, *on_nodes(machines, "--cwd", "~"), "pwd").out == home


def test_on_this_machine_too_a_folder_may_begin_at_ones_home(project: Project) -> None:
    (project.folder / "my" / "folder").mkdir(parents=True)
    options = ("--host", "localhost", "--cwd", "~/folder", "--", "pwd")
    assert project.milabench("exec", *options, HOME=str(project.folder / "my")).out == f"{project.folder}/my/folder\n"


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_what_nobody_reads_on_is_ended_and_no_success(project: Project, stream: str) -> None:
    printing = f"trap 'touch ended; exit' TERM; while true; do echo line >&{1 if stream == 'stdout' else 2}; done"
    argv = [sys.executable, "-m", "milabench", "exec", "--host", "localhost", "--", "sh", "-c", printing]
    with living(argv, cwd=project.folder, env=project.environ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        read, other = (process.stdout, process.stderr)[:: 1 if stream == "stdout" else -1]
        assert read.readline() == "line\n"
        read.close()
        assert (other.read(), process.wait(60)) == ("", 141)
    assert (project.folder / "ended").exists()


def test_the_output_of_an_exec_that_was_killed_is_removed_by_the_next(project: Project) -> None:
    left = project.folder / "tmp" / f"milabench-exec-{os.getuid()}-left"
    left.mkdir(parents=True)
    os.utime(left, (1, 1))
    found = project.milabench("exec", "--host", "localhost", "--", "true", TMPDIR=str(left.parent))
    assert (found.code, list(left.parent.iterdir())) == (0, [])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_whatever_ends_milabench_nothing_stays_on_any_node(machines: Machines, number: signal.Signals) -> None:
    script = f"(setsid sh -c 'sleep 1000' &); echo $$ > {BASE}/pid; sleep 1000"
    marks = [node.seen / "pid" for node in machines.nodes.nodes]
    with machines.started("exec", *on_nodes(machines, host=None), "sh", "-c", script) as process:
        wait_until(lambda: all(mark.exists() and mark.read_text() for mark in marks))
        pids = [int(mark.read_text()) for mark in marks]
        os.kill(process.pid, number)
        code = process.wait(60)
    assert code == (-number if number == signal.SIGKILL else 130)
    wait_until(lambda: machines.left() == {}, timeout_s=20)
    assert not any(map(alive, pids))


def test_a_node_that_is_lost_is_told_and_the_others_go_on(machines: Machines) -> None:
    script = f"echo $$ > {BASE}/pid; while ! test -e {BASE}/go; do sleep 0.05; done; echo done"
    marks = [node.seen / "pid" for node in machines.nodes.nodes]
    with machines.started("exec", *on_nodes(machines, host=None), "sh", "-c", script) as process:
        wait_until(lambda: all(mark.exists() and mark.read_text() for mark in marks))
        machines.nodes["n2"].kill_sshd()
        (machines.nodes["n1"].seen / "go").touch()
        out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (4, "n1: done\n")
    assert f"n2: the connection to node n2 ({machines.nodes['n2'].address}) is gone: the other side closed it" in err
