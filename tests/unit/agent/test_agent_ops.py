"""What an agent can be asked, and where that is written down."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from milabench.agent import aside, serve

FRAMES = (Path(__file__).parents[3] / "docs/reference/formats.md").read_text().partition("## Frames")[2]
TABLE, _, AFTER = FRAMES.partition("\n## ")[0].partition("Replies to ")


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> Iterator[serve.Agent]:
    """Yield an agent that nobody asks, whose limits stay as they are."""
    monkeypatch.setattr(serve, "many_descriptors", lambda: (64, 64))
    monkeypatch.setattr(serve, "data_descriptor", lambda: -1)
    nothing = os.open(os.devnull, os.O_RDWR)
    yield serve.Agent(nothing, nothing)
    os.close(nothing)


def documented() -> set[str]:
    """Return the ops that the table of requests has: the words in the first cell of each row."""
    cells = re.findall(r"^\| (`[^|]+) \|", TABLE, re.MULTILINE)
    return {op for cell in cells for op in re.findall(r"`(\w+)`", cell)} - {"op"}  # the heading


def test_all_that_an_agent_can_be_asked_stands_in_the_table_of_requests(agent: serve.Agent) -> None:
    assert documented() == {*aside.OPS, *agent._ops}


def test_what_is_answered_in_a_process_of_its_own_is_said_to_come_out_of_order() -> None:
    assert set(re.findall(r"`(\w+)`", AFTER.partition(" may come after")[0])) == set(aside.OPS)
