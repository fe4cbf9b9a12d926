"""Runs over several machines, for real: network namespaces with an sshd, users and a base of their own each."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator

import pytest

from harness import OBSERVED, PRINTER, folder, shell
from machines import Machines
from nodes import BASE, UID, started

PREPARE = """
    import os
    from pathlib import Path

    folder = Path(os.environ["MILABENCH_DIR_DATA"])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "made-on").write_text(os.uname().nodename)
"""
BENCHFILE = """
    import milabench
    from milabench.pack import Package

    class Plain(Package):
        prepare_script = "prepare.py"

        async def install(self):
            (self.dirs.code / "by").write_text(milabench.__file__)

    __pack__ = Plain
"""
EVERYWHERE = {"plan": {"method": "per_node"}}
NAMES = ("n1", "n2", "n3")


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    """Yield three nodes, of which the last has the base of the first, and a suite that runs on all."""
    place = tmp_path_factory.mktemp("machines")
    with started(place / "nodes", NAMES, shared=("n1", "n3")) as nodes:
        found = Machines(place / "project", nodes)
        found.project.write("plain/main.py", OBSERVED)
        found.project.write("plain/prepare.py", PREPARE)
        found.project.write("plain/benchfile.py", BENCHFILE)
        found.project.suite(plain=folder("plain", **EVERYWHERE), printer=shell(PRINTER, **EVERYWHERE))
        yield found


def in_all(machines: Machines, path: str) -> list[str]:
    return [name for name in NAMES if (machines.nodes[name].seen / path).exists()]


def test_a_node_that_cannot_install_fails_alone_and_says_so(machines: Machines) -> None:
    in_the_way = machines.nodes["n2"].seen / "venv"
    in_the_way.write_text("no folder")
    try:
        done = machines.milabench("run", "--all", "--select", "plain")
    finally:
        in_the_way.unlink()
    assert (done.code, "FAIL plain" in done.err, "(plain.n2)" in done.out) == (1, True, True), done.out + done.err
    assert in_all(machines, "venv/plain/.milabench.json") == ["n1", "n3"]


def test_all_of_a_suite_from_a_machine_that_is_no_node(machines: Machines) -> None:
    """From install to run, on each node; where it is installed already nothing is."""
    done = machines.milabench("install")
    assert (done.code, "ok plain" in done.err) == (0, True), done.err
    assert in_all(machines, "venv/plain/.milabench.json") == list(NAMES)
    assert {path.stat().st_uid for path in (machines.nodes["n2"].seen / "venv/plain").iterdir()} == {UID}
    for name in NAMES:
        assert (machines.nodes[name].seen / "code/plain/by").read_text().startswith(f"{BASE}/cache/tools/milabench-")
    python = f"{BASE}/venv/plain/bin/python"
    found = machines.nodes["n2"].run(python, "-c", "import benchmate; print(benchmate.__file__)")
    assert found.startswith(f"{BASE}/venv/plain/lib/")
    logs = [path.name for path in (machines.nodes["op"].seen / "extra/setup").iterdir()]
    assert "plain.packages.stdout" in logs
    assert not [name for name in logs if name.startswith("plain.n3")]  # it has the base of n1
    assert not (machines.nodes["op"].seen / "venv").exists()
    assert machines.milabench("prepare").code == 0
    made = [(machines.nodes[name].seen / "data/made-on").read_text() for name in NAMES]
    assert made == ["n1", "n2", "n1"]
    done = machines.milabench("run")
    assert (done.code, "3 nodes" in done.out) == (0, True), done.err
    run = machines.run()
    wanted = {f"{name}.{node}": "early_stop" for name in ("plain", "printer") for node in NAMES}
    assert machines.outcomes() == wanted
    assert sorted(run.monitor_paths()) == list(NAMES)
    assert all([*run.steps(tag)] for tag in wanted)
    assert machines.left() == {}
    again = machines.milabench("install")
    assert (again.code, "there already" in again.err) == (0, True), again.err


def test_a_run_says_of_each_node_what_it_is(machines: Machines) -> None:
    nodes = machines.run().facts()["nodes"]
    assert {name: each["hostname"] for name, each in nodes.items()} == {name: name for name in NAMES}
    assert {name: each["user"] for name, each in nodes.items()} == {"n1": None, "n2": "bench", "n3": None}
    assert {name: each["shares_base"] for name, each in nodes.items()} == {"n1": None, "n2": None, "n3": "n1"}
    assert {each["interface"] for each in nodes.values()} == {"eth0"}
    assert all(abs(each["clock_offset_ns"]) < 1e9 for each in nodes.values())
    assert [nodes[name].get("environments") for name in NAMES] == [None, {"plain": None}, None]


def test_a_report_has_what_all_nodes_measured(machines: Machines) -> None:
    done = machines.milabench("report", "--json")
    found = {each["name"]: each for each in done.json["benchmarks"]}
    assert {name: (each["n"], each["failed"]) for name, each in found.items()} == {"plain": (3, 0), "printer": (3, 0)}


def test_by_a_system_file_made_of_hosts_doctor_looks_at_every_node_and_changes_none(
    machines: Machines,
) -> None:
    addresses = [machines.nodes[name].address for name in NAMES]
    hosts = ",".join((addresses[0], f"bench@{addresses[1]}", addresses[2]))
    done = machines.milabench("system", "--hosts", hosts)
    assert done.code == 0, done.err
    assert [line.strip() for line in done.out.splitlines() if "- name" in line] == [f"- name: {name}" for name in NAMES]
    assert "# has the base of n1" in done.out
    machines.system.write_text(done.out)
    before = in_all(machines, "cache/tools")
    try:
        done = machines.milabench("doctor", "--json")
    finally:
        machines.write_system()
    assert (done.code, {*done.json["nodes"]}) == (0, {*NAMES}), done.err
    assert in_all(machines, "cache/tools") == before
    shared = [each for each in done.json["findings"] if each["code"] == "clock-not-kept"]
    assert all(each["what"].startswith("on all 3 nodes: ") for each in shared)


def test_a_run_can_be_looked_at_where_it_is_kept(machines: Machines) -> None:
    done = machines.milabench("status", "--json")
    assert done.json["outcomes"] == {"early_stop": 2}


def test_a_machine_that_has_another_environment_is_told(machines: Machines) -> None:
    extra = machines.nodes["n2"].seen / "venv/plain/lib"
    (site,) = extra.glob("python*/site-packages")
    (site / "more-1.0.dist-info").mkdir()
    try:
        done = machines.milabench("run", "--select", "plain")
        assert "environment plain is not the same on all nodes" in done.err
        told = [each["code"] for each in machines.run().facts()["preflight"]]
        assert {"environments-differ", "environment-changed"} <= {*told}
    finally:
        (site / "more-1.0.dist-info").rmdir()


def test_all_of_a_suite_from_a_node(machines: Machines) -> None:
    machines.write_system("n1", "n2")
    done = machines.milabench("run", "--all", at="n1")  # its own environment is of the Python that milabench has here
    assert done.code == 0, done.err
    assert machines.outcomes("n1") == {
        f"{name}.{node}": "early_stop" for name in ("plain", "printer") for node in ("n1", "n2")
    }
    nodes = machines.run("n1").facts()["nodes"]
    assert {name: each["local"] for name, each in nodes.items()} == {"n1": True, "n2": False}
    reported = {each["name"]: each["n"] for each in machines.milabench("report", "--json", at="n1").json["benchmarks"]}
    assert reported == {"plain": 2, "printer": 2}
    assert machines.left() == {}


def test_a_node_of_the_name_of_the_machine_it_is_run_from_is_the_one_of_its_address(machines: Machines) -> None:
    file = machines.project.folder / "namesake.yaml"
    for address, host, code in ((machines.nodes["n1"].address, "n1", 0), ("10.99.0.1", "", 4)):
        file.write_text(f"system: {{nodes: [{{name: op, ip: {address}, main: true}}]}}\n")
        done = machines.milabench("exec", f"--system={file}", "--", "hostname")
        assert (done.code, done.out.strip()) == (code, host), done.err
    assert "this machine has that name too, and not that address" in done.err


def test_bases_of_nodes_are_cleaned_over_their_agents(machines: Machines) -> None:
    for name in NAMES:
        made = machines.nodes[name].seen / "data/made"
        made.parent.mkdir(exist_ok=True)
        made.write_bytes(b"x" * (1 << 20))
    asked = machines.milabench("clean", "data")
    assert "have a base of their own, which stays: n1, n2; " in asked.err
    assert f"milabench clean --system {machines.system} --base " in asked.err
    asked = machines.milabench("clean", "data", f"--system={machines.system}")
    assert (asked.code, "nothing was removed: give --yes" in asked.err) == (2, True), asked.err
    told = [line for line in asked.out.splitlines() if ": " in line]
    assert [line.split(": ")[0].rsplit(maxsplit=1)[-1] for line in told] == ["n1", "n2"]
    assert all("MiB" in line for line in told)
    assert in_all(machines, "data/made") == list(NAMES)
    busy = machines.nodes["n2"].seen / "venv/plain.lock"
    with busy.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = machines.milabench("clean", "data", "--yes", f"--system={machines.system}")
    assert (done.code, "removed from n1" in done.out) == (4, True), done.out + done.err
    assert f"n2: another milabench is at work in {BASE} (it holds {BASE}/venv/plain.lock)" in done.err
    assert in_all(machines, "data/made") == ["n2"]
    done = machines.milabench("clean", "caches", "data", "--yes", f"--system={machines.system}")
    assert (done.code, "removed from n1, n2" in done.out) == (0, True), done.out + done.err
    assert (in_all(machines, "data"), in_all(machines, "cache")) == ([], [])
    again = machines.milabench("clean", "caches", "data", f"--system={machines.system}")
    assert (again.code, again.out) == (0, f"nothing to remove below {BASE}\n"), again.out + again.err
    assert machines.left() == {}
