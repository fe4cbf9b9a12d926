"""What arrives of processes on other nodes: at its place, checked, fetched again where it is wrong."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import re
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milabench.errors import HostLost
from milabench.execute import arrivals as module
from milabench.execute.arrivals import Arrivals
from milabench.rundir import Files


def known(content: bytes) -> dict[str, object]:
    return {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def chunk(name: str, offset: int, content: bytes, **more: Any) -> dict[str, Any]:
    return {"id": 1, "event": "chunk", "file": name, "offset": offset, "blob": content, **more}


class Node:
    """A node that has files, and sends one again when it is asked to."""

    def __init__(self, arrivals: Arrivals, **files: bytes) -> None:
        self.arrivals = arrivals
        self.files = {name.replace("_", "."): content for name, content in files.items()}
        self.asked: list[str] = []

    async def fetch(self, name: str) -> Mapping[str, Any]:
        self.asked.append(name)
        self.arrivals.take(chunk(name, 0, self.files[name]))
        return {name: known(self.files[name])}

    def settle(self) -> str | None:
        accounts = {name: known(content) for name, content in self.files.items()}
        return asyncio.run(self.arrivals.settle(accounts, self.fetch))


@pytest.fixture
def arrivals(tmp_path: Path) -> Arrivals:
    return Arrivals.of_process(Files.of(tmp_path, "bert"))


def test_chunks_come_after_what_the_runner_wrote(arrivals: Arrivals, tmp_path: Path) -> None:
    (tmp_path / "bert.data").write_bytes(b"config\nstart\n")
    arrivals.take(chunk("bert.data", 0, b"one\n"))
    arrivals.take(chunk("bert.data", 4, b"two\n"))
    assert (tmp_path / "bert.data").read_bytes() == b"config\nstart\none\ntwo\n"
    node = Node(arrivals, bert_data=b"one\ntwo\n")
    assert (node.settle(), node.asked) == (None, [])


def test_a_file_in_which_nothing_stands_there_is_none_here(arrivals: Arrivals, tmp_path: Path) -> None:
    node = Node(arrivals, bert_stdout=b"", bert_steps=b"")
    assert (node.settle(), node.asked) == (None, [])
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_which_nothing_came_is_fetched(arrivals: Arrivals, tmp_path: Path) -> None:
    node = Node(arrivals, bert_stderr=b"one\n")
    assert (node.settle(), node.asked) == (None, ["bert.stderr"])
    assert (tmp_path / "bert.stderr").read_bytes() == b"one\n"


def test_what_was_cut_short_there_before_gets_a_line_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "node.monitor.jsonl"
    path.write_bytes(b'{"whole": 1}\n{"cut')
    arrivals = Arrivals.of_monitor(path)
    arrivals.take(chunk(path.name, 0, b'{"event": "monitor"}\n'))
    assert path.read_bytes() == b'{"whole": 1}\n{"cut\n{"event": "monitor"}\n'


def test_a_header_is_written_over_as_it_counts_more(arrivals: Arrivals, tmp_path: Path) -> None:
    for piece in (chunk("bert.steps", 4, b"rows"), chunk("bert.steps", 0, b"head"), chunk("bert.steps", 0, b"HEAD")):
        arrivals.take(piece)
    assert (tmp_path / "bert.steps").read_bytes() == b"HEADrows"


def test_a_file_that_begins_anew_there_begins_anew_here(arrivals: Arrivals, tmp_path: Path) -> None:
    (tmp_path / "bert.data").write_bytes(b"start\n")
    arrivals.take(chunk("bert.data", 0, b"a long line\n"))
    arrivals.take(chunk("bert.data", 0, b"new\n", cut=True))
    assert (tmp_path / "bert.data").read_bytes() == b"start\nnew\n"


@pytest.mark.parametrize(
    "name",
    [
        "other.data",
        "../bert.data",
        "bert.data/x",
        "bert.rank1.txt",
        "bert.rank.steps",
        "run.json",
        "",
        "/etc/motd",
        None,
        7,
        ("x",),
    ],
)
def test_no_other_file_is_written(arrivals: Arrivals, tmp_path: Path, name: Any) -> None:
    with pytest.raises(ValueError, match="no file of the process"):
        arrivals.take(chunk(name, 0, b"x"))
    assert asyncio.run(arrivals.settle({name: known(b"x")}, Node(arrivals).fetch)) is None
    assert list(tmp_path.iterdir()) == []


PARTS = ("bert", ".rank", "1", "\u0661", ".steps", ".jsonl", ".data", ".stdout", "/", "..", ".", "\0", "\n", "run.json")


@given(parts=st.lists(st.sampled_from(PARTS), max_size=7), offset=st.integers(-3, 9) | st.integers())
@settings(max_examples=80, deadline=None)
def test_whatever_a_node_calls_a_file_it_is_one_of_the_process_in_its_folder(parts: list[str], offset: int) -> None:
    with tempfile.TemporaryDirectory() as outer:
        run = Path(outer, "runs", "one")
        run.mkdir(parents=True)
        with suppress(ValueError):
            Arrivals.of_process(Files.of(run, "bert")).take(chunk("".join(parts), offset, b"x"))
        files = [path for path in Path(outer).rglob("*") if path.is_file()]
        assert all(path.parent == run for path in files)
        assert all(re.fullmatch(r"bert\.(data|steps|stdout|stderr|rank[0-9]+\.(steps|jsonl))", p.name) for p in files)


@pytest.mark.parametrize("offset", [-1, -(1 << 70), 1 << 70, 1.5, "0", None, True])
def test_nothing_is_written_before_what_the_node_may_write_or_at_no_place(
    arrivals: Arrivals, tmp_path: Path, offset: Any
) -> None:
    (tmp_path / "bert.data").write_bytes(b"start\n")
    with pytest.raises(ValueError, match=r"no place in bert\.data"):
        arrivals.take(chunk("bert.data", offset, b"x"))
    assert (tmp_path / "bert.data").read_bytes() == b"start\n"


@pytest.mark.parametrize("offset", [65, 1 << 40])
def test_a_part_is_not_put_beyond_what_is_there_and_the_file_is_fetched(
    arrivals: Arrivals, tmp_path: Path, offset: int
) -> None:
    """A file of steps has a hole for its header at first; any other is of what was lost, or as large as a node says."""
    (tmp_path / "bert.data").write_bytes(b"start\n")
    arrivals.take(chunk("bert.data", offset, b"late"))
    assert (tmp_path / "bert.data").read_bytes() == b"start\n"
    node = Node(arrivals, bert_data=b"one\n")
    assert (node.settle(), node.asked) == (None, ["bert.data"])
    assert (tmp_path / "bert.data").read_bytes() == b"start\none\n"


def test_nothing_is_written_where_a_link_leads(arrivals: Arrivals, tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"mine")
    (tmp_path / "bert.stdout").symlink_to("other")
    node = Node(arrivals, bert_stdout=b"its")
    arrivals.take(chunk("bert.stdout", 0, b"its"))
    assert "it cannot be written here: Too many levels of symbolic links" in str(node.settle())
    assert (tmp_path / "other").read_bytes() == b"mine"


def test_of_what_has_come_without_a_gap_the_node_is_told_now_and_then(
    arrivals: Arrivals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEPT_BYTES", 8)
    takes = [(0, b"12345"), (5, b"67890"), (10, b"x"), (12, b"gap"), (15, b"more than enough"), (0, b"once more")]
    told = [arrivals.take(chunk("bert.stdout", offset, content)) for offset, content in takes]
    assert told == [
        None,
        {"file": "bert.stdout", **known(b"1234567890")},
        None,
        None,
        None,
        {"file": "bert.stdout", **known(b"once more")},
    ]


def test_what_could_not_be_written_here_is_not_told_to_be_here(
    arrivals: Arrivals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEPT_BYTES", 2)
    (tmp_path / "bert.stdout").mkdir()
    assert arrivals.take(chunk("bert.stdout", 0, b"much")) is None


def test_of_a_file_whose_beginning_is_no_longer_on_its_node_the_rest_is_fetched(
    arrivals: Arrivals, tmp_path: Path
) -> None:
    arrivals.take(chunk("bert.stdout", 0, b"the first, and something else"))
    account = {**known(b"the first, and the rest"), "freed": 9}

    async def fetch(name: str) -> object:
        arrivals.take(chunk(name, 9, b", and the rest"))
        return {name: account}

    assert asyncio.run(arrivals.settle({"bert.stdout": account}, fetch)) is None
    assert (tmp_path / "bert.stdout").read_bytes() == b"the first, and the rest"


NO_ACCOUNTS = {
    "nothing": None,
    "a text": "whole",
    "no size": {"sha256": "0"},
    "less than nothing": {"size": -6, "sha256": "0"},
    "no number": {"size": "4", "sha256": "0"},
    "more than there can be": {"size": 1 << 80, "sha256": "0"},
    "no hash": {"size": 4},
    "less than nothing freed": {**known(b"one\n"), "freed": -1},
    "no words": {"error": 5},
}


@pytest.mark.parametrize("account", NO_ACCOUNTS.values(), ids=NO_ACCOUNTS)
def test_what_is_no_account_of_a_file_is_told_and_harms_nothing(
    arrivals: Arrivals, tmp_path: Path, account: object
) -> None:
    (tmp_path / "bert.data").write_bytes(b"start\n")
    arrivals.take(chunk("bert.data", 0, b"one\n"))

    async def fetch(name: str) -> object:
        arrivals.take(chunk(name, 0, b"one\n"))
        return {name: account}

    told = asyncio.run(arrivals.settle({"bert.data": account}, fetch))
    assert told == "bert.data did not come whole from its node: its node did not say what it holds"
    assert (tmp_path / "bert.data").read_bytes() == b"start\none\n"


@pytest.mark.parametrize("told", [None, [], "files", 7])
def test_a_node_that_tells_of_no_files_is_asked_for_none(arrivals: Arrivals, told: object) -> None:
    assert asyncio.run(arrivals.settle(told, Node(arrivals).fetch)) is None


@pytest.mark.parametrize("name", ["bert.rank1.jsonl", "bert.rank12.steps", "bert.stderr"])
def test_further_ranks_have_files_too(arrivals: Arrivals, tmp_path: Path, name: str) -> None:
    arrivals.take(chunk(name, 0, b"x"))
    assert (tmp_path / name).read_bytes() == b"x"


DAMAGE = {
    "some of it is missing": b"on",
    "something else": b"two\n",
    "too much": b"one\nand more",
}


@pytest.mark.parametrize("content", DAMAGE.values(), ids=DAMAGE)
def test_what_is_not_as_it_was_sent_is_fetched_again(arrivals: Arrivals, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bert.data").write_bytes(b"start\n")
    arrivals.take(chunk("bert.data", 0, content))
    node = Node(arrivals, bert_data=b"one\n")
    assert node.settle() is None
    assert node.asked == ([] if content.startswith(b"one\n") else ["bert.data"])
    assert (tmp_path / "bert.data").read_bytes() == b"start\none\n"


def test_much_is_checked_as_well(arrivals: Arrivals) -> None:
    content = os.urandom(3 << 20)
    arrivals.take(chunk("bert.stdout", 0, content))
    node = Node(arrivals, bert_stdout=content)
    assert (node.settle(), node.asked) == (None, [])


def test_what_cannot_be_had_is_told(arrivals: Arrivals) -> None:
    node = Node(arrivals, bert_data=b"one\n", bert_stdout=b"two\n")
    arrivals.take(chunk("bert.stdout", 0, b"two\n"))

    async def fetch(name: str) -> Mapping[str, Any]:
        raise HostLost("the link is down")

    accounts = {name: known(content) for name, content in node.files.items()}
    told = asyncio.run(arrivals.settle(accounts, fetch))
    assert told == "bert.data did not come whole from its node: the link is down"


def test_what_the_node_cannot_read_is_told(arrivals: Arrivals) -> None:
    async def fetch(name: str) -> Mapping[str, Any]:
        return {name: {"error": "Input/output error"}}

    told = asyncio.run(arrivals.settle({"bert.data": {"error": "Input/output error"}}, fetch))
    assert told == "bert.data did not come whole from its node: Input/output error"


def test_a_full_disk_here_stops_that_file_and_is_told(
    arrivals: Arrivals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.pwrite

    def pwrite(descriptor: int, content: Any, offset: int) -> int:
        if Path(f"/proc/self/fd/{descriptor}").readlink().suffix == ".stdout":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(descriptor, content, offset)

    monkeypatch.setattr(module.os, "pwrite", pwrite)
    node = Node(arrivals, bert_stdout=b"much", bert_data=b"{}\n")
    for name, content in node.files.items():
        arrivals.take(chunk(name, 0, content))
    told = node.settle()
    assert told == "bert.stdout did not come whole from its node: it cannot be written here: No space left on device"
    assert (tmp_path / "bert.data").read_bytes() == b"{}\n"
    monkeypatch.undo()
    assert node.settle() is None  # there is room again
    assert (tmp_path / "bert.stdout").read_bytes() == b"much"
