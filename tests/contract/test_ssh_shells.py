"""Agents behind real SSH servers: what login shells print and do, users who may run nothing, Pythons."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness import wait_until
from links import login, name_of, refusal, talk
from milabench.execute.hosts import boot
from milabench.execute.hosts.agent import END_S, AgentHost
from nodes import BASE, USER, Nodes


@contextmanager
def bashrc(nodes: Nodes, text: str) -> Iterator[None]:
    path = nodes["n1"].home / ".bashrc"
    path.write_text(text)
    try:
        yield
    finally:
        path.unlink()


def test_what_a_login_shell_prints_before_is_passed_over(nodes: Nodes) -> None:
    with bashrc(nodes, "echo 'Welcome! milabench have'; printf 'no newline'; echo warning >&2\n"):
        assert talk(nodes, login(nodes), name_of) == "n1"


def test_what_a_login_shell_leaves_running_keeps_nothing_waiting(nodes: Nodes, tmp_path: Path) -> None:
    """It holds the streams of the command, which a server of SSH takes for the command's own."""
    with bashrc(nodes, "sleep 1000 & echo $! > left\n"):
        began = time.monotonic()
        assert talk(nodes, login(nodes), name_of) == "n1"
        assert "install Python 3.10" in refusal(nodes, python="python9")
        assert time.monotonic() - began < END_S
    for pid in nodes["n1"].started():
        os.kill(pid, signal.SIGKILL)
    wait_until(nodes["n1"].idle)


def test_a_login_shell_that_prints_without_end_is_told(nodes: Nodes) -> None:
    with bashrc(nodes, "yes welcome\n"):
        assert "prints without end ('welcome')" in refusal(nodes)
    wait_until(nodes["n1"].idle)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("echo hello; sleep 1000\n", "(printed last: 'hello'): a start-up file of the login shell may wait"),
        ("echo waits >&2; sleep 1000\n", "(printed last: 'waits'): a start-up file of the login shell may wait"),
        ("while :; do echo noise; sleep 0.01; done\n", "(printed last: 'noise'): a start-up file of the login shell"),
        ("cat\n", "its login shell gives back what is sent to it: a start-up file reads standard input"),
    ],
    ids=["waits", "complains", "prints", "reads"],
)
def test_a_start_up_file_that_never_ends_is_told(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch, text: str, told: str
) -> None:
    monkeypatch.setattr(boot, "ARRIVE_S", 8.0)
    with bashrc(nodes, text):
        said = refusal(nodes)
    assert "python3 has not come up there within 8 s" in said
    assert told in said
    for pid in nodes["n1"].started():
        os.kill(pid, signal.SIGKILL)
    wait_until(nodes["n1"].idle)


def test_a_node_without_python_is_told(nodes: Nodes) -> None:
    with bashrc(nodes, "PATH=/nowhere\n"):
        said = refusal(nodes)
    assert "python3: not found" in said
    assert "install Python 3.10 or newer there, or name it with `python:`" in said
    assert "python9: not found" in refusal(nodes, python="python9")


def test_a_python_that_is_too_old_is_told(nodes: Nodes) -> None:
    old = nodes["n1"].seen / "old"
    old.write_text('#!/bin/sh\nexec /usr/bin/python3 -I -S -c "import sys; sys.version_info = (3, 8, 19); $4"\n')
    old.chmod(0o755)
    said = refusal(nodes, python=str(BASE / "old"))
    assert f"{BASE}/old there is Python 3.8.19, and 3.10 or newer is needed" in said


@pytest.mark.parametrize("shell", ["/usr/sbin/nologin", "/bin/false", "/no/such/shell"])
def test_a_user_who_may_run_nothing_is_told(nodes: Nodes, shell: str) -> None:
    passwd = nodes["n1"].folder / "etc" / "passwd"
    before = passwd.read_text()
    passwd.write_text(before.replace(f"/home/{USER}:/bin/bash", f"/home/{USER}:{shell}"))
    try:
        said = refusal(nodes)
    finally:
        passwd.write_text(before)
    assert said.startswith("node n1 (10.77.0.1)" if "such" in shell else "the agent on node n1 (10.77.0.1) has ended")


SHELLS = ("/bin/sh", "/bin/dash", "/bin/zsh", "/bin/tcsh", "/usr/bin/fish")


@pytest.mark.parametrize("shell", [shell for shell in SHELLS if Path(shell).exists()])
def test_any_login_shell_will_do(nodes: Nodes, shell: str) -> None:
    passwd = nodes["n1"].folder / "etc" / "passwd"
    before = passwd.read_text()
    passwd.write_text(before.replace(f"/home/{USER}:/bin/bash", f"/home/{USER}:{shell}"))
    try:
        assert talk(nodes, login(nodes), name_of) == "n1"
        assert "install Python 3.10 or newer there" in refusal(nodes, python="python9")
    finally:
        passwd.write_text(before)


def test_the_agents_zip_is_kept_and_where_it_cannot_be_it_goes_with_the_agent(nodes: Nodes) -> None:
    async def archive(host: AgentHost) -> str:
        return str((await host.hello())["archive"])

    kept = nodes["n1"].home / ".cache" / "milabench" / "agents"
    kept.mkdir(parents=True, exist_ok=True)
    old, other = kept / "old.zip", kept / "other.zip"
    for path in (old, other):
        path.touch()
    os.utime(old, (0, 0))
    for path in kept.glob("[0-9a-f]*.zip"):
        path.write_bytes(b"half of it")
    nodes["n1"].run("chown", "-R", USER, f"/home/{USER}")
    assert talk(nodes, login(nodes), archive).startswith(f"/home/{USER}/.cache/milabench/agents/")
    assert (old.exists(), other.exists()) == (False, True)
    kept.chmod(0o500)
    for path in kept.glob("[0-9a-f]*.zip"):
        path.unlink()
    try:
        temporary = talk(nodes, login(nodes), archive)
    finally:
        kept.chmod(0o700)
    assert temporary.startswith("/tmp/milabench-agent-")
    assert "milabench-agent" not in nodes["n1"].run("ls", "/tmp")
