"""The Observer on torch's device events: a torch whose device runs behind the host, and forgives nothing."""

from __future__ import annotations

import struct
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from loops import events, rows

from benchmate import account
from benchmate.context import Context
from benchmate.device import fetch
from benchmate.observe import Observer, StopProgram

US = 1_000
MS = 1_000_000
HOUR = 3_600_000 * MS


class Stream:
    """A queue of work: what was submitted up to ``queued_ns``, and where the device is in it."""

    def __init__(self) -> None:
        self.queued_ns = self.done_ns = 0
        self.waits = self.events = 0

    def submit(self, ns: int) -> None:
        self.queued_ns += ns


def module(stream: Stream) -> types.SimpleNamespace:
    """Return a device module of torch with one device that works off a stream."""

    class Event:
        def __init__(self, *, enable_timing: bool = False) -> None:
            self.timing, self.at_ns = enable_timing, None
            stream.events += 1

        def record(self) -> None:
            self.at_ns = stream.queued_ns

        def query(self) -> bool:
            return self.at_ns is None or self.at_ns <= stream.done_ns

        def elapsed_time(self, end: Event) -> float:
            for event in (self, end):
                if not event.timing or event.at_ns is None or not event.query():
                    raise RuntimeError("both events must be recorded and completed before calculating elapsed time")
            single: float = struct.unpack("f", struct.pack("f", (end.at_ns - self.at_ns) / MS))[0]
            return single

    def synchronize() -> None:
        stream.waits += 1
        stream.done_ns = stream.queued_ns

    return types.SimpleNamespace(
        is_available=lambda: True,
        device_count=lambda: 1,
        set_device=lambda index: None,
        get_device_name=lambda index: "Fake",
        synchronize=synchronize,
        max_memory_reserved=lambda: 2**20,
        max_memory_allocated=lambda: 2**20,
        Event=Event,
    )


@pytest.fixture
def stream() -> Stream:
    return Stream()


@pytest.fixture(params=["cuda", "rocm", "xpu", "hpu"])
def accelerator(request: pytest.FixtureRequest, stream: Stream, monkeypatch: pytest.MonkeyPatch) -> Any:
    torch: Any = types.ModuleType("torch")
    torch.__version__, torch.__spec__ = "2.0", types.SimpleNamespace(name="torch")
    torch.device = lambda *parts: parts
    setattr(torch, "cuda" if request.param == "rocm" else request.param, module(stream))
    monkeypatch.setitem(sys.modules, "torch", torch)
    return fetch(request.param, Context())


def test_no_event_is_asked_before_it_has_passed_and_nothing_waits_inside_a_pass(
    tmp_path: Path, make: Callable[..., Observer], accelerator: Any, stream: Stream
) -> None:
    observer, waits = make(skip=2, accelerator=accelerator), None
    for index in observer.iterate(range(50)):
        waits = stream.waits if waits is None else waits
        assert stream.waits == waits
        stream.submit((2 + index % 3) * MS)
        stream.done_ns = max(stream.done_ns, stream.queued_ns - 17 * MS)  # a few steps behind
    made = [(end - start, phase) for start, end, _, phase, _ in rows(tmp_path)]
    assert made == [((2 + index % 3) * MS, int(index >= 2)) for index in range(50)]
    assert stream.waits == waits + 1  # once, where the pass ends


def test_a_step_records_one_event(make: Callable[..., Observer], accelerator: Any, stream: Stream) -> None:
    observer, recorded = make(accelerator=accelerator), []
    for _ in observer.iterate(range(20)):
        recorded.append(stream.events)
        stream.submit(MS)
    assert [after - before for before, after in zip(recorded, recorded[1:], strict=False)] == [1] * 19


def test_steps_are_as_long_after_hours_as_at_the_beginning(
    tmp_path: Path, make: Callable[..., Observer], accelerator: Any, stream: Stream
) -> None:
    observer = make(accelerator=accelerator)
    for pause in (0, 10 * HOUR):
        stream.submit(pause)
        for _ in observer.iterate(range(20)):
            stream.submit(1234 * US + 567)
    durations = [end - start for start, end, *_ in rows(tmp_path)]
    assert len(durations) == 40
    assert all(abs(duration - 1_234_567) <= 1 for duration in durations)


def test_the_sum_of_many_steps_is_the_time_they_took(
    tmp_path: Path, make: Callable[..., Observer], accelerator: Any, stream: Stream
) -> None:
    observer = make(observations=None, accelerator=accelerator)
    for index in observer.iterate(range(5_000)):
        stream.submit(800 * US + index % 7)
        stream.done_ns = stream.queued_ns
    found = rows(tmp_path)
    whole = sum(800 * US + index % 7 for index in range(5_000))
    assert found[-1][1] - found[0][0] == pytest.approx(whole, rel=1e-7)


@pytest.mark.parametrize("lag", [0, 40])
def test_the_limit_counts_steps_that_are_still_under_way_and_loses_none(
    tmp_path: Path, make: Callable[..., Observer], accelerator: Any, stream: Stream, lag: int
) -> None:
    observer = make(skip=5, observations=30, accelerator=accelerator)
    with pytest.raises(StopProgram):
        for _ in observer.iterate(range(100)):
            stream.submit(MS)
            stream.done_ns = max(stream.done_ns, stream.queued_ns - lag * MS)
    assert [row[3] for row in rows(tmp_path)] == [0] * 5 + [1] * 30
    assert events(tmp_path)[-1] == ("stop", {"reason": "observations"})


def test_what_the_opening_of_the_measurement_takes_of_the_device_is_in_no_step(
    tmp_path: Path, make: Callable[..., Observer], accelerator: Any, stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = account.usage

    def slow() -> Any:
        stream.submit(500 * MS)  # another program's work, meanwhile
        return look()

    monkeypatch.setattr(account, "usage", slow)
    for _ in make(skip=1, accelerator=accelerator).iterate(range(4)):
        stream.submit(MS)
    assert [end - start for start, end, *_ in rows(tmp_path)] == [MS] * 4


def test_what_a_lazy_device_has_gathered_is_submitted_before_it_is_waited_for(
    accelerator: Any, stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accelerator, "_lazy", types.SimpleNamespace(mark_step=lambda: stream.submit(MS)))
    accelerator.synchronize()
    assert stream.done_ns == MS
