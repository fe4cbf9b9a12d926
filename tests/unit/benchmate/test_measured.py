"""What is said of a measurement at its end: what the process used meanwhile, and what measuring cost."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from loops import FakeDevice, events

from benchmate import overhead
from benchmate import usage as usage_module
from benchmate.device import Cpu
from benchmate.observe import Observer, StopProgram
from benchmate.overhead import BLOCKS, BUDGET_NS, STEPS, per_step
from benchmate.usage import Usage, usage


def measured(folder: Path) -> list[dict[str, Any]]:
    return [data for event, data in events(folder) if event == "measured"]


@pytest.mark.parametrize("accelerator", [Cpu, FakeDevice])
@pytest.mark.parametrize("skip", [0, 2])
def test_it_is_said_once_at_the_limit_before_stop(
    tmp_path: Path, make: Callable[..., Observer], accelerator: Callable[[], Any], skip: int
) -> None:
    before = time.time_ns()
    observer = make(skip=skip, observations=3, accelerator=accelerator())
    with pytest.raises(StopProgram):
        list(observer.iterate(range(9)))
    observer.close()
    assert [event for event, _ in events(tmp_path)][-2:] == ["measured", "stop"]
    (said,) = measured(tmp_path)
    assert said.keys() == {
        "task",
        "steps",
        "begin_ns",
        "end_ns",
        "wall_s",
        "cpu_s",
        "wait_s",
        "involuntary",
        "overhead_ns",
    }
    assert (said["task"], said["steps"]) == ("train", 3)
    assert before <= said["begin_ns"] <= said["end_ns"] <= time.time_ns()
    assert said["overhead_ns"] > 0


def test_a_script_that_ends_by_itself_says_it_too_and_what_comes_after_its_last_pass_is_not_in_it(
    tmp_path: Path, make: Callable[..., Observer]
) -> None:
    observer = make(skip=1)
    list(observer.iterate(range(4)))
    after = time.time_ns()
    observer.close()
    (said,) = measured(tmp_path)
    assert said["steps"] == 3
    assert said["end_ns"] <= after


@pytest.mark.parametrize("steps", [0, 2])
def test_nothing_is_said_where_nothing_was_measured(tmp_path: Path, make: Callable[..., Observer], steps: int) -> None:
    observer = make(skip=2)
    list(observer.iterate(range(steps)))
    observer.close()
    assert measured(tmp_path) == []


def test_the_cpu_time_is_that_of_the_measured_window(tmp_path: Path, make: Callable[..., Observer]) -> None:
    observer = make(skip=1, observations=2)

    def burn() -> None:
        until = time.thread_time() + 0.02
        while time.thread_time() < until:
            pass

    burn()
    with pytest.raises(StopProgram):
        for _ in observer.iterate(range(9)):
            burn()
    (said,) = measured(tmp_path)
    assert 0.04 <= said["cpu_s"] <= (said["end_ns"] - said["begin_ns"]) / 1e9 + 0.01


def look(waits_ns: dict[str, int] | None, **changes: Any) -> Usage:
    return Usage(**{"time_ns": 0, "monotonic_ns": 0, "cpu_s": 0.0, "involuntary": 0, "waits_ns": waits_ns, **changes})


@pytest.mark.parametrize(
    ("begin", "end", "waited_s"),
    [
        ({"1": 10}, {"1": 3_000_000_010}, 3.0),
        ({"1": 10, "2": 500}, {"1": 1_000_000_010}, 1.0),  # a thread has ended
        ({"1": 0}, {"1": 0, "3": 2_000_000_000}, 2.0),  # one has come
        (None, {"1": 5}, None),
        ({"1": 5}, None, None),
    ],
)
def test_waits_are_those_of_the_threads_that_live_at_the_end(
    begin: dict[str, int] | None, end: dict[str, int] | None, waited_s: float | None
) -> None:
    assert look(end).since(look(begin))["wait_s"] == waited_s


def test_differences_are_between_the_two_looks() -> None:
    begin = look({}, time_ns=90, monotonic_ns=10**9, cpu_s=1.5, involuntary=4)
    end = look({}, time_ns=20, monotonic_ns=4 * 10**9, cpu_s=3.5, involuntary=7)  # the wall clock was set back
    said = end.since(begin)
    assert said == {"begin_ns": 90, "end_ns": 20, "wall_s": 3.0, "cpu_s": 2.0, "wait_s": 0, "involuntary": 3}


def test_without_schedstat_waiting_is_not_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "77").mkdir()  # a kernel without the file
    (tmp_path / "78").mkdir()
    assert usage_module._waits(str(tmp_path)) is None
    (tmp_path / "78" / "schedstat").write_text("1200 3400 5\n")
    assert usage_module._waits(str(tmp_path)) == {"78": 3400}
    assert usage_module._waits(str(tmp_path / "none")) is None


def test_a_look_tells_of_this_process() -> None:
    first = usage()
    sum(range(200_000))
    second = usage()
    assert second.time_ns > first.time_ns
    assert second.cpu_s >= first.cpu_s > 0


@pytest.mark.parametrize("batches", [1, 4])
@pytest.mark.parametrize("accelerator", [Cpu, FakeDevice])
def test_the_calibration_is_short_and_finds_a_cost(accelerator: Callable[[], Any], batches: int) -> None:
    begun = time.thread_time_ns()
    assert 50 < per_step(accelerator(), batches) < 1_000_000
    assert time.thread_time_ns() - begun < 20 * BUDGET_NS


def test_counting_the_items_is_part_of_the_cost(tmp_path: Path, make: Callable[..., Observer]) -> None:
    class Slow:
        def __len__(self) -> int:
            until = time.perf_counter_ns() + 200_000
            while time.perf_counter_ns() < until:
                pass
            return 1

    with pytest.raises(StopProgram):
        list(make(observations=2).iterate([Slow()] * 5))
    assert measured(tmp_path)[0]["overhead_ns"] > 200_000


@pytest.mark.parametrize("batches", [2, 150, 10_000])
def test_the_calibration_takes_no_longer_for_steps_of_more_batches(
    monkeypatch: pytest.MonkeyPatch, batches: int
) -> None:
    counted = []
    monkeypatch.setattr(overhead, "_one", lambda batch: counted.append(batch) or 1)
    monkeypatch.setattr(overhead, "BUDGET_NS", 0)
    cost = per_step(Cpu(), batches)
    assert len(counted) <= BLOCKS * (STEPS + 1)
    assert cost > 10 * batches  # ns
