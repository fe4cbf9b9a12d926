"""Several nodes: what each of them needs, what is found on many, and what they have not in common."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from milabench.plan import Command, Job, Once, Plan, Trial
from milabench.preflight import Finding, Wanted, apart, compared, packages, together
from milabench.system.types import Node, System

GIB = 1024**3
FACTS: dict[str, Any] = {
    "driver": "550",
    "devices": [{"name": "GPU"}, {"name": "GPU"}],
    "cpu_name": "CPU",
    "cpus": 8,
    "platform": "Linux-6.1",
    "python_version": "3.11.2",
    "memory_bytes": 64 * GIB,
    "route": {"error": None},
}


def system(**nodes: dict[str, Any]) -> System:
    """Return a system of nodes by name, each with what it says otherwise than the others; ``_`` is of the node."""
    made = tuple(
        Node(name=name, address=f"10.0.0.{number}", main=number == 1, local=False, **told.pop("_", {}))
        for number, (name, told) in enumerate(nodes.items(), 1)
    )
    return System(arch="cuda", nodes=made, probed={name: {**FACTS, **told} for name, told in nodes.items()})


def command(tag: str, node: str) -> Command:
    return Command(tag=tag, benchmark="x", node=node, argv=("x",), cwd="/")


def trial(name: str, *jobs: tuple[str, ...]) -> Trial:
    made = tuple(
        Job(tag=f"{name}{number}", commands=tuple(command(f"{name}.{node}", node) for node in nodes), deadline_s=None)
        for number, nodes in enumerate(jobs)
    )
    return Trial(benchmark=name, jobs=made)


def once(record: str) -> Once:
    return Once(record=record, folder=None, base={}, parts={})


# Parts of a run ------------------------------------------------------------------------------------------------------

EACH = trial("each", ("a",), ("b",), ("c",))
WIDE = trial("wide", ("a", "b"))
RUN = Wanted(
    plan=Plan(phase="run", trials=(EACH, WIDE)),
    environments={"torch": once("of a")},
    data={"each": once("data of a")},
    elsewhere={"c": ({"torch": once("of c")}, {})},
)
NODES = system(a={}, b={}, c={})


def test_a_node_needs_what_its_own_processes_need() -> None:
    parts = apart(NODES, RUN)
    wanted = {name: part[1] for name, part in parts.items()}
    tags = {
        name: [[each.tag for each in trial.commands] for trial in each.plan.trials]
        for name, each in wanted.items()
        if each
    }
    assert tags == {"a": [["each.a"], ["wide.a"]], "b": [["each.b"], ["wide.b"]], "c": [["each.c"]]}
    assert {name: part[0].main.name for name, part in parts.items()} == {"a": "a", "b": "b", "c": "c"}


def test_environments_are_asked_for_where_they_are_made() -> None:
    records = {
        name: [each.record for each in (*part[1].environments.values(), *part[1].data.values())]
        for name, part in apart(NODES, RUN).items()
        if part[1]
    }
    assert records == {"a": ["of a", "data of a"], "b": [], "c": ["of c"]}  # b has the base of a


def test_the_machine_that_keeps_the_run_has_room_for_the_files_of_all() -> None:
    here = replace(NODES, nodes=(NODES.nodes[0], replace(NODES.nodes[1], local=True), NODES.nodes[2]))
    assert {name: part[1].all_processes for name, part in apart(here, RUN).items() if part[1]} == {
        "a": 2,
        "b": 5,
        "c": 1,
    }


def test_of_one_node_nothing_is_taken_apart() -> None:
    alone = system(a={})
    assert apart(alone, RUN) == {"a": (alone, RUN)}
    assert {name: part[1] for name, part in apart(NODES, None).items()} == {"a": None, "b": None, "c": None}


# Findings ------------------------------------------------------------------------------------------------------------


def finding(code: str = "x", what: str = "it is so", **changes: Any) -> Finding:
    fields = {"severity": "warning", "subject": "s", "consequence": "c", "remedy": "r", **changes}
    return Finding(code=code, what=what, **fields)


def names(count: int) -> list[str]:
    return [f"n{number}" for number in range(count)]


@pytest.mark.parametrize(
    ("where", "total", "told"),
    [
        ([0], 1, "it is so"),
        ([1], 3, "on n1: it is so"),
        ([0, 1, 2], 3, "on all 3 nodes: it is so"),
        ([0, 1, 2], 4, "on n0, n1, n2: it is so"),
        (list(range(12)), 16, "on 12 of 16 nodes (n0, n1, n2, …): it is so"),
    ],
)
def test_the_same_on_many_nodes_is_told_once_with_their_names(where: list[int], total: int, told: str) -> None:
    by_node = {name: [finding()] if number in where else [] for number, name in enumerate(names(total))}
    (only,) = together(by_node)
    assert only.what == told
    assert only.nodes == (() if total == 1 else tuple(f"n{number}" for number in where))


def test_where_not_all_nodes_were_looked_at_they_are_named() -> None:
    assert [each.what for each in together({"n2": [finding()]}, 3)] == ["on n2: it is so"]
    assert [each.what for each in together({"n1": [finding()], "n2": [finding()]}, 3)] == ["on n1, n2: it is so"]
    assert [each.what for each in together({"n2": [finding()]})] == ["it is so"]


def test_the_same_in_many_figures_is_told_by_an_example() -> None:
    by_node = {name: [finding(what=f"{number} cores are busy")] for number, name in enumerate(names(5))}
    assert [each.what for each in together(by_node)] == ["on all 5 nodes, for example n0: 0 cores are busy"]
    few = dict(list(by_node.items())[:2])
    assert [each.what for each in together(few)] == ["on n0: 0 cores are busy", "on n1: 1 cores are busy"]


def test_what_follows_from_the_operators_environment_is_of_no_node() -> None:
    missing = finding("secret-missing", severity="blocking")
    assert together({name: [missing] for name in names(3)}) == [missing]


def test_the_worst_of_all_nodes_comes_first() -> None:
    bad = finding("y", severity="blocking")
    assert [each.code for each in together({"a": [finding()], "b": [finding(), bad]})] == ["y", "x"]


# Beside each other ---------------------------------------------------------------------------------------------------


def found(described: System, wanted: Wanted | None = None) -> list[tuple[str, str, str]]:
    return [(each.code, each.severity, each.subject) for each in compared(described, wanted)]


def test_nodes_that_are_alike_and_reach_each_other_give_no_finding() -> None:
    assert compared(NODES, RUN) == ()


def test_one_machine_is_not_compared() -> None:
    assert compared(system(a={"route": {"error": "x"}})) == ()


@pytest.mark.parametrize(
    ("fact", "value", "subject", "severity", "told"),
    [
        ("driver", "545", "driver", "warning", "driver: 550 on a, b; 545 on c"),
        ("devices", [{"name": "GPU"}], "devices", "warning", "devices: 2 × GPU on a, b; 1 × GPU on c"),
        ("cpu_name", "Other", "processor", "warning", "processor: CPU on a, b; Other on c"),
        ("cpus", 4, "cores", "warning", "cores: 8 on a, b; 4 on c"),
        ("platform", "Linux-5", "kernel", "note", "kernel: Linux-6.1 on a, b; Linux-5 on c"),
        ("python_version", "3.12", "python", "note", "Python: 3.11.2 on a, b; 3.12 on c"),
        ("memory_bytes", 32 * GIB, "memory", "warning", "memory: 64.0 GiB on a, b; 32.0 GiB on c"),
    ],
)
def test_in_what_nodes_differ_is_found(fact: str, value: Any, subject: str, severity: str, told: str) -> None:
    (only,) = compared(system(a={}, b={}, c={fact: value}))
    assert (only.code, only.severity, only.subject) == ("nodes-differ", severity, subject)
    assert told in only.what


def test_a_little_memory_more_is_no_difference() -> None:
    assert compared(system(a={}, b={"memory_bytes": round(63.5 * GIB)})) == ()


@pytest.mark.parametrize(("offset_s", "told"), [(3.0, "b 3.0 s ahead"), (-0.6, "b 0.6 s behind"), (0.2, None)])
def test_clocks_that_are_far_apart_are_found(offset_s: float, told: str | None) -> None:
    described = system(a={"_": {"clock_offset_ns": 1000}}, b={"_": {"clock_offset_ns": round(offset_s * 1e9)}})
    assert [each.what for each in compared(described)] == ([f"clocks are not this machine's: {told}"] if told else [])


LOST = {"route": {"error": "there is no route to 10.0.0.1 here"}}


@pytest.mark.parametrize(("trials", "severity"), [((EACH,), "note"), ((EACH, WIDE), "blocking")])
def test_who_does_not_reach_the_main_node_stands_in_the_way_of_what_works_together(
    trials: tuple[Trial, ...], severity: str
) -> None:
    wanted = replace(RUN, plan=Plan(phase="run", trials=trials))
    assert found(system(a={}, b=LOST, c={}), wanted) == [("no-route", severity, "b")]


def test_nodes_that_nothing_runs_on_are_told() -> None:
    alone = replace(RUN, plan=Plan(phase="run", trials=(trial("one", ("a",)),)))
    (found,) = compared(NODES, alone)
    assert (found.code, found.severity, found.nodes) == ("nodes-idle", "warning", ("b", "c"))
    assert found.what.startswith("nothing of this run is on b, c: ")
    assert "on the main node (a) alone" in found.what
    assert [each.nodes for each in compared(NODES, replace(RUN, plan=Plan(phase="run", trials=(WIDE,))))] == [("c",)]
    assert compared(NODES, replace(RUN, plan=Plan(phase="run", trials=()))) == ()


def test_a_main_node_that_is_each_machine_itself_is_found() -> None:
    described = system(a={}, b={})
    described = replace(described, nodes=(replace(described.nodes[0], address="127.0.0.1"), described.nodes[1]))
    assert found(described, RUN) == [("main-address", "blocking", "a")]
    assert found(described) == [("main-address", "blocking", "a")]


def test_a_main_node_that_does_not_know_its_own_name_is_found() -> None:
    why = "a is known under no address here: Name or service not known"
    described = system(a={"route": {"error": None, "itself": why}}, b={})
    assert found(described, RUN) == [("main-address", "blocking", "a")]
    assert compared(described)[0].what == f"the main node a does not find itself: {why}"


def test_an_environment_that_is_not_the_same_everywhere_names_the_packages() -> None:
    same = ["numpy==2", "torch==1"]
    assert packages("torch", {"a": same, "b": same}) is None
    differing = packages("torch", {"a": same, "b": ["numpy==2", "torch==2"], "c": same})
    assert differing is not None
    assert differing.what == "environment torch is not the same on all nodes: torch==1 on a, c; torch==2 on b"
    lacking = packages("torch", {"a": same, "b": ["numpy==2"]})
    assert lacking is not None
    assert lacking.what.endswith("torch==1 on a; nothing else on b")
