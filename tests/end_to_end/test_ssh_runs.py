"""Runs over nodes by SSH: from a node and from elsewhere, and what becomes of them when something goes wrong."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from harness import Project, printing_until, shell, wait_until
from milabench.rundir import RunDir, runs
from nodes import BASE, USER, Nodes, started, why_not

USERS = {"n1": "root", "n2": USER, "n3": "root"}
KEEPALIVE_S = 0.5
GO = BASE / "go"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    if (reason := why_not()) is not None:
        pytest.skip(reason)
    with started(tmp_path_factory.mktemp("nodes") / "all") as found:
        yield found


@pytest.fixture
def nodes(made: Nodes) -> Iterator[Nodes]:
    """Three nodes of empty bases, on which nothing runs before and after."""
    made.trust()
    yield made
    for node in made.nodes:
        wait_until(node.idle, timeout_s=30)
        assert "milabench" not in node.run("find", "/var/tmp", "-name", "*.data"), "the spool is not empty"
    for node in made.machines.values():
        for path in node.seen.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.fixture
def run(nodes: Nodes, project: Project) -> Project:
    """A project of the operator's: a program on each node that prints until it may end."""
    project.environ |= nodes.environ()
    project.environ.pop("SSH_AUTH_SOCK", None)
    project.base = nodes["op"].seen
    entries = [
        {"name": node.name, "ip": node.address, "user": USERS[node.name], "main": node.name == "n1"}
        for node in nodes.nodes
    ]
    options = {"ssh": {"keepalive": KEEPALIVE_S, "connect": 3}}
    project.write("system.yaml", json.dumps({"system": {"arch": "cpu", "nodes": entries, "options": options}}))
    script = f"hostname >&2; (setsid sleep 1000 &); {printing_until(GO)}"
    entry = shell(script, stop=10_000, plan={"method": "per_node"})
    project.suite(printer={**entry, "command": {**entry["command"], "cwd": "/"}})
    return project


COMMAND = ("run", "--config", "suite.yaml", "--system", "system.yaml", "--force")


@contextmanager
def running(
    run: Project, nodes: Nodes, *command: str, attempts: int = 0, under: Sequence[str] = ()
) -> Iterator[subprocess.Popen[str]]:
    """Start a run as the operator, and go on when all of its processes have printed something.

    ``under`` is for another machine than the operator's. ``attempts`` is how many came to nothing before: their files
    are moved away.
    """
    words = (sys.executable, "-m", "milabench", *(command or COMMAND))
    process = subprocess.Popen(
        [*(under or nodes["op"].prefix(cwd=run.folder)), *words],
        cwd=run.folder,
        env=run.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        wait_until(lambda: _all_print(run, process, attempts), timeout_s=120)
        yield process
    finally:
        process.kill()
        process.communicate()


def _attempts(run: Project) -> list[Path]:
    return [path for folder in runs(run.base) for path in folder.glob("attempts/*")]


def _all_print(run: Project, process: subprocess.Popen[str], attempts: int) -> bool:
    assert process.poll() is None, process.communicate()
    found = runs(run.base)
    if len(_attempts(run)) < attempts:
        return False
    files = [found[-1] / f"printer.{name}.steps" for name in USERS] if found else []
    return bool(files) and all(path.exists() and path.stat().st_size > 1000 for path in files)


def go(nodes: Nodes, *names: str) -> None:
    """Let the programs on nodes end."""
    for node in nodes.nodes:
        if not names or node.name in names:
            (node.seen / "go").touch()


def report(run: Project, nodes: Nodes, folder: Path | None = None) -> dict[str, Any]:
    path = str(folder or runs(run.base)[-1])
    found: dict[str, Any] = run.milabench("report", "--json", path).json["benchmarks"][0]
    return found


def reasons(run: Project, nodes: Nodes) -> dict[str, str]:
    return {each["tag"]: each["reason"] for each in report(run, nodes)["failures"]}


def assert_whole(folder: Path, *names: str) -> None:
    """Assert that the files of processes say all that was said: the steps that were printed are those that came."""
    for name in names:
        printed = (folder / f"printer.{name}.stdout").read_text().count('"count"')
        events = RunDir(folder).events(f"printer.{name}")
        assert [event.event for event in events][-1] == "end"
        assert sum(map(len, RunDir(folder).steps(f"printer.{name}"))) == printed > 0
        assert (folder / f"printer.{name}.stderr").read_text().splitlines()[0] == name


# Where it is run from ----------------------------------------------------------------------------------------------


def test_a_run_from_a_machine_that_is_no_node(run: Project, nodes: Nodes) -> None:
    with running(run, nodes) as process:
        go(nodes)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0, out + err
    assert report(run, nodes)["outcomes"] == {"ok": 3}
    assert_whole(runs(run.base)[-1], *USERS)


@pytest.fixture
def on_first(run: Project, nodes: Nodes) -> Sequence[str]:
    """The argv before what is run on the first node, which has the operator's files and keys."""
    first = nodes["n1"]
    shutil.copytree(nodes.home, first.seen / "home")
    for name in ("suite.yaml", "system.yaml"):
        shutil.copy(run.folder / name, first.seen / name)
    run.base = first.seen
    run.environ["HOME"] = str(BASE / "home")
    return first.prefix(cwd=BASE)


def test_a_run_from_a_node(run: Project, nodes: Nodes, on_first: Sequence[str]) -> None:
    """It is itself one of the nodes, and reaches the others by SSH."""
    with running(run, nodes, under=on_first) as process:
        go(nodes)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0, out + err
    folder = runs(run.base)[-1]
    assert set(json.loads((folder / "run.json").read_text())["nodes"]) == set(USERS)
    assert_whole(folder, *USERS)


def test_when_the_node_it_is_run_from_is_switched_off_the_others_end_what_runs(
    run: Project, nodes: Nodes, on_first: Sequence[str]
) -> None:
    with running(run, nodes, under=on_first):
        nodes["n1"].die()
        for name in ("n2", "n3"):
            wait_until(nodes[name].idle, timeout_s=30)
    _restart(nodes, "n1")


# What goes wrong before ----------------------------------------------------------------------------------------------


def test_all_that_keeps_nodes_from_being_used_is_told_at_once_and_nothing_is_begun(run: Project, nodes: Nodes) -> None:
    nodes.known_hosts.write_text(
        f"10.77.0.1 {nodes['n1'].host_key()}\n10.77.0.2 {nodes['n1'].host_key()}\n10.77.0.3 {nodes['n3'].host_key()}\n"
    )
    nodes["n3"].kill_sshd()
    try:
        done = run.milabench(*COMMAND, under=nodes["op"].prefix(cwd=run.folder))
    finally:
        _restart(nodes, "n3")
    assert done.code == 4
    assert "2 of 3 nodes cannot be used, and nothing was begun:" in done.err
    assert "node n2 (10.77.0.2) has changed its host key" in done.err
    assert "node n3 (10.77.0.3) refuses the connection" in done.err
    assert not (run.base / "runs").exists() or not runs(run.base)


# What goes wrong meanwhile -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("link down", "no answer came for 2 s"),
        ("black hole", "no answer came for 2 s"),
        ("sshd killed", "the other side closed it: its sshd was ended, or the node went down"),
        ("node gone", "no answer came for 2 s"),
    ],
)
def test_a_node_that_is_lost_takes_its_own_processes_and_no_others(
    run: Project, nodes: Nodes, fault: str, told: str
) -> None:
    node = nodes["n2"]
    faults = {
        "link down": lambda: node.link("down"),
        "black hole": node.drop,
        "sshd killed": node.kill_sshd,
        "node gone": node.die,
    }
    with running(run, nodes) as process:
        faults[fault]()
        wait_until(lambda: "printer.n2" in _ended(run))
        wait_until(node.idle, timeout_s=30)
        go(nodes)
        out, err = process.communicate(timeout=120)
    _mend(nodes, fault)
    assert process.returncode == 1, out + err
    assert report(run, nodes)["outcomes"] == {"ok": 2, "lost": 1}
    assert told in reasons(run, nodes)["printer.n2"]
    assert "node n2 (10.77.0.2)" in reasons(run, nodes)["printer.n2"]
    assert_whole(runs(run.base)[-1], "n1", "n3")


def _ended(run: Project) -> set[str]:
    folder = runs(run.base)[-1]
    tags = (f"printer.{name}" for name in USERS)
    return {tag for tag in tags if any(event.event == "end" for event in RunDir(folder).events(tag))}


def _mend(nodes: Nodes, fault: str) -> None:
    if fault == "link down":
        nodes["n2"].link("up")
    elif fault == "black hole":
        nodes["n2"].drop(all_in=False)
    else:
        _restart(nodes, "n2")


def _restart(nodes: Nodes, name: str) -> None:
    log = nodes[name].folder / "log"
    before = log.read_text().count("Server listening")
    nodes.restart(name)
    wait_until(lambda: log.read_text().count("Server listening") > before)


def test_ctrl_c_ends_everything_on_all_nodes_and_keeps_what_was_measured(run: Project, nodes: Nodes) -> None:
    with running(run, nodes) as process:
        os.kill(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 130, out + err
    assert all(node.idle() for node in nodes.nodes)
    assert report(run, nodes)["outcomes"] == {"interrupted": 3}
    assert_whole(runs(run.base)[-1], *USERS)


def test_a_runner_that_is_killed_leaves_nothing_and_its_run_can_be_gone_on_with(run: Project, nodes: Nodes) -> None:
    with running(run, nodes) as process:
        os.kill(process.pid, signal.SIGKILL)
        process.wait(30)
    for node in nodes.nodes:
        wait_until(node.idle, timeout_s=30)
    with running(run, nodes, "resume", "--force", attempts=1) as process:
        go(nodes)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0, out + err
    assert len(runs(run.base)) == 1
    assert report(run, nodes)["outcomes"] == {"ok": 3}
    assert_whole(runs(run.base)[-1], *USERS)
