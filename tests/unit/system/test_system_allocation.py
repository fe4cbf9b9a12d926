"""The nodes of a Slurm allocation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from milabench.errors import UsageError
from milabench.system import Operator, resolve
from milabench.system.allocation import hosts, read

FACTS: dict[str, Any] = {"hostname": "here", "arch": "cpu", "cpus": 4, "devices": [], "environ": {}, "ips": []}
WITHIN = {"SLURM_JOB_ID": "17", "SLURM_JOB_NODELIST": "gpu[08-10]"}


@pytest.mark.parametrize(
    ("listed", "names"),
    [
        ("gpu1", ["gpu1"]),
        ("gpu[1-3]", ["gpu1", "gpu2", "gpu3"]),
        ("gpu[08-11,20],login", ["gpu08", "gpu09", "gpu10", "gpu11", "gpu20", "login"]),
        ("r[1-2]n[1-2]", ["r1n1", "r1n2", "r2n1", "r2n2"]),
        ("a[1]-ib,b", ["a1-ib", "b"]),
        ("a,a", ["a"]),
    ],
)
def test_a_list_of_nodes_is_read_as_slurm_writes_it(listed: str, names: list[str]) -> None:
    assert hosts(listed) == names


@pytest.mark.parametrize(
    ("listed", "words"),
    [
        ("gpu[1-3", "a bracket is open"),
        ("gpu[1-x]", "'1-x' is no range of numbers"),
        ("gpu[]", "'' is no range of numbers"),
        ("gpu[1-999999999999]", "more than 10,000 nodes"),
        ("../gpu[1-2]", "a node '../gpu1'"),
    ],
)
def test_what_is_no_list_of_nodes_is_told(listed: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        hosts(listed)


def test_without_named_nodes_they_are_those_of_the_allocation(tmp_path: Path) -> None:
    file = tmp_path / "system.yaml"
    file.write_text("system: {options: {torchrun: {port: 29500}}}\n")
    for given in (None, file):
        system = resolve(given, FACTS, operator=Operator(environ=WITHIN))
        assert [(node.name, node.address, node.main, node.local) for node in system.nodes] == [
            ("gpu08", "gpu08", True, False),
            ("gpu09", "gpu09", False, False),
            ("gpu10", "gpu10", False, False),
        ]
        assert system.allocation is not None
        assert system.allocation.job == "17"


def test_the_node_that_runs_the_script_is_this_machine() -> None:
    system = resolve(None, FACTS, operator=Operator(environ={**WITHIN, "SLURMD_NODENAME": "gpu08"}))
    assert [node.local for node in system.nodes] == [True, False, False]


def test_of_several_tasks_of_a_step_the_first_alone_has_the_nodes() -> None:
    step = {**WITHIN, "SLURM_STEP_NUM_TASKS": "2"}
    assert read({**step, "SLURM_PROCID": "0"}) is not None
    assert read({**WITHIN, "SLURM_NTASKS": "2", "SLURM_PROCID": "0"}) is not None  # a job's script
    with pytest.raises(UsageError, match="this is task 1 of 2 that srun has started.*: start milabench once"):
        read({**step, "SLURM_PROCID": "1"})


def test_a_file_that_names_nodes_wins_over_the_allocation(tmp_path: Path) -> None:
    file = tmp_path / "system.yaml"
    file.write_text("system: {nodes: [{name: a, main: true}]}\n")
    system = resolve(file, FACTS, operator=Operator(environ=WITHIN))
    assert ([node.name for node in system.nodes], system.allocation) == (["a"], None)


@pytest.mark.parametrize(("hostname", "local"), [("a1", True), ("a1.login.example", False), ("login", False)])
def test_a_machine_that_no_node_of_the_allocation_is_may_have_the_name_of_one_in_another_domain(
    hostname: str, local: bool
) -> None:
    operator = Operator(environ={"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "a[1-2]"})
    found = resolve(None, {**FACTS, "hostname": hostname}, operator=operator).nodes
    assert [node.local for node in found] == [local, False]


def test_fewer_nodes_than_are_allocated_are_the_first(tmp_path: Path) -> None:
    system = resolve(None, FACTS, {"nodes": 2}, Operator(environ=WITHIN))
    assert [node.name for node in system.nodes] == ["gpu08", "gpu09"]
