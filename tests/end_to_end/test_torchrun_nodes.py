"""Ranks on two nodes that meet over a network, and what is said where they cannot: torchrun, accelerate, a script each.

The nodes are two network namespaces with a cable between them; their agents are talked to as if they were on other
machines. No name is known to anybody, neither those that the nodes call themselves by nor localhost. What runs
there is what `milabench plan` prints for such a system.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from agents import Elsewhere
from harness import Project
from milabench.agent import processes
from milabench.execute import Interrupt, Setting, TrialEnded, execute
from milabench.execute.hosts import Host
from milabench.execute.hosts.local import LocalAgent
from milabench.launchtime import port_token
from milabench.outcome import Outcome
from milabench.plan import Plan, codec
from milabench.record import Record
from milabench.resources import import_path
from milabench.rundir import RunDir
from trainings import training, write_training

pytestmark = pytest.mark.timeout(900)

ACCELERATED = """
    import torch
    from accelerate import Accelerator

    from benchmate.observe import Observer

    accelerator = Accelerator()
    observer = Observer(unit="items")
    for batch in observer.iterate([torch.ones(4)] * 10_000):
        total = accelerator.reduce(batch.clone())
        assert total[0] == accelerator.num_processes == 2
"""
# In a mount namespace of its own, as a program in a network namespace is.
NAMELESS = 'mount --bind /dev/null /etc/hosts && exec "$@"'
LISTENS = "import socket, sys, time; server = socket.create_server(('', int(sys.argv[1]))); time.sleep(1000)"
SYSTEM = """
    system:
      arch: cpu
      options: {{torchrun.first_event_s: {within}}}
      nodes:
        - {{name: n0, ip: 10.78.0.1, main: true, cpus: 2, interface: {interfaces[0]}}}
        - {{name: n1, ip: 10.78.0.2, cpus: 1, interface: {interfaces[1]}}}
"""


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=30)


@dataclass(frozen=True)
class Cable:
    """Two namespaces, and the interface that each has of the cable between them."""

    spaces: tuple[str, str]
    interfaces: tuple[str, str] = ("mbtc0", "mbtc1")

    def lay(self) -> None:
        for space in self.spaces:
            ip("netns", "add", space)
            ip("-n", space, "link", "set", "lo", "up")
        (one, other), (first, second) = self.interfaces, self.spaces
        ip("link", "add", one, "netns", first, "type", "veth", "peer", "name", other, "netns", second)
        for number, (space, interface) in enumerate(zip(self.spaces, self.interfaces, strict=True)):
            ip("-n", space, "addr", "add", f"10.78.0.{number + 1}/24", "dev", interface)
            ip("-n", space, "link", "set", interface, "up")

    def pull(self, state: str = "down") -> None:
        ip("-n", self.spaces[1], "link", "set", self.interfaces[1], state)

    def remove(self) -> None:
        for space in self.spaces:
            with suppress(subprocess.SubprocessError):
                ip("netns", "delete", space)


@pytest.fixture(scope="module")
def laid() -> Iterator[Cable]:
    first, second = (f"mbt{os.getpid()}-c{number}" for number in range(2))  # what is left of them nodes.py removes
    cable = Cable((first, second))
    try:
        cable.lay()
    except (OSError, subprocess.SubprocessError):
        cable.remove()
        pytest.skip("no network namespace can be made here")
    yield cable
    cable.remove()


@pytest.fixture
def cable(laid: Cable) -> Iterator[Cable]:
    yield laid
    laid.pull("up")


class Beyond(Elsewhere):
    """An agent in a network namespace, on a machine that is called as the namespace is."""

    def __init__(self, space: str, environ: Mapping[str, str]) -> None:
        super().__init__(import_path(), environ)
        self._space = space

    async def connect(self) -> LocalAgent:
        processes.become_subreaper()
        boot = f"import socket; socket.sethostname({self._space!r}); {self._boot}"
        there = ("ip", "netns", "exec", self._space, "unshare", "--uts", "sh", "-c", NAMELESS, "sh")
        return await LocalAgent.spawn((*there, sys.executable, "-I", "-S", "-c", boot), self._environ)


@pytest.fixture(scope="module")
def installed(index: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a project of benchmarks whose one environment has torch and accelerate."""
    del index
    project = Project(tmp_path_factory.mktemp("training"))
    launchers = {
        "torchrun": (training(3), "TorchrunAllNodes(super().build_run_plan(), cpu_ranks=2)"),
        "alone": (training(2), "TorchrunAllNodes(super().build_run_plan(), cpu_ranks=2)"),
        "accelerate": (ACCELERATED, "AccelerateAllNodes(super().build_run_plan())"),
    }
    for name, (script, launcher) in launchers.items():
        write_training(project, script, name=name, launcher=launcher, requirements="torch\naccelerate\n")
    options = {"voir": {"options": {"stop": 20, "skip": 2}}}
    common: dict[str, Any] = {"plan": {"method": "njobs"}, "install_group": "training", **options}
    project.suite(**{name: {"definition": name, **common} for name in launchers})
    done = project.verb("install", timeout_s=800)
    assert done.code == 0, done.err
    several = {name: {} if name == "alone" else {"num_machines": 2} for name in launchers}
    project.suite(**{name: {"definition": name, **several[name], **common} for name in launchers})
    return project


@dataclass(frozen=True)
class Nodes:
    """The two nodes with all that is installed there."""

    project: Project
    cable: Cable

    def plan(self, name: str, within: str = "120s", interfaces: tuple[str, str] | None = None) -> Plan:
        """Return the plan of a benchmark as `milabench plan` prints it."""
        system = SYSTEM.format(within=within, interfaces=interfaces or self.cable.interfaces)
        self.project.write("system.yaml", system)
        shown = self.project.verb("plan", "--select", name, "--system", "system.yaml", "--format", "json")
        assert shown.code == 0, shown.err
        return codec.from_json(json.loads(shown.out))

    def run(self, plan: Plan, path: Path) -> tuple[Outcome, RunDir]:
        """Carry a plan out by an agent on each node; return what came of its one trial, and the run."""
        return asyncio.run(asyncio.wait_for(self._run(plan, path), 300)), RunDir(path)

    async def _run(self, plan: Plan, path: Path) -> Outcome:
        record = Record.create(path, plan=plan, facts={"started": 0.0}, suite={})
        temporary = path.parent / "tmp"
        temporary.mkdir(exist_ok=True)
        environ = {"PATH": self.project.environ["PATH"], "HOME": str(self.project.folder), "TMPDIR": str(temporary)}
        first, second = (Beyond(space, environ) for space in self.cable.spaces)
        async with first, second:
            hosts: dict[str, Host] = {"n0": first, "n1": second}
            setting = Setting(hosts=hosts, records=record, interrupt=Interrupt())
            (outcome,) = [each.outcome async for each in execute(plan, setting) if isinstance(each, TrialEnded)]
        record.finish("complete")
        return outcome


@pytest.fixture
def nodes(installed: Project, cable: Cable) -> Nodes:
    return Nodes(installed, cable)


def placed(run: RunDir, tag: str, ranks: int) -> list[tuple[Any, ...]]:
    """Return what each rank's hello says of its place, by rank."""
    paths = [run.files(tag).of_rank(rank)[0] for rank in range(ranks)]
    events = ([json.loads(line) for line in path.read_text().splitlines()] for path in paths)
    hellos = [next(each["data"] for each in found if each["event"] == "hello") for found in events]
    return [(each["rank"], each["local_rank"], each["world_size"], each["node"], each["device_id"]) for each in hellos]


def left_by_launchers(folder: Path) -> list[str]:
    """Return what launchers left in the nodes' temporary folder, or beside what is written for the run."""
    return [str(path) for pattern in ("tmp/torchelastic_*", "**/*.temporary") for path in folder.glob(pattern)]


def has_met_at(run: RunDir, tag: str, port: int) -> bool:
    (start,) = (event.data for event in run.events(tag) if event.event == "start")
    return any(str(port) in word for word in start["command"])


def test_torchrun_and_then_accelerate_train_over_two_nodes(nodes: Nodes, tmp_path: Path) -> None:
    outcome, run = nodes.run(nodes.plan("torchrun"), tmp_path / "first")
    assert outcome.kind == "early_stop", outcome
    assert placed(run, "torchrun.n0", 3) == [(0, 0, 3, "n0", 0), (1, 1, 3, "n0", 0), (2, 0, 3, "n1", 0)]
    (steps,) = run.steps("torchrun.n0")
    assert set(steps.columns["count"]) == {12}  # four of each rank
    rates = [event.data for event in run.events("torchrun.n0") if event.event == "data" and "rate" in event.data]
    assert sum(each["task"] == "train" for each in rates) == 20
    assert has_met_at(run, "torchrun.n0", 29400)

    outcome, run = nodes.run(nodes.plan("accelerate"), tmp_path / "second")
    assert outcome.kind == "early_stop", outcome
    assert placed(run, "accelerate.n0", 2) == [(0, 0, 2, "n0", 0), (1, 0, 2, "n1", 0)]
    (steps,) = run.steps("accelerate.n0")
    assert set(steps.columns["count"]) == {8}
    assert has_met_at(run, "accelerate.n0", 29400)  # as the first left it
    assert left_by_launchers(tmp_path) == []


def test_ranks_of_one_node_meet_where_no_name_is_known(nodes: Nodes, tmp_path: Path) -> None:
    outcome, run = nodes.run(nodes.plan("alone", within="30s"), tmp_path / "run")
    assert outcome.kind == "early_stop", outcome
    assert placed(run, "alone", 2) == [(0, 0, 2, "n0", 0), (1, 1, 2, "n0", 0)]
    (steps,) = run.steps("alone")
    assert set(steps.columns["count"]) == {8}
    assert left_by_launchers(tmp_path) == []


def test_a_node_that_is_not_reached_is_named(nodes: Nodes, tmp_path: Path) -> None:
    plan = nodes.plan("torchrun", within="20s")
    nodes.cable.pull()
    outcome, _ = nodes.run(plan, tmp_path / "run")
    one, other = nodes.cable.interfaces
    assert outcome.kind == "failed"
    assert outcome.reason.startswith(
        f"nothing was heard within 20 s of ranks 0 and 1 on n0 (10.78.0.1, {one}); rank 2 on n1 (10.78.0.2, {other}); "
        "10.78.0.1:29400, where the ranks meet, is not reached from n1: "
    )
    assert "firewall" in outcome.reason


def test_a_launcher_that_never_comes_so_far_is_explained(nodes: Nodes, tmp_path: Path) -> None:
    plan = nodes.plan("torchrun", within="5s")
    (trial,) = plan.trials
    (job,) = trial.jobs
    first, second = job.commands
    waiting = replace(first, argv=(sys.executable, "-c", LISTENS, port_token(29400)))  # as torchrun, and sooner
    stuck = replace(job, commands=(waiting, replace(second, argv=("sleep", "1000"))))
    outcome, _ = nodes.run(replace(plan, trials=(replace(trial, jobs=(stuck,)),)), tmp_path / "run")
    assert outcome.kind == "failed"
    assert "rank 2 on n1" in outcome.reason
    assert "the ranks meet at 10.78.0.1:29400, which every node reaches" in outcome.reason


def test_a_wrong_interface_is_what_the_ranks_say(nodes: Nodes, tmp_path: Path) -> None:
    plan = nodes.plan("torchrun", interfaces=(nodes.cable.interfaces[0], "nowhere0"))
    outcome, run = nodes.run(plan, tmp_path / "run")
    assert outcome.kind == "failed"
    assert "nowhere0" in run.files("torchrun.n1").stderr.read_text()
