"""Names that scripts and voirfiles written for milabench import."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest
from loops import events, rows

from benchmate import monitor, observer
from benchmate.context import Context, Limit
from benchmate.data import grouped
from benchmate.device import Cpu


class Calls:
    """An object whose methods say that they were called."""

    def __init__(self, said: list[str]) -> None:
        self.said = said

    def backward(self, gradient: object = None) -> str:
        self.said.append(f"backward {gradient}")
        return "done"

    def step(self) -> None:
        self.said.append("step")

    def __float__(self) -> float:
        return 1.5


@pytest.fixture
def process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A process of a run whose suite wants three observations after one of warm-up."""
    context = Context(
        events=str(tmp_path / "a.data"),
        steps=str(tmp_path / "a.steps"),
        config={"voir": {"options": {}}},
        limit=Limit(skip=1, observations=3),
    )
    monkeypatch.setattr(observer, "current", lambda **_: context)
    monkeypatch.setattr("benchmate.observe.fetch", lambda **_: Cpu())
    return tmp_path


def test_a_bench_observer_measures_what_the_suite_wants(process: Path) -> None:
    made = observer.BenchObserver(
        object, earlystop=100, batch_size_fn=lambda batch: batch * 2, raise_stop_program=False, stdout=True, rank=0
    )
    with pytest.raises(SystemExit) as stopped:
        for batch in made.iterate([1, 2, 3, 4, 5, 6]):
            made.record_loss(0.5 / batch)
    assert stopped.value.code == 0
    assert [row[2] for row in rows(process)] == [2, 4, 6, 8]
    assert [data["loss"] for event, data in events(process) if event == "data" and "loss" in data][:2] == [0.5, 0.25]


@pytest.mark.usefixtures("process")
def test_callbacks_follow_the_backward_pass_and_the_step() -> None:
    said: list[str] = []
    made = observer.BenchObserver(
        backward_callback=lambda: said.append("after backward"), step_callback=lambda: said.append("after step")
    )
    calls = Calls(said)
    assert made.criterion(lambda value: value)(calls).backward(2) == "done"
    made.optimizer(calls).step()
    made.close()
    assert said == ["backward 2", "after backward", "step", "after step"]


@pytest.mark.parametrize(
    ("context", "wanted"),
    [
        (Context(config={"voir": {"options": {}}}, limit=Limit(skip=5, observations=60)), [65]),
        (Context(config={"voir": {"options": {}}}, limit=Limit(skip=5, observations=None)), []),
        (Context(config={"voir": {"options": {}}}, limit=Limit(skip=5, observations=60), rank=1), []),
        (Context(), [20]),
    ],
)
def test_a_voirfile_stops_scripts_that_give_their_rates_themselves(
    monkeypatch: pytest.MonkeyPatch, context: Context, wanted: list[int]
) -> None:
    voir = types.ModuleType("voir.instruments")
    voir.early_stop = lambda **options: options  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "voir", types.ModuleType("voir"))
    monkeypatch.setitem(sys.modules, "voir.instruments", voir)
    monkeypatch.setattr(monitor, "current", lambda: context)
    required: list[Any] = []
    overseer = types.SimpleNamespace(require=required.append)
    monitor.voirfile_monitor(overseer, types.SimpleNamespace(stop=20, dash=False, gpu_poll=1))
    assert [each["n"] for each in required] == wanted


def test_batches_are_grouped_into_whole_observations() -> None:
    assert list(grouped(range(7), 3)) == [[0, 1, 2], [3, 4, 5]]
