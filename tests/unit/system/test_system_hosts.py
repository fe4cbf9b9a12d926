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
        (["@a"], "'@a' is no node"),
        (["a/b"], "letters, digits"),
        (["-oProxyCommand=x"], "letters, digits"),
    ],
)
def test_what_names_no_node_is_told(words: list[str], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        listed(words)


def test_a_file_has_a_node_a_line_and_may_be_one_for_mpirun(tmp_path: Path) -> None:
    file = tmp_path / "hosts"
    file.write_text("# of the rack\nnode1 slots=8\n\nbench@node2:2222  # the slow one\nnode3 slots=8 max_slots=8\n")
    assert list(from_file(file)) == ["node1", "bench@node2:2222", "node3"]


def test_a_line_that_says_something_else_is_told_with_its_number(tmp_path: Path) -> None:
    file = tmp_path / "hosts"
    file.write_text("node1\nnode2 node3\n")
    with pytest.raises(UsageError, match="hosts:2: 'node2 node3' is not one node"):
        list(from_file(file))
    with pytest.raises(UsageError, match="No such file"):
        list(from_file(tmp_path / "nowhere"))
