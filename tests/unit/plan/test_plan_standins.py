"""A plan for nodes that take the place of others is the plan that would have been made for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from plans import FACTS, workspace

from milabench import plan as planning
from milabench.plan import Command, Job, Plan, Trial
from milabench.plan.standins import Kept, Standin, with_standins
from milabench.suite.types import Ready
from milabench.system.types import Device, Node, System

HERE: dict[str, Any] = {**FACTS, "ips": []}
INTERFACES = {"a": "ib0", "b": "ib0", "c": "eth1", "d": "ib7", "b2": "ib0"}


def system_of(names: Sequence[str]) -> str:
    rows = [
        f"{{name: {name}, ip: 10.0.0.{ord(name[0])}{len(name)}, main: {str(name == names[0]).lower()},"
        f" interface: {INTERFACES[name]}, gpu: {{count: 2}}, cpus: 16}}"
        for name in names
    ]
    return "system:\n  arch: cuda\n  nodes:\n" + "".join(f"    - {row}\n" for row in rows)


BODIES = {
    "torchrun": "TorchrunAllNodes(PackCommand(self, '--here', self.config['system']['nodes'][1]['ip']))",
    "accelerate": "AccelerateAllNodes(PackCommand(self))",
    "each": "ForeachNode(PackCommand(self))",
    "server": "ClientServer(self, client=CmdCommand(self, 'ask', '{nodes[1].ip}'),"
    " server=CmdCommand(self, 'serve', env={'AT': '{nodes[1].ip}:80'}), different_nodes=True)",
}
BENCHFILE = """
from milabench.commands import *
from milabench.pack import Package

class __pack__(Package):
    def build_run_plan(self):
        return {body}
"""
PROGRAM = "one: {command: {argv: [x, '--peer={nodes[1].ip}', '{nodes[1].name}/out']}, plan: {method: METHOD}}\n"


def files(what: str) -> dict[str, str]:
    if what in BODIES:
        entry = (
            "one: {definition: bench, plan: {method: njobs, n: 1}, num_machines: 2, argv: {--to: '{nodes[1].ip}'}}\n"
        )
        return {"suite.yaml": entry, "bench/main.py": "", "bench/benchfile.py": BENCHFILE.format(body=BODIES[what])}
    if what == "per_node_folder":
        entry = "one: {definition: bench, plan: {method: per_node}, argv: {--to: '{nodes[1].name}'}}\n"
        return {"suite.yaml": entry, "bench/main.py": ""}
    return {"suite.yaml": PROGRAM.replace("METHOD", what)}


def made(folder: Path, what: str, names: Sequence[str]) -> tuple[Plan, System]:
    ready = workspace(folder, {**files(what), "system.yaml": system_of(names)}, facts=HERE)
    return planning.plan(ready, "run", repeats=2), ready.system


@pytest.mark.parametrize("names", [("a", "d", "c"), ("d", "b", "c"), ("c", "d", "b2"), ("a", "b", "d")], ids="-".join)
@pytest.mark.parametrize("what", [*BODIES, "per_node", "per_gpu", "per_node_folder"])
def test_it_is_the_plan_that_is_made_for_these_nodes(tmp_path: Path, what: str, names: Sequence[str]) -> None:
    (before, old), (wanted, new) = made(tmp_path, what, ("a", "b", "c")), made(tmp_path, what, names)
    pairs = [
        Standin(gone=gone, node=node) for gone, node in zip(old.nodes, new.nodes, strict=True) if gone.name != node.name
    ]
    found = with_standins(before, [trial.id for trial in before.trials], pairs)
    assert found.trials == wanted.trials
    assert found.configs == wanted.configs
    there = {name: found.node_configs.get(name, {}) for name in names}
    assert there == {name: wanted.node_configs.get(name, {}) for name in names}


def test_what_had_ended_stays_on_the_nodes_that_it_ran_on(tmp_path: Path) -> None:
    before, old = made(tmp_path, "per_node", ("a", "b", "c"))
    found = with_standins(before, ["one.R1"], [Standin(gone=old.nodes[1], node=replace(old.nodes[1], name="d"))])
    assert found.trials[0] == before.trials[0]
    assert [job.tag for job in found.trials[1].jobs] == ["one.R1.a", "one.R1.d", "one.R1.c"]


def node(name: str, address: str = "", **more: Any) -> Node:
    return Node(name=name, address=address or name, **more)


def moved(argv: Sequence[str], *pairs: tuple[Node, Node], kept: Kept | None = None, **more: Any) -> Command:
    """Return a command on the first of the nodes that are gone, for those in their places."""
    command = Command(tag="one", benchmark="one", node=pairs[0][0].name, argv=tuple(argv), cwd="/", **more)
    plan = Plan(
        phase="run", trials=(Trial(benchmark="one", jobs=(Job(tag="one", commands=(command,), deadline_s=1.0),)),)
    )
    standins = [Standin(gone=gone, node=there) for gone, there in pairs]
    return with_standins(plan, ["one"], standins, kept).trials[0].commands[0]


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("--local-addr=n2", "--local-addr=n4"),
        ("n2:${port:29400}", "n4:${port:29400}"),
        ("http://n2/x,n2", "http://n4/x,n4"),
        ("n2.", "n4."),
        ("n20", "n20"),
        ("gn2", "gn2"),
        ("n2-ib", "n2-ib"),
        ("n2.cluster", "n2.cluster"),
        ("x.n2", "x.n2"),
        ("/home/n2/base/data", "/home/n2/base/data"),
        ("/home/n2/base/venv/n2:/n2", "/home/n2/base/venv/n2:/n4"),
        ("/home/n2/base2/data", "/home/n4/base2/data"),
    ],
)
def test_a_name_is_exchanged_where_it_is_a_word_of_its_own(text: str, after: str) -> None:
    assert moved([text], (node("n2"), node("n4")), kept=Kept(folders=["/home/n2/base"])).argv == (after,)


def test_what_the_suite_has_word_for_word_stays() -> None:
    suite = {"one": {"argv": {"--branch": "main", "--to": "{nodes[0].name}"}, "tags": ["x"]}}
    found = moved(["--branch", "main", "--to=main"], (node("main"), node("n4")), kept=Kept.of([], suite))
    assert found.argv == ("--branch", "main", "--to=n4")


def test_nodes_that_change_places_are_exchanged_at_once() -> None:
    pairs = (node("a", "10.0.0.1"), node("b", "10.0.0.2")), (node("b", "10.0.0.2"), node("c", "10.0.0.3"))
    assert moved(["10.0.0.1,10.0.0.2", "a b"], *pairs).argv == ("10.0.0.2,10.0.0.3", "b c")


def test_addresses_of_version_6_are_whole_too() -> None:
    found = moved(["[fd00::2]:80", "fd00::2:1", "fd00::21"], (node("a", "fd00::2"), node("b", "fd00::9")))
    assert found.argv == ("[fd00::9]:80", "fd00::2:1", "fd00::21")


def test_devices_that_are_named_by_uuid_are_those_of_the_node() -> None:
    gone = node("a", devices=(Device(id=0, name="A", uuid="MIG-1"), Device(id=1, name="A", uuid="MIG-2")))
    there = node("b", devices=(Device(id=0, name="A", uuid="MIG-8"), Device(id=1, name="A", uuid="MIG-9")))
    found = moved(["x"], (gone, there), env={"CUDA_VISIBLE_DEVICES": "MIG-1,MIG-2"})
    assert found.env == {"CUDA_VISIBLE_DEVICES": "MIG-8,MIG-9"}


def test_a_python_of_the_nodes_own_and_what_a_server_is_ready_by_are_exchanged() -> None:
    pair = node("a", python="/opt/3.10/python3"), node("b", python="/usr/bin/python3")
    found = moved(["/opt/3.10/python3", "-c", "x"], pair, ready=Ready(url="http://a:80/", within_s=3.0))
    assert found.argv == ("/usr/bin/python3", "-c", "x")
    assert found.ready is not None
    assert found.ready.url == "http://b:80/"
