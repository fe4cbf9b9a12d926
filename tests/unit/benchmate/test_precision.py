"""Measurements that end when their number is precise enough."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from loops import MS, FakeDevice, FakeTime, events, rows

from benchmate.context import Context, current
from benchmate.device import Cpu
from benchmate.observations import Observations
from benchmate.observe import Observer, StopProgram
from benchmate.statistics import PRECISE_FROM, next_look, throughput
from benchmate.wire import MEASURED, WARMUP, read_steps


def uneven(seed: int = 7) -> Iterator[float]:
    """Yield the ms of steps that differ by a tenth."""
    chance = random.Random(seed)
    while True:
        yield 10 * chance.uniform(0.8, 1.2)


def run(observer: Observer, clock: FakeTime, steps: int = 10_000) -> int:
    """Make steps until the program is ended; return how many."""
    made, times = 0, uneven()
    with pytest.raises(StopProgram):
        for _ in observer.iterate([[1, 1]] * steps):
            clock.pass_ms(next(times))
            made += 1
    return made


def stop_of(folder: Path) -> Any:
    return next(data for event, data in events(folder) if event == "stop")


@pytest.mark.parametrize("precision", [0.05, 0.01])
def test_a_rate_known_well_enough_ends_the_program(
    tmp_path: Path, clock: FakeTime, make: Callable[..., Observer], precision: float
) -> None:
    observer = make(skip=3, observations=None, precision=precision)
    measured = run(observer, clock) - 3
    stop = stop_of(tmp_path)
    assert (stop["reason"], stop["observations"]) == ("precision", measured)
    found = throughput(*read_steps(tmp_path / "a.steps").work())
    assert stop["precision"] == pytest.approx(found.relative_error)
    assert stop["precision"] <= precision


def test_a_tighter_precision_takes_more_steps(tmp_path: Path, clock: FakeTime, make: Callable[..., Observer]) -> None:
    observer = make(observations=None, precision=0.004)
    assert run(observer, clock) > 2 * PRECISE_FROM


@pytest.mark.parametrize(
    ("limit", "reached"),
    [
        ({"observations": 30}, ("observations", 30)),
        ({"observations": PRECISE_FROM + 1}, ("observations", PRECISE_FROM + 1)),
        ({"observations": None, "seconds": 0.5}, ("seconds", pytest.approx(51, abs=2))),
    ],
)
def test_what_comes_first_ends_it(
    tmp_path: Path, clock: FakeTime, make: Callable[..., Observer], limit: Any, reached: Any
) -> None:
    made = run(make(precision=1e-9, **limit), clock)
    assert (stop_of(tmp_path)["reason"], made) == reached


def test_a_precision_that_is_never_reached_ends_nothing(
    tmp_path: Path, clock: FakeTime, make: Callable[..., Observer]
) -> None:
    observer, times = make(observations=None, precision=1e-9), uneven()
    for _ in observer.iterate(range(500)):
        clock.pass_ms(next(times))
    assert len(rows(tmp_path)) == 500


def test_it_is_looked_at_seldom_and_what_a_look_costs_is_in_no_step(
    tmp_path: Path, clock: FakeTime, make: Callable[..., Observer], monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []

    def slow(counts: Any, durations: Any) -> Any:
        looks.append(len(counts))
        clock.pass_ms(1000)
        return throughput(counts, durations)

    monkeypatch.setattr("benchmate.measurement.throughput", slow)
    observer = make(skip=2, observations=None, seconds=1000, precision=1e-9)
    for index in observer.iterate(range(202)):
        clock.pass_ms(index)
    expected = [PRECISE_FROM]
    while next_look(expected[-1]) <= 200:
        expected.append(next_look(expected[-1]))
    assert looks == expected
    assert [end - start for start, end, *_ in rows(tmp_path)] == [index * MS for index in range(202)]


def test_on_a_device_it_is_judged_by_what_has_passed_and_waits_for_nothing(
    tmp_path: Path, clock: FakeTime, make: Callable[..., Observer]
) -> None:
    device = FakeDevice()
    observer = make(observations=None, precision=0.05, accelerator=device)
    times, made, waited = uneven(), 0, 0
    with pytest.raises(StopProgram):
        for _ in observer.iterate([[1, 1]] * 1000):
            waited = waited or device.synchronized
            assert device.synchronized == waited
            device.done_ns = device.queued_ns - 15 * MS  # a step or two behind
            device.queued_ns += int(next(times) * MS)
            made += 1
    stop = stop_of(tmp_path)
    assert stop["reason"] == "precision"
    assert made - 4 <= stop["observations"] < made
    assert len(rows(tmp_path)) == made


@pytest.mark.parametrize("rank", [0, 1])
def test_in_a_group_the_leader_decides(
    tmp_path: Path, clock: FakeTime, make: Callable[..., Observer], rank: int
) -> None:
    observer, times = make(observations=None, precision=0.05, world_size=2, rank=rank), uneven()
    for _ in observer.iterate([[1]] * 300):
        clock.pass_ms(next(times))
    stops = [data for event, data in events(tmp_path) if event == "stop"]
    recorded = len(rows(tmp_path))
    if rank == 0:
        assert [(stop["reason"], stop["world_size"]) for stop in stops] == [("precision", 2)]
        assert recorded < 300
    else:
        assert (stops, recorded) == ([], 300)


@pytest.mark.parametrize(("accelerator", "written"), [(Cpu, 40), (FakeDevice, 0)])
def test_a_rank_that_will_be_ended_without_a_word_writes_its_losses_meanwhile(
    tmp_path: Path, make: Callable[..., Observer], accelerator: Callable[[], Any], written: int
) -> None:
    observer = make(observations=None, precision=0.05, world_size=2, rank=1, accelerator=accelerator())
    for index, _ in enumerate(observer.iterate([[1]] * 45)):
        observer.record_loss(float("nan") if index == 3 else 1.0)
        losses = [data["loss"] for event, data in events(tmp_path) if event == "data" and "loss" in data]
    assert len(losses) == written  # on a device reading them would wait for it
    assert (None in losses) == bool(written)


def test_the_environment_says_the_precision() -> None:
    config = '{"voir": {"options": {"skip": 2, "stop": {"precision": 0.02, "seconds": 60}}}}'
    limit = current({"MILABENCH_CONFIG": config}).limit
    assert (limit.skip, limit.observations, limit.seconds, limit.precision) == (2, None, 60, 0.02)
    assert Context().limit.precision is None


def observed(limit: dict[str, Any], each: Callable[[int], dict[str, Any]], most: int = 5000) -> tuple[int, Any]:
    """Add observations, a second apart, until it is enough; return how many, and what is said."""
    observations = Observations(skip=2, since_ns=0, **limit)
    for index in range(1, most):
        assert observations.add(index * 10**9, **each(index)) == (WARMUP if index <= 2 else MEASURED)
        if (stop := observations.reached(index * 10**9)) is not None:
            return index - 2, stop
    return most, None


def test_observations_told_one_by_one_are_enough_at_the_first_limit() -> None:
    def one(_: int) -> dict[str, Any]:
        return {"rate": 3.0}

    assert observed({"observations": 7, "seconds": 100}, one) == (7, {"reason": "observations", "observations": 7})
    assert observed({"observations": 7, "seconds": 4}, one) == (4, {"reason": "seconds", "observations": 4})
    assert observed({}, one, most=50) == (50, None)
    steady, stop = observed({"precision": 0.5}, one)
    assert (steady, stop) == (PRECISE_FROM, {"reason": "precision", "precision": 0.0, "observations": PRECISE_FROM})


@pytest.mark.parametrize("counted", [False, True])
def test_rates_and_counts_alike_are_measured_until_they_are_precise(counted: bool) -> None:
    times = uneven()

    def one(_: int) -> dict[str, Any]:
        ms = next(times)
        return {"count": 5, "duration_ns": int(ms * MS)} if counted else {"rate": 5000 / ms}

    rough, said = observed({"precision": 0.05}, one)
    fine, finer = observed({"precision": 0.006}, one)
    assert PRECISE_FROM <= rough < fine < 5000
    assert 0.006 >= finer["precision"] > 0
    assert said["precision"] <= 0.05
