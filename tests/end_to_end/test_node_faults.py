"""What goes wrong with nodes and the ways to them, for real: each by its name, the other nodes' results whole."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from harness import PRINTER, shell, wait_until
from machines import Machines, end
from milabench.rundir import runs
from nodes import BASE, Nodes, nodes, started, why_not

__all__ = ["nodes"]

EVERYWHERE = {"plan": {"method": "per_node"}}
ONE = """echo '{"count": 10, "unit": "items"}'; """
# On the second node a step, then nothing until there is such a file; on the others as many steps as are wanted.
HELD = f"""case $(uname -n) in n2) {ONE} while ! test -e {BASE}/go; do sleep 0.05; done ;; esac; {PRINTER}"""
QUIET = {"monitor.interval": 0, "ssh.connect": 3}


@pytest.fixture
def machines(tmp_path: Path, nodes: Nodes) -> Machines:
    found = Machines(tmp_path / "project", nodes)
    found.write_system(**QUIET)
    found.project.suite(each=shell(HELD, **EVERYWHERE), after=shell(PRINTER, **EVERYWHERE))
    return found


def has_step(machines: Machines, tag: str) -> bool:
    """Say whether a process's step has come into the run's own folder."""
    found = [path for path in machines.nodes["op"].seen.glob(f"runs/*/{tag}.stdout") if path.stat().st_size]
    return bool(found)


def until_held(machines: Machines) -> None:
    """Wait until the second node is the only one whose process has not ended."""

    def ended(tag: str) -> bool:
        files = machines.nodes["op"].seen.glob(f"runs/*/{tag}.data")
        return any('"event": "end"' in path.read_text() for path in files)

    wait_until(lambda: has_step(machines, "each.n2") and ended("each.n1") and ended("each.n3"))


# In the middle of a run --------------------------------------------------------------------------------------------


def cut(machines: Machines) -> None:
    machines.nodes["n2"].link("down")


def kill_sshd(machines: Machines) -> None:
    machines.nodes["n2"].kill_sshd()


def switch_off(machines: Machines) -> None:
    machines.nodes["n2"].die()


def swallow(machines: Machines) -> None:
    machines.nodes["n2"].drop()


@pytest.mark.parametrize("fault", [cut, kill_sshd, switch_off, swallow])
def test_a_node_that_goes_away_is_lost_and_the_others_are_whole(
    machines: Machines, fault: Callable[[Machines], None]
) -> None:
    with machines.started("run") as process:
        until_held(machines)
        fault(machines)
        _, said = process.communicate(timeout=120)
    assert process.returncode == 1, said
    assert machines.outcomes() == {
        **dict.fromkeys(("each.n1", "each.n3", "after.n1", "after.n3"), "early_stop"),
        **dict.fromkeys(("each.n2", "after.n2"), "lost"),
    }
    assert "n2" in end(machines.run(), "each.n2")["reason"]
    assert machines.run().facts()["state"] == "incomplete"
    wait_until(lambda: machines.left() == {})


def test_a_run_goes_on_when_the_main_node_is_gone(machines: Machines) -> None:
    machines.write_system("n2", "n1", "n3", **QUIET)
    with machines.started("run") as process:
        until_held(machines)
        switch_off(machines)
        _, said = process.communicate(timeout=120)
    assert process.returncode == 1, said
    outcomes = machines.outcomes()
    assert {tag for tag, how in outcomes.items() if how == "lost"} == {"each.n2", "after.n2"}
    assert {how for tag, how in outcomes.items() if not tag.endswith("n2")} == {"early_stop"}
    assert machines.left() == {}


def test_what_was_lost_is_run_again_when_its_node_is_there_again(machines: Machines) -> None:
    with machines.started("run") as process:
        until_held(machines)
        for pid in machines.nodes["n2"].started():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        (machines.nodes["n2"].seen / "go").touch()
        _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert set(machines.outcomes().values()) == {"early_stop"}
    assert machines.run().journal().attempts["each"] == 2


def test_a_lost_node_that_is_there_again_can_be_resumed(machines: Machines) -> None:
    with machines.started("run") as process:
        until_held(machines)
        kill_sshd(machines)
        process.communicate(timeout=120)
    machines.nodes.restart("n2")
    (machines.nodes["n2"].seen / "go").touch()
    wait_until(lambda: "Server listening" in (machines.nodes["n2"].folder / "log").read_text().rsplit("signal", 1)[-1])
    done = machines.milabench("resume")
    assert done.code == 0, done.err
    assert set(machines.outcomes().values()) == {"early_stop"}


def test_a_run_whose_runner_was_killed_is_gone_on_with_when_all_that_it_had_started_has_ended(
    machines: Machines,
) -> None:
    with machines.started("run") as process:
        until_held(machines)
        process.kill()
        process.communicate(timeout=120)
    (machines.nodes["n2"].seen / "go").touch()
    done = machines.milabench("resume")
    assert done.code == 0, done.err
    assert set(machines.outcomes().values()) == {"early_stop"}
    assert machines.left() == {}


def test_a_slow_node_ends_well(machines: Machines) -> None:
    machines.write_system(**{"ssh.keepalive": 5}, **QUIET)
    node = machines.nodes["n2"]
    with machines.started("run") as process:
        until_held(machines)
        connections = {*node.pids()} - {*node.started(), node.pid}
        for pid in connections:
            os.kill(pid, signal.SIGSTOP)
        (node.seen / "go").touch()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(2)
        for pid in connections:
            os.kill(pid, signal.SIGCONT)
        _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert set(machines.outcomes().values()) == {"early_stop"}
    assert machines.run().journal().attempts["each"] == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, None)])
def test_who_ends_milabench_ends_what_runs_on_all_nodes(machines: Machines, number: signal.Signals, code: int) -> None:
    with machines.started("run") as process:
        until_held(machines)
        os.kill(process.pid, number)  # each program before milabench starts the next in its own place
        process.communicate(timeout=120)
    wait_until(lambda: machines.left() == {})
    if code is not None:
        assert process.returncode == code
        assert machines.outcomes()["each.n2"] == "interrupted"


def test_a_full_disk_on_one_node_fails_that_nodes_process(machines: Machines) -> None:
    node = machines.nodes["n2"]
    node.run("mount", "-t", "tmpfs", "-o", "size=3m", "none", "/var/tmp")
    node.run("mount", "-t", "tmpfs", "-o", "size=3m", "none", "/tmp")
    node.run("chmod", "1777", "/var/tmp", "/tmp")
    fills = f"case $(uname -n) in n2) {ONE} head -c 9000000 /dev/zero || exit 3 ;; esac; {PRINTER}"
    machines.project.suite(each=shell(fills, **EVERYWHERE))
    done = machines.milabench("run")
    assert done.code == 1, done.err
    outcomes = machines.outcomes()
    assert outcomes == {"each.n1": "early_stop", "each.n2": "failed", "each.n3": "early_stop"}
    assert "No space left" in end(machines.run(), "each.n2")["reason"]
    assert machines.left() == {}


# Before a run ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    """Yield three nodes for faults that are undone."""
    if (reason := why_not()) is not None:
        pytest.skip(reason)
    place = tmp_path_factory.mktemp("faults")
    with started(place / "nodes") as made:
        found = Machines(place / "project", made)
        found.project.suite(each=shell(PRINTER, **EVERYWHERE))
        yield found


def refused(machines: Machines, *words: str) -> str:
    """Assert that nothing begins, with exit code 4 and these words."""
    done = machines.milabench("run")
    assert done.code == 4, done.err
    assert "nothing was begun" in done.err
    assert [word for word in words if word not in done.err] == []
    assert not [*runs(machines.nodes["op"].seen)]
    assert machines.left() == {}
    return done.err


def test_a_changed_host_key_is_refused(prepared: Machines) -> None:
    known = prepared.nodes.known_hosts
    n1, n2 = prepared.nodes["n1"], prepared.nodes["n2"]
    kept = known.read_text()
    known.write_text(kept.replace(n2.host_key(), n1.host_key()))
    try:
        refused(prepared, "1 of 3 nodes cannot be used", "node n2", "key")
    finally:
        known.write_text(kept)


def test_an_unknown_host_key_is_refused_unless_new_ones_are_accepted(prepared: Machines) -> None:
    prepared.nodes.trust("n1", "n3")
    try:
        refused(prepared, "node n2", "--accept-new-host-keys")
        assert prepared.milabench("run", "--accept-new-host-keys", "--run-name", str(BASE / "new")).code == 0
        assert prepared.nodes["n2"].host_key() in prepared.nodes.known_hosts.read_text()
    finally:
        prepared.nodes.trust()


def test_a_host_key_other_than_the_system_names_is_refused(prepared: Machines) -> None:
    prepared.write_system(nodes={"n2": {"hostkey": prepared.nodes["n1"].host_key()}})
    try:
        refused(prepared, "node n2", "key")
    finally:
        prepared.write_system()


def test_a_user_who_is_not_there_is_refused(prepared: Machines) -> None:
    prepared.write_system(nodes={"n2": {"user": "nobody-knows"}})
    try:
        refused(prepared, "node n2", "nobody-knows")
    finally:
        prepared.write_system()


def test_nodes_that_fail_in_different_ways_are_told_together(prepared: Machines) -> None:
    prepared.write_system(nodes={"n2": {"port": 2222}, "n3": {"ip": "nowhere.invalid"}})
    try:
        told = refused(prepared, "2 of 3 nodes cannot be used", "node n2", "2222", "node n3")
        assert "node n1" not in told
    finally:
        prepared.write_system()


def test_a_base_that_a_user_cannot_write_to_is_refused(prepared: Machines) -> None:
    base = prepared.nodes["n2"].seen
    base.chmod(0o755)
    try:
        refused(prepared, "node n2", f"the base {BASE} cannot be written to", "Permission denied")
    finally:
        base.chmod(0o777)


def test_a_node_that_swallows_everything_is_given_up(prepared: Machines) -> None:
    prepared.write_system(**{"ssh.connect": 2})
    prepared.nodes["n2"].drop()
    try:
        refused(prepared, "node n2", "2 s")
    finally:
        prepared.nodes["n2"].drop(all_in=False)
        prepared.write_system()


def test_doctor_tells_of_nodes_that_cannot_be_used_and_looks_on(prepared: Machines) -> None:
    prepared.write_system(nodes={"n2": {"port": 2222}})
    try:
        done = prepared.milabench("doctor", "--json")
        assert done.code == 4
        (found,) = (each for each in done.json["findings"] if each["code"] == "node-unreachable")
        assert (found["subject"], found["nodes"]) == ("n2", ["n2"])
        assert set(done.json["nodes"]) == {"n1", "n3"}
    finally:
        prepared.write_system()
