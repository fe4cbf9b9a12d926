"""Nodes as people name them on a command line, or in a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from milabench.errors import UsageError
from milabench.system.hosts import from_file, listed


@pytest.mark.parametrize(
    ("word", "name", "user", "address", "port"),
    [
        ("node1", "node1", None, "node1", 22),
        ("bench@node1.cluster:2222", "node1.cluster", "bench", "node1.cluster", 2222),
        ("10.0.0.7", "10.0.0.7", None, "10.0.0.7", 22),
        ("fd00::7", "fd00::7", None, "fd00::7", 22),
        ("a@[fd00::7]:2222", "fd00::7", "a", "fd00::7", 2222),
        ("[::1]", "node-1", None, "::1", 22),
    ],
)
def test_a_node_is_named_with_its_user_and_port(
    word: str, name: str, user: str | None, address: str, port: int
) -> None:
    (entry,) = listed([word])
    assert (entry.name, entry.user, entry.address, entry.port) == (name, user, address, port)


def test_the_first_node_of_a_list_is_the_main_one() -> None:
    assert [(entry.name, entry.main) for entry in listed(["b", "a"])] == [("b", True), ("a", False)]


def test_nodes_at_one_address_are_told_apart_by_their_ports() -> None:
    found = listed(["a@h:2201", "b@h:2202", "h"])
    assert [(entry.name, entry.address, entry.port) for entry in found] == [
        ("h", "h", 2201),
        ("h-2202", "h", 2202),
        ("h-22", "h", 22),
    ]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "no node is named"),
        (["a", "x@a"], "x@a: a is named twice"),
        (["a", "a:2222", "x@a:2222"], "x@a:2222: a-2222 is named twice"),
        (["a b"], "'a b' is no node"),
        (["a:99999"], "'a:99999' is no node"),
        (["a:b:c"], "'a:b:c' is no node: a:b:c is no IPv6 address, and of a name one port is given: host:port"),
        (["fd00::7::1"], "fd00::7::1 is no IPv6 address"),
        (["@a"], "'@a' is no node"),
        (["a/b"], "letters, digits"),
        (["-oProxyCommand=x"], "letters, digits"),
    ],
)
def test_what_names_no_node_is_told(words: list[str], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        listed(words)


def read(file: Path, text: str) -> tuple[list[str], list[str]]:
    """Return the nodes of a file, and what was told of it."""
    told: list[str] = []
    file.write_text(text)
    return from_file(file, told.append), told


def test_a_file_has_a_node_a_line_and_may_be_one_for_mpirun(tmp_path: Path) -> None:
    text = "# of the rack\nnode1 slots=8\n\nbench@node2:2222  # the slow one\nnode3 slots=8 max_slots=8\n"
    assert read(tmp_path / "hosts", text) == (["node1", "bench@node2:2222", "node3"], [])


def test_a_node_that_a_file_names_for_each_of_its_processes_is_one_node(tmp_path: Path) -> None:
    assert read(tmp_path / "hosts", "node1\nnode1\nnode2 slots=1\nnode2 slots=1\n") == (["node1", "node2"], [])


def test_a_number_after_a_colon_is_one_of_processes_in_a_file_for_mpich_and_else_a_port(tmp_path: Path) -> None:
    file = tmp_path / "hosts"
    text = "node1:2\nbench@node2:1023\n[fd00::7]:8\nfd00::8\nnode3:22\nnode4:1024\nnode5:0\n"
    nodes, told = read(file, text)
    assert nodes == ["node1", "bench@node2", "[fd00::7]", "fd00::8", "node3:22", "node4:1024", "node5"]
    (line,) = told
    assert line.startswith(f"--hostfile {file}: node1:2 and 3 more: a number below 1024 is how many processes, as in")
    assert line.endswith("give a port so low by --hosts, or in the system file")
    assert [entry.port for entry in listed(nodes)] == [22, 22, 22, 22, 22, 1024, 22]


def test_a_line_that_says_something_else_is_told_with_its_number(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="hosts:2: 'node2 node3' is not one node"):
        read(tmp_path / "hosts", "node1\nnode2 node3\n")
    with pytest.raises(UsageError, match="No such file"):
        from_file(tmp_path / "nowhere", print)
