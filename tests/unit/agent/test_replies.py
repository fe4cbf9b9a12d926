"""Replies that wait for a runner which does not read."""

from __future__ import annotations

import os
import selectors
from collections.abc import Iterator

import pytest

from benchmate.wire import Frames
from milabench.agent.replies import FULL_BYTES, Replies


class Pipe:
    def __init__(self) -> None:
        self.reading, writing = os.pipe()
        self.selector = selectors.DefaultSelector()
        self.replies = Replies(writing, self.selector)
        self.frames = Frames()

    def read(self) -> list[int]:
        """Read what can be read, letting the replies follow; return the numbers in it."""
        os.set_blocking(self.reading, False)
        found: list[int] = []
        while True:
            try:
                found += [message["id"] for message in self.frames.feed(os.read(self.reading, 1 << 16))]
            except BlockingIOError:
                if not self.selector.get_map():
                    return found
            for key, _ in self.selector.select(0):
                key.data()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    made.selector.close()


def test_what_the_pipe_takes_is_sent_at_once(pipe: Pipe) -> None:
    pipe.replies.send({"id": 1})
    assert (len(pipe.replies), pipe.selector.get_map() or None) == (0, None)
    assert pipe.read() == [1]


def test_what_it_does_not_take_waits_and_comes_whole_and_in_order(pipe: Pipe) -> None:
    for number in range(300):
        pipe.replies.send({"id": number, "text": "x" * (number * 17)})
    assert len(pipe.replies) > 0
    assert pipe.read() == list(range(300))
    assert len(pipe.replies) == 0
    pipe.replies.send({"id": 7})
    assert pipe.read() == [7]


def test_a_reply_larger_than_the_pipe_comes_whole(pipe: Pipe) -> None:
    pipe.replies.send({"id": 1, "text": "x" * (3 << 20)})
    pipe.replies.send({"id": 2})
    assert pipe.read() == [1, 2]


def test_it_is_full_until_enough_has_been_read(pipe: Pipe) -> None:
    sent = 0
    while not pipe.replies.full:
        pipe.replies.send({"id": sent, "text": "x" * 100_000})
        sent += 1
    assert sent > FULL_BYTES // 101_000
    assert pipe.read() == list(range(sent))
    assert not pipe.replies.full


def test_when_nobody_reads_any_more_nothing_waits(pipe: Pipe) -> None:
    for number in range(300):
        pipe.replies.send({"id": number, "text": "x" * 1000})
    os.close(pipe.reading)
    for key, _ in pipe.selector.select(0):
        key.data()
    pipe.replies.send({"id": 300})
    assert (len(pipe.replies), pipe.replies.full, pipe.selector.get_map() or None) == (0, False, None)
