"""What processes write is sent fairly, in order and whole, and only while the runner keeps up."""

from __future__ import annotations

import hashlib
import itertools
import os
import selectors
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmate.wire import Frames
from milabench.agent.forward import Forwarding
from milabench.agent.grown import PIECE_BYTES
from milabench.agent.replies import BUSY_BYTES, Replies


class Node:
    """A node whose processes write what the test says, and a runner that reads when the test says so."""

    def __init__(self, folder: Path) -> None:
        self.reading, writing = os.pipe()
        os.set_blocking(self.reading, False)
        self.selector = selectors.DefaultSelector()
        self.replies = Replies(writing, self.selector)
        self.forwarding = Forwarding(self.replies, {"TMPDIR": str(folder)})
        self.frames = Frames()
        self.numbers = itertools.count(1)
        self.files: dict[str, bytearray] = {}
        self.said: list[dict[str, Any]] = []

    def start(self, tag: str) -> tuple[int, Path]:
        """Begin a process; return its number, and where its files are, without what follows the tag."""
        number = next(self.numbers)
        names = {"stdout": f"/runs/r/{tag}.stdout", "events": f"/runs/r/{tag}.data"}
        request = self.forwarding.placed({"id": number, "op": "start", **names})
        self.forwarding.begin(request)
        return number, Path(request["stdout"]).with_suffix("")

    def end(self, number: int) -> None:
        self.forwarding.end(number, {"id": number, "event": "exit", "code": 0})

    def pass_time(self) -> None:
        """Let it be time to look."""
        self.forwarding._look_at = self.forwarding._look_at and 0.0

    def work(self) -> None:
        self.forwarding.work()
        while self.forwarding.wake_at == 0.0:
            self.forwarding.work()

    def read(self) -> list[dict[str, Any]]:
        """Let all be sent and read; return the messages."""
        found: list[dict[str, Any]] = []
        self.work()
        while content := self._read_some():
            for message in self.frames.feed(content):
                self._take(message)
                found.append(message)
        return found

    def _read_some(self) -> bytes:
        try:
            content = os.read(self.reading, 1 << 16)
        except BlockingIOError:
            return b""
        for key, _ in self.selector.select(0):
            key.data()
        self.work()
        return content

    def _take(self, message: dict[str, Any]) -> None:
        if message["event"] != "chunk":
            self.said.append(message)
            return
        content = self.files.setdefault(message["file"], bytearray())
        assert message["offset"] == len(content)
        content += message["blob"]


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = Node(tmp_path)
    yield made
    made.selector.close()
    made.forwarding.close()


def known(content: bytes) -> dict[str, object]:
    return {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def write(path: Path, suffix: str, content: bytes) -> None:
    with Path(f"{path}{suffix}").open("ab") as file:
        file.write(content)


def test_nothing_is_looked_at_where_nothing_is_forwarded(node: Node, tmp_path: Path) -> None:
    assert node.forwarding.wake_at is None
    assert list(tmp_path.iterdir()) == []
    node.end(7)
    assert node.read() == [{"id": 7, "event": "exit", "code": 0}]


def test_what_grows_is_sent_as_it_grows_and_its_end_with_an_account(node: Node) -> None:
    number, path = node.start("bert.D0")
    write(path, ".stdout", b"one\n")
    assert node.read() == []  # it is not time yet
    node.pass_time()
    assert [message["file"] for message in node.read()] == ["bert.D0.stdout"]
    write(path, ".stdout", b"two\n")
    write(path, ".data", b"{}\n")
    node.end(number)
    assert node.forwarding
    *_, ended = node.read()
    assert node.files == {"bert.D0.stdout": b"one\ntwo\n", "bert.D0.data": b"{}\n"}
    assert ended["files"] == {"bert.D0.stdout": known(b"one\ntwo\n"), "bert.D0.data": known(b"{}\n")}
    assert not node.forwarding


def test_files_of_further_ranks_are_found_and_those_of_others_are_not(node: Node) -> None:
    (number, path), _ = node.start("bert"), node.start("bert.D0")
    write(path, ".rank1.jsonl", b"1\n")
    node.pass_time()
    assert [message["id"] for message in node.read()] == [number]
    write(path, ".D0.rank1.jsonl", b"other\n")
    write(path, ".rank2.jsonl", b"2\n")
    write(path, ".rank2.txt", b"no\n")
    node.end(number)
    node.read()
    assert node.said[-1]["files"].keys() == {"bert.rank1.jsonl", "bert.rank2.jsonl"}


def test_while_the_runner_does_not_read_no_more_than_a_little_is_taken_of_the_files(node: Node) -> None:
    number, path = node.start("big")
    content = os.urandom(40 * PIECE_BYTES)
    write(path, ".stdout", content)
    node.end(number)
    node.work()
    pipe_bytes = 1 << 16
    assert node.replies.busy
    assert node.replies._bytes <= BUSY_BYTES + PIECE_BYTES + pipe_bytes
    node.read()
    assert node.files["big.stdout"] == content
    assert node.said[-1]["files"]["big.stdout"] == known(content)


def test_that_a_process_has_ended_is_told_before_what_it_wrote(node: Node) -> None:
    number, path = node.start("big")
    write(path, ".stdout", os.urandom(40 * PIECE_BYTES))
    node.end(number)
    first, *chunks, last = node.read()
    assert first == {"id": number, "event": "gone", "code": 0}
    assert {each["event"] for each in chunks} == {"chunk"}
    assert last["event"] == "exit"


def test_a_process_that_writes_much_lets_others_have_their_turn(node: Node) -> None:
    numbers = {}
    for tag, pieces in (("flood", 30), ("one", 1), ("other", 1)):
        numbers[tag], path = node.start(tag)
        write(path, ".stdout", b"x" * PIECE_BYTES * pieces)
    node.pass_time()
    order = [message["file"] for message in node.read()]
    assert set(order[:3]) == {"flood.stdout", "one.stdout", "other.stdout"}
    assert len(order) == 32


def test_a_file_is_sent_again_when_it_is_asked_for(node: Node) -> None:
    number, path = node.start("bert")
    write(path, ".stdout", b"one\n")
    write(path, ".data", b"{}\n")
    node.end(number)
    node.read()
    node.files.clear()
    node.forwarding.fetch({"id": 9, "target": number, "file": "bert.data"})
    first, last = node.read()
    assert (first["id"], first["blob"]) == (9, b"{}\n")
    assert last == {"id": 9, "event": "fetched", "files": {"bert.data": known(b"{}\n")}}


@pytest.mark.parametrize(("target", "name"), [(1, "nothing.data"), (5, "bert.data")])
def test_what_is_asked_for_and_is_not_there_is_answered(node: Node, target: int, name: str) -> None:
    number, _ = node.start("bert")
    node.end(number)
    node.read()
    node.forwarding.fetch({"id": 9, "target": target, "file": name})
    assert node.read() == [{"id": 9, "event": "fetched", "files": {}}]


def test_what_has_arrived_is_removed_and_nothing_is_looked_at_any_more(node: Node) -> None:
    number, path = node.start("bert")
    write(path, ".stdout", b"one\n")
    write(path, ".rank1.steps", b"")
    node.end(number)
    node.read()
    node.forwarding.arrived({"target": number})
    node.forwarding.arrived({"target": number})
    assert list(path.parent.iterdir()) == []
    assert node.forwarding.wake_at is None


def test_when_nobody_is_there_any_more_nothing_is_read(node: Node) -> None:
    number, path = node.start("bert")
    write(path, ".stdout", b"x" * PIECE_BYTES * 3)
    os.close(node.reading)
    node.end(number)
    node.work()
    assert node.replies.gone
    assert not node.forwarding
    assert node.forwarding.wake_at != 0.0
