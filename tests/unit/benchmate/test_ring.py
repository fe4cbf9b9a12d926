"""Steps that wait for a device: what is resolved when, and what of it counts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from loops import MS, FakeDevice, FakeEvent, FakeTime, events, rows

from benchmate.observe import Observer, StopProgram
from benchmate.ring import RESOLVED_AT_ONCE, Lane, Ring
from benchmate.tally import Tally
from benchmate.wire import GOOD, MEASURED, OVERLAPPED, WARMUP

Row = tuple[int, int, int, int, int]


@pytest.fixture
def device() -> FakeDevice:
    return FakeDevice()


@pytest.fixture
def written() -> list[Row]:
    return []


@pytest.fixture
def ring(clock: FakeTime, device: FakeDevice, written: list[Row]) -> Ring:
    return Ring(device, lambda *row: written.append(row))


@pytest.fixture
def lane(ring: Ring, device: FakeDevice) -> Lane:
    """Return a pass that has begun."""
    lane = Lane()
    ring.push(device.event(), lane, None)
    return lane


def step(ring: Ring, device: FakeDevice, lane: Lane, phase: int = MEASURED, status: int = GOOD) -> None:
    device.queued_ns += 4 * MS
    ring.push(device.event(), lane, 2, phase, status)


def test_a_burst_is_resolved_a_few_steps_at_a_time_until_none_is_left(
    ring: Ring, lane: Lane, device: FakeDevice, written: list[Row]
) -> None:
    for _ in range(20):
        step(ring, device, lane)
    assert (ring.resolve(), len(written)) == (0, 0)  # the start of the pass has passed, no step has
    device.done_ns = device.queued_ns
    resolved = []
    for _ in range(7):
        device.queries = 0
        resolved.append(ring.resolve() // (4 * MS))
        assert device.queries <= RESOLVED_AT_ONCE
    assert resolved == [RESOLVED_AT_ONCE] * 5 + [0, 0]
    assert len(written) == 20


def test_while_one_step_a_step_is_added_a_backlog_shrinks(
    ring: Ring, lane: Lane, device: FakeDevice, written: list[Row]
) -> None:
    for _ in range(30):
        step(ring, device, lane)
    for _ in range(11):
        step(ring, device, lane)
        device.done_ns = device.queued_ns
        ring.resolve()
    assert len(written) == 41


def test_nothing_is_waited_for_but_by_draining(ring: Ring, lane: Lane, device: FakeDevice, written: list[Row]) -> None:
    waited = device.synchronized
    for _ in range(1000):
        step(ring, device, lane)
        ring.resolve()
    assert (device.synchronized, written) == (waited, [])
    assert ring.drain() == 1000 * 4 * MS
    assert (device.synchronized, len(written)) == (waited + 1, 1000)


def test_only_good_steps_of_the_measurement_count_as_measured_time(
    ring: Ring, lane: Lane, device: FakeDevice, written: list[Row]
) -> None:
    for phase, status in ((WARMUP, GOOD), (MEASURED, OVERLAPPED), (MEASURED, GOOD)):
        step(ring, device, lane, phase, status)
    assert ring.drain() == 4 * MS
    assert len(written) == 3


def test_time_that_is_known_only_when_a_pass_ends_counts_into_a_limit_in_seconds(
    tmp_path: Path, make: Callable[..., Observer], clock: FakeTime, device: FakeDevice
) -> None:
    observer, bodies = make(observations=None, seconds=0.01, accelerator=device), 0
    with pytest.raises(StopProgram):
        for _ in range(100):
            for _ in observer.iterate([[1]] * 2):  # the device is behind until the pass ends
                device.queued_ns += 4 * MS
                bodies += 1
    assert bodies == 5  # 8 ms, 16 ms, then the next step's end finds it out
    assert events(tmp_path)[-1] == ("stop", {"reason": "seconds"})


class TwoStreams(FakeDevice):
    """Every fifth event was recorded later than one of another stream, and had passed before it."""

    def event(self) -> FakeEvent:  # type: ignore[override]
        self.events += 1
        event = super().event()
        event.at_ns -= 6 * MS if self.events % 5 == 0 else 0
        return event

    events = 0


def test_intervals_that_are_none_end_nothing_and_are_told(tmp_path: Path, make: Callable[..., Observer]) -> None:
    device = TwoStreams()
    observer = make(observations=None, precision=0.001, accelerator=device)
    for _ in observer.iterate([[1]] * 100):
        device.queued_ns += 4 * MS
        device.done_ns = device.queued_ns
    observer.close()
    odd = sum(end <= start for start, end, *_ in rows(tmp_path))
    assert odd >= 20
    (note,) = [data["message"] for event, data in events(tmp_path) if event == "note"]
    assert note.startswith(f"{odd} of 100 measured steps took no time or less by the device's events")


def test_by_hand_too_they_count_for_nothing() -> None:
    tally = Tally(unit="items")
    for start, end in ((0, 4), (4, 4), (4, 2), (2, 8)):
        tally.append(start, end, 1, MEASURED, GOOD)
    assert [list(column) for column in tally.work()] == [[1, 1], [4, 6]]
