"""What a script says of itself: written, counted, and ended at every limit."""

from __future__ import annotations

import os
import threading
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from loops import events

from benchmate import reported
from benchmate.context import Context, Limit
from benchmate.reported import Reported, plain
from benchmate.stopping import StopProgram
from benchmate.wire import EventWriter

NO_LIMIT = {"observations": None, "seconds": None, "precision": None}


class Clock:
    def __init__(self) -> None:
        self.now_ns = 0

    def monotonic_ns(self) -> int:
        return self.now_ns


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(reported, "time", made)
    return made


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Reported]:
    def made(rank: int = 0, world_size: int = 1, skip: int = 2, **limit: Any) -> Reported:
        context = Context(limit=Limit(skip=skip, **{**NO_LIMIT, **limit}), rank=rank, world_size=world_size)
        return Reported(context, EventWriter(tmp_path / "a.data"))

    return made


def push(metrics: Reported, *rates: float) -> int:
    """Push rates until the program would end; return how many were taken."""
    for number, rate in enumerate(rates, 1):
        try:
            metrics.push({"task": "train", "rate": rate})
        except StopProgram:
            return number
    return -1


def stop(folder: Path) -> object:
    event, data = events(folder)[-1]
    return data["reason"] if event == "stop" else None


def tasks(folder: Path) -> list[str]:
    return [data["task"] for event, data in events(folder) if event == "data"]


def test_rates_after_warm_up_count_up_to_the_number_wanted(tmp_path: Path, make: Callable[..., Reported]) -> None:
    assert push(make(observations=3), *[1.0] * 10) == 5
    assert tasks(tmp_path) == ["warmup", "warmup", "train", "train", "train"]
    assert stop(tmp_path) == "observations"


def test_seconds_run_from_the_end_of_warm_up(tmp_path: Path, make: Callable[..., Reported], clock: Clock) -> None:
    metrics = make(seconds=3)
    for number in range(1, 10):
        clock.now_ns = number * 1_000_000_000
        if push(metrics, 1.0) == 1:
            break
    assert number == 5
    assert stop(tmp_path) == "seconds"


def test_rates_that_are_precise_enough_end_the_program(tmp_path: Path, make: Callable[..., Reported]) -> None:
    steady = push(make(precision=0.02), *[100 + number % 3 for number in range(500)])
    assert 20 <= steady <= 400
    assert stop(tmp_path) == "precision"


def test_rates_that_are_not_do_not(make: Callable[..., Reported]) -> None:
    assert push(make(precision=0.02), *[100 * (1 + number % 7) for number in range(100)]) == -1


def test_the_first_of_several_limits_holds(tmp_path: Path, make: Callable[..., Reported], clock: Clock) -> None:
    assert push(make(observations=4, seconds=1000, precision=0.0001), *[1.0] * 10) == 6
    assert stop(tmp_path) == "observations"


@pytest.mark.parametrize(
    "data",
    [
        {"task": "eval", "rate": 1.0},
        {"task": "train", "rate": 0.0},
        {"task": "train", "rate": -1.0},
        {"task": "train", "rate": "fast"},
        {"task": "train", "rate": True},
        {"task": "train", "loss": 1.0},
    ],
)
def test_what_is_no_rate_of_training_is_written_and_not_counted(
    tmp_path: Path, make: Callable[..., Reported], data: dict[str, Any]
) -> None:
    metrics = make(skip=0, observations=1)
    metrics.push(data)
    assert events(tmp_path) == [("data", data)]


def test_rates_in_another_unit_than_the_first_are_written_and_not_counted(
    tmp_path: Path, make: Callable[..., Reported]
) -> None:
    metrics = make(skip=0, observations=3)
    for rate, units in ((1.0, "Tok/s"), (900.0, "B/s"), (900.0, "B/s")):
        metrics.push({"rate": rate, "units": units})
    metrics.push({"rate": 3.0})
    assert metrics.describe() == "train: 2 Tok/s, the mean of 2 reported rates\n"
    told = [data["message"] for event, data in events(tmp_path) if event == "note"]
    assert told == ["a rate in B/s does not count: rates are in Tok/s"]
    assert [data["rate"] for event, data in events(tmp_path) if event == "data"] == [1.0, 900.0, 900.0, 3.0]


def test_a_rate_without_a_task_is_one_of_training(tmp_path: Path, make: Callable[..., Reported]) -> None:
    make(skip=0).push({"rate": 2.0})
    assert tasks(tmp_path) == ["train"]


class Scalar:
    """An array of one element, as torch's, numpy's and jax's are."""

    device = "cpu"

    def item(self) -> float:
        return 2.5


def test_arrays_of_one_element_are_numbers_and_noted_once(tmp_path: Path, make: Callable[..., Reported]) -> None:
    metrics = make(skip=0)
    metrics.push({"rate": Scalar(), "loss": Scalar(), "other": Scalar()})
    metrics.push({"rate": Scalar()})
    note, first, second = events(tmp_path)
    assert (first[1], second[1]) == ({"rate": 2.5, "loss": 2.5, "task": "train"}, {"rate": 2.5, "task": "train"})
    assert (note[0], "waits for the device" in note[1]["message"]) == ("note", True)


def test_the_leader_of_a_group_says_it_once_and_ends_nothing(tmp_path: Path, make: Callable[..., Reported]) -> None:
    assert push(make(observations=1, skip=0, world_size=2), 1.0, 1.0, 1.0) == -1
    assert [data for event, data in events(tmp_path) if event == "stop"] == [
        {"reason": "observations", "observations": 1, "world_size": 2}
    ]


def test_rates_that_a_group_reports_after_the_last_that_is_wanted_are_none_of_its_measurement(
    tmp_path: Path, make: Callable[..., Reported]
) -> None:
    metrics = make(observations=2, skip=1, world_size=2)
    assert push(metrics, *[1.0] * 9) == -1
    metrics.push({"task": "train", "loss": 0.5})
    assert tasks(tmp_path) == ["warmup", "train", "train", "train"]
    assert [event for event, _ in events(tmp_path)] == ["data", "data", "data", "stop", "data"]


def test_another_rank_says_nothing(tmp_path: Path, make: Callable[..., Reported]) -> None:
    assert push(make(observations=1, skip=0, world_size=2, rank=1), 1.0, 1.0) == -1
    assert {event for event, _ in events(tmp_path)} == {"data"}


def test_in_another_thread_the_process_ends_at_once(
    make: Callable[..., Reported], monkeypatch: pytest.MonkeyPatch
) -> None:
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    thread = threading.Thread(target=push, args=(make(observations=1, skip=0), 1.0))
    thread.start()
    thread.join()
    assert codes == [0]


def test_a_forked_child_writes_nothing(
    tmp_path: Path, make: Callable[..., Reported], monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = make()
    monkeypatch.setattr(os, "getpid", lambda: -1)
    metrics.push({"rate": 1.0})
    assert events(tmp_path) == []


def test_another_limit_can_be_set(make: Callable[..., Reported]) -> None:
    metrics = make(observations=1)
    metrics.end_at(Limit(skip=0, observations=4))
    assert push(metrics, *[1.0] * 9) == 4


def test_by_hand_the_mean_is_said_at_the_end() -> None:
    metrics = Reported(Context(limit=Limit(skip=1)), None)
    assert metrics.describe() == ""
    for rate in (9.0, 2.0, 4.0):
        metrics.push({"rate": rate, "units": "Tok/s"})
    assert metrics.describe() == "train: 3 Tok/s, the mean of 2 reported rates\n"


def test_only_what_json_holds_is_kept() -> None:
    data = {"a": [1, {"b": None}], "c": {1: 2}, "d": (object(),), "$e": 1, "f": True}
    assert plain(data) == {"a": [1, {"b": None}], "f": True}


def test_a_loss_is_a_metric_with_its_task_until_it_is_one_by_its_name(make: Callable[..., Reported]) -> None:
    metrics = make()
    given: list[dict[str, Any]] = [{"loss": 1}, {"loss": 1, "task": "train"}, {"rate": 1}, {"other": 1}]
    assert [metrics.is_metric(data) for data in given] == [False, True, True, False]
    metrics.take(["loss"])
    assert [metrics.is_metric(data) for data in given] == [True, True, True, False]


def test_what_jax_calls_back_from_compiled_code_ends_the_process_at_once(
    make: Callable[..., Reported], monkeypatch: pytest.MonkeyPatch
) -> None:
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)

    def callback(push: Callable[..., None]) -> None:
        push({"rate": 1.0})

    of_jax = types.FunctionType(callback.__code__, {"__name__": "jax._src.debugging"})
    of_jax(make(observations=1, skip=0).push)
    assert codes == [0]
