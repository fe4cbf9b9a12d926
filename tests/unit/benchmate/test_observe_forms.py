"""Loops of other forms: several batches a step, no loader at all; further metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from loops import MS, FakeDevice, FakeTime, events, rows

from benchmate.device import Cpu
from benchmate.observe import Observer, StopProgram


def keep_up(accelerator: Any, clock: FakeTime, ms: float) -> None:
    """Let a step's work take so long, on whichever clock counts."""
    clock.pass_ms(ms)
    if isinstance(accelerator, FakeDevice):
        accelerator.queued_ns += int(ms * MS)
        accelerator.done_ns = accelerator.queued_ns


@pytest.fixture(params=[Cpu, FakeDevice])
def accelerator(request: pytest.FixtureRequest) -> Any:
    return request.param()


def test_a_step_of_several_batches_counts_the_items_of_all_and_takes_their_time(
    tmp_path: Path, clock: FakeTime, make: Callable[..., Observer], accelerator: Any
) -> None:
    observer = make(accelerator=accelerator)
    for index, _ in enumerate(observer.iterate([[0] * n for n in (2, 3, 4, 5, 6)], accumulation=2)):
        keep_up(accelerator, clock, 1 + index)
    steps = [((end - start) // MS, count, status) for start, end, count, _, status in rows(tmp_path)]
    assert steps == [(1 + 2, 5, 0), (3 + 4, 9, 0), (5, 6, 0)]  # what is left at the end is a step, too


def test_warm_up_and_limit_count_steps_of_the_optimizer(
    tmp_path: Path, clock: FakeTime, make: Callable[..., Observer], accelerator: Any
) -> None:
    observer, batches = make(skip=1, observations=2, accelerator=accelerator), 0
    with pytest.raises(StopProgram):
        for _ in observer.iterate([[1]] * 100, accumulation=4):
            keep_up(accelerator, clock, 1)
            batches += 1
    assert batches == 3 * 4
    assert [row[3] for row in rows(tmp_path)] == [0, 1, 1]


def test_losses_of_one_optimizer_s_step_have_its_number(
    tmp_path: Path, clock: FakeTime, make: Callable[..., Observer]
) -> None:
    observer = make()
    for index in observer.iterate(range(4), accumulation=2):
        observer.record_loss(index / 4)
    losses = [(data["step"], data["loss"]) for event, data in events(tmp_path) if event == "data"]
    assert losses == [(0, 0.0), (0, 0.25), (1, 0.5), (1, 0.75)]


def test_batches_of_a_step_are_fetched_when_they_are_asked_for(make: Callable[..., Observer]) -> None:
    fetched: list[int] = []

    def loader() -> Iterator[int]:
        for index in range(6):
            fetched.append(index)
            yield index

    for index in make().iterate(loader(), accumulation=3):
        assert fetched[-1] == index


def test_a_broken_off_step_of_several_batches_is_left_out(
    tmp_path: Path, clock: FakeTime, make: Callable[..., Observer]
) -> None:
    observer = make()
    for index in observer.iterate(range(10), accumulation=2):
        clock.pass_ms(1)
        if index == 4:
            break
    assert len(rows(tmp_path)) == 2


def test_a_loop_without_a_loader_is_timed_by_hand(
    tmp_path: Path, clock: FakeTime, make: Callable[..., Observer], accelerator: Any
) -> None:
    observer = make(skip=1, accelerator=accelerator)
    for _ in range(2):
        keep_up(accelerator, clock, 50)  # between passes
        end_step = observer.begin()
        for items in (3, 4):
            keep_up(accelerator, clock, items)
            end_step(items)
    observer.close()
    steps = [((end - start) // MS, count, phase) for start, end, count, phase, _ in rows(tmp_path)]
    assert steps == [(3, 3, 0), (4, 4, 1), (3, 3, 1), (4, 4, 1)]


def test_a_loop_by_hand_ends_at_the_limit_and_goes_on_unrecorded_for_who_does_not_let_it(
    tmp_path: Path, clock: FakeTime, make: Callable[..., Observer]
) -> None:
    observer = make(observations=2)
    end_step = observer.begin()
    end_step(1)
    with pytest.raises(StopProgram):
        end_step(1)
    end_step(1)
    assert len(rows(tmp_path)) == 2


def test_losses_of_a_loop_by_hand_are_written_when_the_next_pass_begins(
    tmp_path: Path, clock: FakeTime, make: Callable[..., Observer]
) -> None:
    observer = make()
    end_step = observer.begin()
    observer.record_loss(0.5)
    end_step(1)
    assert [event for event, _ in events(tmp_path)] == ["hello"]
    observer.begin()
    assert [event for event, _ in events(tmp_path)] == ["hello", "data"]


class Tensor:
    """A number on a device: reading it waits."""

    def __init__(self, value: float, reads: list[float]) -> None:
        self.value, self.reads = value, reads

    def detach(self) -> Tensor:
        return self

    def __float__(self) -> float:
        self.reads.append(self.value)
        return self.value


def test_further_metrics_are_written_four_times_a_second_and_the_latest_when_a_pass_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[..., Observer]
) -> None:
    time = FakeTime()
    monkeypatch.setattr("benchmate.values.time", time)
    observer = make()
    for index in observer.iterate(range(8)):
        observer.record("accuracy", index / 8)
        time.pass_ms(100)
    written = [(data["step"], data["accuracy"]) for event, data in events(tmp_path) if event == "data"]
    assert written == [(0, 0.0), (3, 0.375), (6, 0.75), (7, 0.875)]


def test_a_tensor_is_not_read_before_the_pass_ends(tmp_path: Path, make: Callable[..., Observer]) -> None:
    observer, reads = make(), list[float]()
    for index in observer.iterate(range(3)):
        observer.record("norm", Tensor(float(index), reads))
        assert reads == []
    assert events(tmp_path)[1:] == [("data", {"task": "train", "norm": 2, "step": 2})]


def test_what_is_no_number_is_refused_where_it_is_given(make: Callable[..., Observer]) -> None:
    observer = make()
    for _ in range(2):
        with pytest.raises((TypeError, ValueError)):
            observer.record("accuracy", "high")
        observer.record("accuracy", 1)


@pytest.mark.parametrize("name", ["rate", "loss", "task"])
def test_a_name_that_means_something_else_is_refused(make: Callable[..., Observer], name: str) -> None:
    with pytest.raises(ValueError, match="a meaning of its own"):
        make().record(name, 1)


def test_losses_after_the_limit_are_not_kept(tmp_path: Path, make: Callable[..., Observer]) -> None:
    observer = make(observations=2, world_size=2)  # nobody ends it here
    for index in observer.iterate(range(50)):
        observer.record_loss(float(index))
    observer.close()
    assert [data["loss"] for event, data in events(tmp_path) if event == "data" and "loss" in data] == [0.0, 1.0]


class Whole:
    """A number as numpy's and torch's whole numbers are."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __index__(self) -> int:
        return self.number

    __int__ = __index__


def halves(batch: list[int]) -> Any:
    return len(batch) / 2


@pytest.mark.parametrize("accelerator", [Cpu, FakeDevice])
@pytest.mark.parametrize("accumulation", [1, 2])
def test_a_count_that_is_no_whole_number_is_told_before_a_step_is_made(
    tmp_path: Path, make: Callable[..., Observer], accelerator: Callable[[], Any], accumulation: int
) -> None:
    observer, bodies = make(count=halves, accelerator=accelerator()), 0
    with pytest.raises(TypeError, match=r"^halves, which counts the items of a batch, returned 1.5 items: a whole"):
        for _ in observer.iterate([[0] * 3] * 9, accumulation):
            bodies += 1
    assert (bodies, rows(tmp_path)) == (0, [])


def test_a_step_ended_by_hand_with_no_whole_number_of_items_says_so(make: Callable[..., Observer]) -> None:
    end_step = make().begin()
    end_step(2)
    with pytest.raises(TypeError, match=r"^the end of a step was told of 2.5 items: a whole number is needed"):
        end_step(2.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [True, Whole(3)])
def test_what_stands_for_a_whole_number_is_one(tmp_path: Path, make: Callable[..., Observer], count: Any) -> None:
    list(make(count=lambda _: count).iterate(range(2)))
    assert [row[2] for row in rows(tmp_path)] == [int(count)] * 2
