"""Observers on a clock that only the loop's body moves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from loops import FakeTime

from benchmate.context import Context, Limit
from benchmate.device import Cpu
from benchmate.observe import Observer


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    fake = FakeTime()
    monkeypatch.setattr("benchmate.recording.time", fake)
    monkeypatch.setattr("benchmate.loop.time", fake)
    monkeypatch.setattr("benchmate.ring.time", fake)
    monkeypatch.setattr("benchmate.calibration.time", fake)
    return fake


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Observer]]:
    made: list[Observer] = []

    def observer(
        skip: int = 0, observations: int | None = 60, world_size: int = 1, rank: int = 0, **kwargs: Any
    ) -> Observer:
        limit = {name: kwargs.pop(name) for name in ("seconds", "precision") if name in kwargs}
        context = Context(
            events=str(tmp_path / "a.data"),
            steps=str(tmp_path / "a.steps"),
            limit=Limit(skip=skip, observations=observations, **limit),
            world_size=world_size,
            rank=rank,
        )
        made.append(Observer(context=context, **{"accelerator": Cpu(), **kwargs}))
        return made[-1]

    yield observer
    for one in made:
        one.close()
