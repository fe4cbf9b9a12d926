"""What goes wrong with nodes and the ways to them, for real: each by its name, the other nodes' results whole."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from harness import OBSERVED, PRINTER, folder, shell, wait_until
from machines import Machines, end
from milabench.rundir import runs
from nodes import BASE, started

EVERYWHERE = {"plan": {"method": "per_node"}}
STEP = """echo '{"count": 10, "unit": "items"}'"""
# Steps until there is such a file, beside something that would stay.
REST = f"while ! test -e {BASE}/go; do {STEP}; sleep 0.05; done"
HELD = f"(setsid sleep 1000 &); for n in 1 2 3 4 5; do {STEP}; sleep 0.05; done; {REST}"
OPTIONS = {"monitor.interval": 0, "ssh.connect": 3}
NO_ANSWER = "no answer came for 2 s"
HELD_TAGS = ("each.n1", "each.n2", "each.n3")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    place = tmp_path_factory.mktemp("faults")
    with started(place / "nodes") as nodes:
        yield Machines(place / "project", nodes)


@pytest.fixture
def machines(made: Machines) -> Iterator[Machines]:
    """Yield three nodes of empty bases; after each test nothing is left on them, and they are mended."""
    made.write_system(options=OPTIONS)
    made.project.suite(each=shell(HELD, stop=10_000, **EVERYWHERE), after=shell(PRINTER, **EVERYWHERE))
    yield made
    wait_until(lambda: made.left() == {})
    made.nodes.mend()


def go(machines: Machines) -> None:
    for node in machines.nodes.nodes:
        (node.seen / "go").touch()


def until_held(machines: Machines, tags: Sequence[str] = HELD_TAGS) -> None:
    """Wait until steps of nodes have come into the run's own folder."""

    def has_steps(tag: str) -> bool:
        files = machines.nodes["op"].seen.glob(f"runs/*/{tag}.steps")
        return any(path.stat().st_size > 500 for path in files)

    wait_until(lambda: all(map(has_steps, tags)))


def assert_whole(machines: Machines, *tags: str) -> None:
    """Assert that of processes all has come that was said: the items that were printed are those that there are."""
    run = machines.run()
    for tag in tags:
        printed = run.files(tag).stdout.read_text().count('"count"')
        assert sum(sum(steps.columns["count"]) for steps in run.steps(tag)) == 10 * printed > 0
        assert [event.event for event in run.events(tag)][-1] == "end"


# In the middle of a run --------------------------------------------------------------------------------------------


def run_amid(
    machines: Machines,
    *faults: Callable[[], None],
    lost: Sequence[str] = ("n2",),
    held: Sequence[str] = HELD_TAGS,
    words: Sequence[str] = (),
) -> None:
    """Have faults come amid a run, which loses nodes by them and ends with 1."""
    with machines.started("run", *words) as process:
        until_held(machines, held)
        for fault in faults:
            fault()
        for name in lost:
            wait_until(lambda name=name: "end" in {event.event for event in machines.run().events(f"each.{name}")})
        go(machines)
        _, said = process.communicate(timeout=120)
    assert process.returncode == 1, said


def lose(machines: Machines, told: str, *faults: Callable[[], None], lost: Sequence[str] = ("n2",)) -> None:
    """Have a run lose nodes by faults, which takes what runs there, what waits for them, and nothing else."""
    whole = [node.name for node in machines.nodes.nodes if node.name not in lost]
    run_amid(machines, *faults, lost=lost)
    outcomes = {"each": dict.fromkeys(whole, "ok"), "after": dict.fromkeys(whole, "early_stop")}
    assert machines.outcomes() == {
        f"{group}.{name}": outcomes[group].get(name, "lost") for group in outcomes for name in (*whole, *lost)
    }
    for name in lost:
        reason = end(machines.run(), f"each.{name}")["reason"]
        assert f"node {name} ({machines.nodes[name].address}) is gone: {told}" in reason
    assert machines.run().facts()["state"] == "incomplete"
    assert_whole(machines, *(f"each.{name}" for name in whole))


def test_the_main_node_may_be_switched_off_and_the_others_are_whole(machines: Machines) -> None:
    machines.write_system("n2", "n1", "n3", options=OPTIONS)
    lose(machines, NO_ANSWER, machines.nodes["n2"].die)


def test_a_node_whose_link_is_cut_and_one_that_is_switched_off_are_lost_and_the_other_is_whole(
    machines: Machines,
) -> None:
    n2, n3 = machines.nodes["n2"], machines.nodes["n3"]
    lose(machines, NO_ANSWER, lambda: n2.link("down"), n3.die, lost=("n2", "n3"))
    wait_until(n2.idle)  # by itself: nothing can tell it


def test_a_node_whose_sshd_is_killed_is_lost_and_its_run_can_be_resumed_when_it_is_there_again(
    machines: Machines,
) -> None:
    told = "the other side closed it: its sshd was ended, or the node went down"
    lose(machines, told, machines.nodes["n2"].kill_sshd)
    machines.nodes.restart("n2")
    done = machines.milabench("resume")
    assert done.code == 0, done.err
    assert {*machines.outcomes().values()} == {"ok", "early_stop"}
    assert_whole(machines, *HELD_TAGS)


def test_where_a_node_does_not_come_back_a_run_goes_on_on_the_nodes_of_another_file(machines: Machines) -> None:
    machines.write_system("n1", "n2", options=OPTIONS)
    run_amid(machines, machines.nodes["n2"].die, held=HELD_TAGS[:2])
    gone = machines.milabench("resume")
    assert gone.code == 4
    assert "nodes that a file names instead can take their places: milabench resume" in gone.err
    machines.write_system("n1", "n3", options=OPTIONS)
    done = machines.milabench("resume", "--other-nodes", f"--system={machines.system}")
    assert done.code == 0, done.err
    assert "node n3 takes the place of n2" in done.err
    assert machines.outcomes() == {
        **dict.fromkeys(("each.n1", "each.n3"), "ok"),
        **dict.fromkeys(("after.n1", "after.n3"), "early_stop"),
    }
    assert_whole(machines, "each.n1", "each.n3")
    assert "n3 took the place of n2 on 20" in done.out.replace("\n", " ")
    assert {*machines.run().facts()["nodes"]} == {"n1", "n2", "n3"}


def test_a_node_that_takes_a_place_without_the_environment_gets_it_by_the_lines_that_are_told(
    machines: Machines,
) -> None:
    machines.project.write("plain/main.py", OBSERVED)
    machines.project.suite(each=shell(HELD, stop=10_000, **EVERYWHERE), plain=folder("plain", **EVERYWHERE))
    machines.write_system("n1", "n2", options=OPTIONS)
    words = ("--all", "--override=plain.max_duration=90")
    run_amid(machines, machines.nodes["n2"].die, held=HELD_TAGS[:2], words=words)
    machines.write_system("n1", "n3", options=OPTIONS)
    resume = ("resume", "--other-nodes", f"--system={machines.system}")
    refused = machines.milabench(*resume)
    assert (refused.code, "node n3 has a base of its own, without the environments plain" in refused.err) == (4, True)
    lines = [shlex.split(line) for line in refused.err.splitlines() if line.startswith("  milabench ")]
    assert [words[1] for words in lines] == ["install", "prepare"], refused.err
    assert all("plain.max_duration=90" in words for words in lines)
    for _, verb, *rest in lines:
        done = machines.milabench(verb, *rest)
        assert done.code == 0, done.err
    done = machines.milabench(*resume)
    assert done.code == 0, done.err
    assert {machines.outcomes()[name] for name in ("plain.n1", "plain.n3")} == {"early_stop"}


def test_what_was_lost_is_run_again_when_its_node_is_there_again(machines: Machines) -> None:
    with machines.started("run") as process:
        until_held(machines)
        for pid in machines.nodes["n2"].started():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        go(machines)
        _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert {*machines.outcomes().values()} == {"ok", "early_stop"}
    assert machines.run().journal().attempts["each"] == 2


def test_a_run_whose_runner_was_killed_is_gone_on_with_when_all_that_it_had_started_has_ended(
    machines: Machines,
) -> None:
    with machines.started("run") as process:
        until_held(machines)
        process.kill()
        process.communicate(timeout=120)
    go(machines)
    done = machines.milabench("resume")
    assert done.code == 0, done.err
    assert {*machines.outcomes().values()} == {"ok", "early_stop"}
    assert len(runs(machines.nodes["op"].seen)) == 1
    assert (machines.left(), machines.spooled()) == ({}, [])
    assert_whole(machines, *HELD_TAGS)


def test_when_the_node_that_it_is_run_from_is_switched_off_the_others_end_what_runs(machines: Machines) -> None:
    first = machines.nodes["n1"]
    with machines.started("run", at="n1"):
        wait_until(lambda: len([node for node in machines.nodes.nodes if node.started()]) == 3)
        wait_until(lambda: [*first.seen.glob("runs/*/each.n2.steps")] and [*first.seen.glob("runs/*/each.n3.steps")])
        first.die()
    wait_until(lambda: (machines.left(), machines.spooled()) == ({}, []))


def test_ctrl_c_ends_what_runs_on_all_nodes_and_keeps_what_was_measured(machines: Machines) -> None:
    with machines.started("run") as process:
        until_held(machines)
        os.kill(process.pid, signal.SIGINT)  # each program before milabench starts the next in its own place
        _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert (machines.left(), machines.spooled()) == ({}, [])
    assert {tag: machines.outcomes()[tag] for tag in HELD_TAGS} == dict.fromkeys(HELD_TAGS, "interrupted")
    assert_whole(machines, *HELD_TAGS)


@pytest.mark.parametrize("words", [("run",), ("exec", "--", "true")])
def test_one_ctrl_c_ends_connecting_to_a_node_that_does_not_answer(machines: Machines, words: tuple[str, ...]) -> None:
    verb, *rest = words
    system = [f"--system={machines.system}"] if verb == "exec" else []
    machines.write_system(options={"ssh.connect": 600})
    machines.nodes["n3"].drop()
    with machines.started(verb, *system, *rest) as process:
        wait_until(machines.nodes["n1"].connections)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=120)
    assert (process.returncode, "Ctrl-C: what runs is ended at once" in said) == (130, True), said


def test_a_second_ctrl_c_does_not_wait_for_a_node_that_has_gone_silent(machines: Machines) -> None:
    machines.write_system(options={**OPTIONS, "monitor.interval": 1, "ssh.keepalive": 600})
    with machines.started("run") as process:
        until_held(machines)
        machines.nodes["n3"].drop()
        for _ in range(2):
            process.send_signal(signal.SIGINT)
            assert process.stderr is not None
            wait_until(lambda: "Ctrl-C" in process.stderr.readline())
        _, said = process.communicate(timeout=120)
    assert (process.returncode, "is not waited for any more" in said) == (130, True), said
    wait_until(lambda: all(machines.nodes[name].idle() for name in ("n1", "n2")))
    machines.nodes["n3"].die()  # it would wait for long to hear that nobody is there


def test_one_ctrl_c_ends_connecting_to_a_node_again_that_was_lost(machines: Machines) -> None:
    machines.write_system(options={**OPTIONS, "ssh.connect": 600})
    with machines.started("run") as process:
        until_held(machines)
        machines.nodes["n3"].drop()
        wait_until(lambda: "end" in {event.event for event in machines.run().events("each.n3")})
        go(machines)
        wait_until(machines.run().files("after.n3").events.exists)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=120)
    assert (process.returncode, "Ctrl-C: what runs is being ended" in said) == (130, True), said
    assert {name: machines.outcomes()[name] for name in ("each.n3", "after.n3")} == {
        "each.n3": "lost",
        "after.n3": "interrupted",
    }
    wait_until(machines.nodes["n3"].idle)  # by itself: nothing can tell it


def test_a_slow_node_ends_well(machines: Machines) -> None:
    machines.write_system(options={**OPTIONS, "ssh.keepalive": 2})
    node = machines.nodes["n2"]
    with machines.started("run") as process:
        until_held(machines)
        connections = node.connections()
        for pid in connections:
            os.kill(pid, signal.SIGSTOP)
        go(machines)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(3)  # no answer to a look whether the node is there, or to two
        for pid in connections:
            os.kill(pid, signal.SIGCONT)
        _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert {*machines.outcomes().values()} == {"ok", "early_stop"}
    assert machines.run().journal().attempts["each"] == 1


def test_a_full_disk_on_one_node_fails_that_nodes_process(machines: Machines) -> None:
    node = machines.nodes["n2"]
    for place in ("/var/tmp", "/tmp"):
        node.run("mount", "-t", "tmpfs", "-o", "size=3m,mode=1777", "none", place)
    fills = f"case $(uname -n) in n2) {STEP}; head -c 9000000 /dev/zero || exit 3 ;; esac; {PRINTER}"
    machines.project.suite(each=shell(fills, **EVERYWHERE))
    try:
        done = machines.milabench("run")
    finally:
        node.run("umount", "--lazy", "/var/tmp", "/tmp")
    assert done.code == 1, done.err
    assert machines.outcomes() == {"each.n1": "early_stop", "each.n2": "failed", "each.n3": "early_stop"}
    assert "No space left" in end(machines.run(), "each.n2")["reason"]


# Before a run ------------------------------------------------------------------------------------------------------


def refused(machines: Machines, *words: str, base: Path = BASE) -> str:
    """Assert that nothing begins, with exit code 4 and these words."""
    done = machines.milabench("run", f"--base={base}")
    assert done.code == 4, done.err
    assert "no process was started" in done.err
    assert [word for word in words if word not in done.err] == []
    assert not [*runs(machines.nodes["op"].seen)]
    assert machines.left() == {}
    return done.err


def test_host_keys_that_are_others_and_a_closed_port_are_told_together(machines: Machines) -> None:
    n1, n2, n3 = machines.nodes.nodes
    known = f"{n2.address} {n1.host_key()}\n{n3.address} {n3.host_key()}\n"
    machines.nodes.known_hosts.write_text(known)
    machines.write_system(nodes={"n1": {"hostkey": n2.host_key()}, "n3": {"port": 2222}}, options=OPTIONS)
    refused(
        machines,
        "3 of 3 nodes cannot be used, and no process was started:",
        f"node n1 ({n1.address}) shows another host key (ssh-ed25519 ",
        f"node n2 ({n2.address}) has changed its host key: ",
        f"node n3 ({n3.address} port 2222) refuses the connection, nothing listens on that port",
    )
    assert machines.nodes.known_hosts.read_text() == known


def test_a_wrong_user_and_a_node_that_swallows_everything_are_told_beside_one_that_can_be_used(
    machines: Machines,
) -> None:
    machines.write_system(nodes={"n2": {"user": "nobody-knows"}}, options=OPTIONS)
    _, n2, n3 = machines.nodes.nodes
    n3.drop()
    told = refused(
        machines,
        "2 of 3 nodes cannot be used",
        f"node n2 ({n2.address}) refuses to let nobody-knows log in",
        f"node n3 ({n3.address}): no answer within 3 s",
    )
    assert "node n1" not in told


def test_an_unknown_host_key_is_refused_and_told_by_doctor_unless_new_ones_are_accepted(machines: Machines) -> None:
    machines.nodes.trust("n1", "n3")
    machines.project.suite(each=shell(PRINTER, **EVERYWHERE))
    machines.write_system(nodes={"n3": {"ip": "nowhere.invalid"}}, options=OPTIONS)
    refused(machines, "2 of 3 nodes", "node n2", "--accept-new-host-keys", "node n3", "an address that is not known")
    machines.write_system(options=OPTIONS)
    done = machines.milabench("doctor", "--json")
    assert done.code == 4
    (found,) = (each for each in done.json["findings"] if each["code"] == "node-unreachable")
    assert (found["subject"], found["nodes"]) == ("n2", ["n2"])
    assert set(done.json["nodes"]) == {"n1", "n3"}
    assert not [each for each in done.json["findings"] if "on both nodes" in each["what"]]  # there are three
    assert machines.milabench("run", "--accept-new-host-keys").code == 0
    for node in machines.nodes.nodes:
        assert node.host_key() in machines.nodes.known_hosts.read_text()


def test_a_base_that_a_user_cannot_write_to_is_refused(machines: Machines) -> None:
    machines.nodes["n2"].seen.chmod(0o755)
    refused(machines, "node n2", f"the base {BASE} cannot be written to", "Permission denied")


def test_a_base_that_a_user_cannot_make_is_refused_by_doctor_too_which_makes_none(machines: Machines) -> None:
    machines.nodes["n2"].seen.chmod(0o755)
    base = BASE / "below" / "base"
    done = machines.milabench("doctor", f"--base={base}", "--json")
    (found,) = (each for each in done.json["findings"] if each["severity"] == "blocking")
    assert (done.code, found["code"], found["nodes"]) == (4, "node-unreachable", ["n2"])
    assert found["what"].startswith(f"node n2: the base {base} cannot be written to (it is not there, and cannot be ")
    assert [each for each in done.json["findings"] if each["code"] == "folder-not-writable"] == []
    assert [path for node in machines.nodes.machines.values() for path in node.seen.iterdir()] == []
    refused(machines, f"node n2: the base {base} cannot be written to", base=base)


def test_a_base_that_this_machine_cannot_make_is_told_of_it_though_it_is_no_node(machines: Machines) -> None:
    (machines.nodes["op"].seen / "file").write_text("no folder")
    base = BASE / "file" / "base"
    done = machines.milabench("doctor", f"--base={base}", "--json")
    (found,) = (each for each in done.json["findings"] if each["code"] == "node-unreachable")
    assert (done.code, found["subject"], found["nodes"]) == (4, "this machine", [])
    assert found["what"].startswith(f"this machine: the base {base} cannot be written to")
    refused(machines, f"this machine: the base {base} cannot be written to", base=base)


def test_a_machine_that_is_two_nodes_is_refused_by_doctor_and_run_in_the_same_words(machines: Machines) -> None:
    machines.write_doubled("n3")
    said = "node n3: it is the machine that node n2 is, by another address or port: leave one of them out"
    done = machines.milabench("doctor")
    assert (done.code, f"blocking\n  {said}\n" in done.out) == (4, True), done.out
    refused(machines, "1 of 3 nodes cannot be used", said)
