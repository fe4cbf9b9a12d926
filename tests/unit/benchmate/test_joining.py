"""A rank says that it joins its group before it does: the others may never come."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from benchmate.context import Context


class Hung(Exception):
    """Stands for a rendezvous that never ends."""


@pytest.fixture
def joined(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the function, over a torch whose ranks never meet."""

    def init_process_group(backend: str, **options: object) -> None:
        raise Hung(backend)

    torch, distributed = ModuleType("torch"), ModuleType("torch.distributed")
    vars(distributed)["init_process_group"] = init_process_group
    vars(torch)["distributed"] = distributed
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch.distributed", distributed)
    monkeypatch.delitem(sys.modules, "benchmate.distributed", raising=False)
    module = importlib.import_module("benchmate.distributed")
    monkeypatch.setitem(sys.modules, "benchmate.distributed", module)  # which forgets it again
    return module.joined


def test_a_rank_is_heard_of_before_the_group_meets(tmp_path: Path, joined: Any) -> None:
    context = Context(events=str(tmp_path / "t.rank1.jsonl"), rank=1, local_rank=1, world_size=2, node="n0")
    with pytest.raises(Hung, match="gloo"), joined(SimpleNamespace(arch="cpu"), context):
        pass
    (line,) = (tmp_path / "t.rank1.jsonl").read_text().splitlines()
    event = json.loads(line)
    said = {name: event["data"][name] for name in ("rank", "node", "joins")}
    assert (event["event"], said) == ("hello", {"rank": 1, "node": "n0", "joins": "gloo"})


def test_a_single_rank_joins_nothing_and_says_nothing(tmp_path: Path, joined: Any) -> None:
    context = Context(events=str(tmp_path / "t.data"))
    with joined(SimpleNamespace(arch="cpu"), context):
        pass
    assert not (tmp_path / "t.data").exists()
