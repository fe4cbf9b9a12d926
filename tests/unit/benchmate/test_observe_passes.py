"""Passes that lie within each other, or take turns: no time counts twice, and the limit holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from loops import MS, FakeDevice, FakeTime, events, rows

from benchmate.context import current
from benchmate.device import Accelerator, Cpu
from benchmate.observe import Observer, StopProgram
from benchmate.wire import GOOD, MEASURED, OVERLAPPED

TRAIN, VALID = [1, 2], [1]  # a batch of each
Work = Callable[[float], None]


@pytest.fixture(params=["host", "device"])
def accelerator(request: pytest.FixtureRequest) -> Accelerator:
    return Cpu() if request.param == "host" else FakeDevice()


@pytest.fixture
def work(accelerator: Accelerator, clock: FakeTime) -> Work:
    """Return what takes some milliseconds of the clock that steps are timed by."""

    def on_device(ms: float) -> None:
        assert isinstance(accelerator, FakeDevice)
        accelerator.queued_ns += int(ms * MS)

    return on_device if isinstance(accelerator, FakeDevice) else clock.pass_ms


def keep_up(accelerator: Accelerator) -> None:
    """Let the device have done all its work."""
    if isinstance(accelerator, FakeDevice):
        accelerator.done_ns = accelerator.queued_ns


def written(folder: Path) -> list[tuple[int, int, int, int]]:
    """Return start and end in ms, count and status of every row."""
    return [((start - 1000) // MS, (end - 1000) // MS, count, status) for start, end, count, _, status in rows(folder)]


def test_a_step_that_holds_an_evaluation_does_not_count_its_time_again(
    tmp_path: Path, make: Callable[..., Observer], accelerator: Accelerator, work: Work
) -> None:
    observer = make(accelerator=accelerator)
    for index, _ in enumerate(observer.iterate([TRAIN] * 4)):
        work(10)
        if index == 1:
            for _ in observer.iterate([VALID] * 2):
                work(3)
    assert written(tmp_path) == [
        (0, 10, 2, GOOD),
        (20, 23, 1, GOOD),
        (23, 26, 1, GOOD),
        (10, 26, 2, OVERLAPPED),
        (26, 36, 2, GOOD),
        (36, 46, 2, GOOD),
    ]


@pytest.mark.parametrize("every", [1, 2, 7])
def test_with_evaluations_in_warm_up_and_after_the_limit_is_what_was_asked_for(
    tmp_path: Path, make: Callable[..., Observer], accelerator: Accelerator, work: Work, every: int
) -> None:
    observer = make(skip=5, observations=60, accelerator=accelerator)
    with pytest.raises(StopProgram):
        for index, _ in enumerate(observer.iterate([TRAIN] * 1000)):
            work(10)
            for _ in observer.iterate([VALID] * (2 if index % every == 0 else 0)):
                work(3)
    good = [phase for *_, phase, status in rows(tmp_path) if status == GOOD]
    assert (len(good), good.count(MEASURED)) == (65, 60)
    assert good == sorted(good)


def test_a_limit_in_seconds_does_not_count_the_time_of_an_evaluation_twice(
    tmp_path: Path, make: Callable[..., Observer], accelerator: Accelerator, work: Work
) -> None:
    observer = make(skip=0, observations=None, seconds=0.05, accelerator=accelerator)
    with pytest.raises(StopProgram):
        for index in range(1000):
            for _ in observer.iterate([TRAIN]):
                work(10)
                for _ in observer.iterate([VALID] * (index % 2)):
                    work(5)
                    keep_up(accelerator)
                keep_up(accelerator)
    assert [end - start for start, end, _, status in written(tmp_path) if status == GOOD] == [10, 5, 10, 5, 10, 5, 10]


def test_of_loaders_that_take_turns_the_first_is_measured(
    tmp_path: Path, make: Callable[..., Observer], accelerator: Accelerator, work: Work
) -> None:
    observer = make(observations=3, accelerator=accelerator)
    with pytest.raises(StopProgram):
        for _ in zip(observer.iterate([TRAIN] * 9), observer.iterate([VALID] * 9), strict=True):
            work(10)
    assert written(tmp_path) == [
        (0, 10, 2, GOOD),
        (0, 10, 1, OVERLAPPED),
        (10, 20, 2, GOOD),
        (10, 20, 1, OVERLAPPED),
        (20, 30, 2, GOOD),
    ]


def test_a_pass_that_is_left_open_does_not_stand_in_the_way_of_others(
    tmp_path: Path, make: Callable[..., Observer], accelerator: Accelerator, work: Work
) -> None:
    observer = make(accelerator=accelerator)
    valid = iter(observer.iterate([VALID] * 9))
    for index, _ in enumerate(observer.iterate([TRAIN] * 6)):
        work(10)
        if index % 3 == 0:
            next(valid)
            work(1)
    assert written(tmp_path) == [
        (0, 11, 2, GOOD),
        (11, 21, 2, GOOD),
        (21, 31, 2, GOOD),
        (10, 41, 1, OVERLAPPED),
        (31, 42, 2, GOOD),
        (42, 52, 2, GOOD),
        (52, 62, 2, GOOD),
    ]


def test_a_loader_wrapped_twice_is_measured_once(
    tmp_path: Path, make: Callable[..., Observer], accelerator: Accelerator, work: Work
) -> None:
    observer = make(observations=4, accelerator=accelerator)
    with pytest.raises(StopProgram):
        for _ in observer.iterate(observer.iterate([TRAIN] * 9)):
            work(10)
    good = [row for row in written(tmp_path) if row[3] == GOOD]
    assert good == [(0, 10, 2, GOOD), (10, 20, 2, GOOD), (20, 30, 2, GOOD), (30, 40, 2, GOOD)]


@pytest.mark.parametrize("inner", [2, 20])
def test_in_a_group_no_pass_goes_on_being_recorded_once_one_reached_the_limit(
    tmp_path: Path, make: Callable[..., Observer], accelerator: Accelerator, inner: int
) -> None:
    observer, bodies = make(observations=5, world_size=2, accelerator=accelerator), 0
    for _ in observer.iterate([TRAIN] * 9):
        bodies += 1
        assert len(list(observer.iterate([VALID] * inner))) == inner
    assert bodies == 9
    assert [row[4] for row in rows(tmp_path)].count(GOOD) == 5
    assert [event for event, _ in events(tmp_path)].count("stop") == 1
    assert events(tmp_path)[-1][0] == "stop"


def test_a_group_of_one_stops_by_itself(tmp_path: Path, accelerator: Accelerator) -> None:
    config = '{"voir": {"options": {"skip": 1, "stop": 2}}}'
    files = {"MILABENCH_EVENTS": str(tmp_path / "a.data"), "MILABENCH_STEPS": str(tmp_path / "a.steps")}
    context = current({**files, "MILABENCH_CONFIG": config, "RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"})
    observer = Observer(context=context, accelerator=accelerator)
    with pytest.raises(StopProgram):
        list(observer.iterate(range(100)))
    observer.close()
    assert len(rows(tmp_path)) == 3
    assert events(tmp_path)[-1] == ("stop", {"reason": "observations"})


def test_a_loop_whose_observer_was_closed_goes_on_unrecorded(
    tmp_path: Path, make: Callable[..., Observer], accelerator: Accelerator
) -> None:
    observer, seen = make(accelerator=accelerator), list[Any]()
    for index in observer.iterate(range(6)):
        seen.append(index)
        if index == 2:
            observer.close()
    assert (seen, len(rows(tmp_path))) == ([0, 1, 2, 3, 4, 5], 2)


def test_warm_up_is_not_counted_into_a_limit_in_seconds(
    tmp_path: Path, make: Callable[..., Observer], accelerator: Accelerator, work: Work
) -> None:
    observer, bodies = make(skip=3, observations=None, seconds=0.02, accelerator=accelerator), 0
    with pytest.raises(StopProgram):
        for _ in observer.iterate([TRAIN] * 100):
            work(10)
            keep_up(accelerator)
            bodies += 1
    assert bodies == 5
    assert events(tmp_path)[-1] == ("stop", {"reason": "seconds"})
