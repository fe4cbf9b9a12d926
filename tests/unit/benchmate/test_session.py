"""Sessions: what is measured, when it ends, what is written and what is returned."""

from __future__ import annotations

import re
import sys
from array import array
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from loops import MS, FakeDevice, FakeTime, events, rows, steps
from sessions import session, taking

from benchmate.context import Context, Limit
from benchmate.device import Cpu
from benchmate.session import Session, Stop, Target
from benchmate.statistics import throughput
from benchmate.wire import MEASURED

UNDER_SUITE = {"voir": {"options": {"stop": 60}}}


def stop_of(folder: Path) -> Any:
    return next(data for event, data in events(folder) if event == "stop")


def test_every_inference_is_a_row_and_warm_up_is_apart(tmp_path: Path, clock: FakeTime) -> None:
    target = Target(infer=taking(clock, [8, 2, 2, 2]), items=4, unit="images", warmup=1)
    result = session(tmp_path, clock, target, Stop(observations=3)).run()
    begin = 1000
    assert rows(tmp_path) == [
        (begin, begin + 8 * MS, 4, 0, 0),
        (begin + 8 * MS, begin + 10 * MS, 4, 1, 0),
        (begin + 10 * MS, begin + 12 * MS, 4, 1, 0),
        (begin + 12 * MS, begin + 14 * MS, 4, 1, 0),
    ]
    assert (steps(tmp_path).unit, steps(tmp_path).clock) == ("images", "monotonic")
    assert (result.n, result.warmup, result.first_s, result.min_s, result.max_s) == (3, 1, 0.008, 0.002, 0.002)
    assert result.throughput.value == pytest.approx(2000)
    assert result.unit == "images/s"
    assert result.load_s is None


def test_it_says_what_an_observer_says_in_the_same_order(tmp_path: Path, clock: FakeTime) -> None:
    session(tmp_path, clock, Target(infer=taking(clock, [1])), Stop(observations=4)).run()
    said = events(tmp_path)
    assert [event for event, _ in said] == ["hello", "measured", "stop"]
    assert said[0][1].items() >= {"task": "infer", "unit": "inferences", "clock": "monotonic"}.items()
    assert (said[1][1]["task"], said[1][1]["steps"]) == ("infer", 4)
    assert said[1][1]["overhead_ns"] >= 0
    assert said[2][1] == {"reason": "observations"}


def test_loading_is_in_no_inference(tmp_path: Path, clock: FakeTime) -> None:
    target = Target(infer=taking(clock, [1]), load=lambda: clock.pass_ms(500), warmup=0)
    result = session(tmp_path, clock, target, Stop(observations=2)).run()
    assert (result.load_s, result.first_s, result.warmup) == (0.5, 0.001, 0)
    assert dict(events(tmp_path))["measured"]["load_s"] == 0.5


@pytest.mark.parametrize(
    ("stop", "reason", "made"),
    [
        (Stop(observations=7), "observations", 7),
        (Stop(seconds=0.02), "seconds", 10),
        (Stop(seconds=0.0201), "seconds", 11),
        (Stop(observations=7, seconds=0.01), "seconds", 5),
        (Stop(observations=5, seconds=1), "observations", 5),
        (Stop(observations=7, seconds=0.04, need="all"), "seconds", 20),
        (Stop(observations=40, seconds=0.01, need="all"), "observations", 40),
        (Stop(observations=1000, seconds=0.01, need="all", maximum_s=0.03), "maximum", 15),
        (Stop(precision=0.02), "precision", 233),  # the first look at 4 / 0.02 inferences or more
        (Stop(precision=0.02, precision_of="p50"), "precision", 233),
        (Stop(precision=0.02, observations=300, need="all"), "precision", 300),
        (Stop(precision=0.02, observations=60), "observations", 60),
    ],
)
def test_it_ends_when_there_is_enough(tmp_path: Path, clock: FakeTime, stop: Stop, reason: str, made: int) -> None:
    result = session(tmp_path, clock, Target(infer=taking(clock, [2])), stop).run()
    assert (result.stop["reason"], stop_of(tmp_path)["reason"]) == (reason, reason)
    assert result.n == made


def test_a_precision_is_of_what_was_asked_for(tmp_path: Path, clock: FakeTime) -> None:
    """A median that is certain does not make a mean so, and the other way round."""
    slow_now_and_then = taking(clock, [1] * 24 + [200])
    result = session(
        tmp_path, clock, Target(infer=slow_now_and_then), Stop(precision=0.02, precision_of="p50", maximum_s=600)
    ).run()
    assert result.stop["reason"] == "precision"
    assert result.latency["p50"].relative_error == 0
    assert (result.throughput.relative_error or 1) > 0.02


def test_time_between_chunks_is_in_no_inference_and_in_no_limit(tmp_path: Path, clock: FakeTime) -> None:
    made = session(tmp_path, clock, Target(infer=taking(clock, [1])), Stop(seconds=0.2))
    keep = made._keep

    def slow(calls: int, phase: int) -> None:
        keep(calls, phase)
        clock.pass_ms(50)

    made._keep = slow  # type: ignore[method-assign]
    result = made.run()
    assert (result.n, result.min_s, result.max_s) == (200, 0.001, 0.001)


def test_the_suite_says_when_to_stop_and_how_many_are_warm_up(tmp_path: Path, clock: FakeTime) -> None:
    limit = Limit(skip=3, observations=4)
    target = Target(infer=taking(clock, [1]), warmup=50)
    result = session(tmp_path, clock, target, Stop(observations=1000), limit=limit, config=UNDER_SUITE).run()
    assert (result.warmup, result.n) == (3, 4)


def test_where_a_suite_says_nothing_the_script_does(tmp_path: Path, clock: FakeTime) -> None:
    limit = Limit(skip=0, observations=None)
    result = session(
        tmp_path, clock, Target(infer=taking(clock, [1])), Stop(observations=6), limit=limit, config=UNDER_SUITE
    ).run()
    assert (result.warmup, result.n) == (0, 6)


@pytest.mark.parametrize(("each_ms", "made"), [(0.5, 2000), (50, 100), (500, 20)])
def test_where_nobody_says_when_it_ends_after_100_inferences_and_a_second_or_10_s(
    tmp_path: Path, clock: FakeTime, each_ms: float, made: int
) -> None:
    assert session(tmp_path, clock, Target(infer=taking(clock, [each_ms]))).run().n == made


def test_parts_are_told_by_themselves(tmp_path: Path, clock: FakeTime) -> None:
    target = Target(
        infer=taking(clock, [5]),
        pre=lambda: clock.pass_ms(1),
        post=lambda _: clock.pass_ms(2),
        parts=True,
    )
    result = session(tmp_path, clock, target, Stop(observations=40)).run()
    columns = steps(tmp_path).columns
    assert tuple(columns) == ("start", "end", "count", "phase", "status", "pre", "infer", "post")
    assert {name: set(columns[name]) for name in ("pre", "infer", "post")} == {
        "pre": {MS},
        "infer": {5 * MS},
        "post": {2 * MS},
    }
    assert result.latency["p50"].value == pytest.approx(0.008)
    assert {name: found["p50"].value for name, found in result.parts.items()} == {
        "pre": pytest.approx(0.001),
        "infer": pytest.approx(0.005),
        "post": pytest.approx(0.002),
    }


@pytest.mark.parametrize("parts", [False, True])
def test_what_goes_before_is_handed_on_whether_parts_are_told_or_not(
    tmp_path: Path, clock: FakeTime, parts: bool
) -> None:
    seen: list[object] = []
    target = Target(
        infer=lambda text: (clock.pass_ms(1), text.upper())[1], pre=lambda: "words", post=seen.append, parts=parts
    )
    session(tmp_path, clock, target, Stop(observations=2)).run()
    assert seen == ["WORDS"] * 7


class Queue(FakeDevice):
    """A device that the host runs ahead of: what is submitted takes time only once it is waited for."""

    def __init__(self, clock: FakeTime) -> None:
        super().__init__()
        self.time = clock

    def submit(self, ms: float) -> None:
        self.queued_ns += int(ms * MS)

    def synchronize(self) -> None:
        self.time.now += self.queued_ns - self.done_ns
        super().synchronize()


def test_on_a_device_an_inference_ends_when_the_device_has_done_it(tmp_path: Path, clock: FakeTime) -> None:
    device = Queue(clock)
    target = Target(infer=lambda: device.submit(3))
    result = session(tmp_path, clock, target, Stop(observations=10), accelerator=device).run()
    assert (result.min_s, result.max_s) == (0.003, 0.003)
    assert steps(tmp_path).clock == "monotonic"


def test_on_a_device_the_inference_itself_is_timed_by_the_devices_events(tmp_path: Path, clock: FakeTime) -> None:
    device = Queue(clock)

    def infer(_: object) -> None:
        clock.pass_ms(0.5)  # of the host, to submit it
        device.submit(3)

    def pre() -> None:
        clock.pass_ms(1)
        device.submit(0.5)  # a copy that is only begun here

    target = Target(infer=infer, pre=pre, post=lambda _: device.submit(0.25), parts=True, warmup=0)
    session(tmp_path, clock, target, Stop(observations=4), accelerator=device).run()
    columns = steps(tmp_path).columns
    assert [list(columns[name]) for name in ("pre", "infer", "post")] == [[1.5 * MS] * 4, [3 * MS] * 4, [MS // 4] * 4]
    assert columns["end"][0] - columns["start"][0] == 5.25 * MS


class Lazy(Queue):
    """A device that gathers what is asked of it until it is told to begin."""

    def __init__(self, clock: FakeTime) -> None:
        super().__init__(clock)
        self.gathered_ms = 0.0

    def submit(self, ms: float) -> None:
        self.gathered_ms += ms

    def mark_step(self) -> None:
        super().submit(self.gathered_ms)
        self.gathered_ms = 0.0


def test_a_lazy_device_is_told_to_begin_before_an_inference_is_said_to_be_over(tmp_path: Path, clock: FakeTime) -> None:
    device = Lazy(clock)
    target = Target(infer=lambda: device.submit(3), parts=True)
    session(tmp_path, clock, target, Stop(observations=4), accelerator=device).run()
    assert set(steps(tmp_path).columns["infer"]) == {3 * MS}


@pytest.fixture
def imported(monkeypatch: pytest.MonkeyPatch, clock: FakeTime) -> Callable[[], Queue]:
    """Return what imports a torch that sees a device; it is installed, and nobody has imported it."""
    device = Queue(clock)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setattr("benchmate.device.has_torch", lambda: True)
    monkeypatch.setattr("benchmate.device.fetch", lambda context: device)

    def load() -> Queue:
        monkeypatch.setitem(sys.modules, "torch", ModuleType("torch"))
        return device

    return load


def test_torch_is_imported_for_no_target_that_does_without(
    tmp_path: Path, clock: FakeTime, imported: Callable[[], Queue]
) -> None:
    session(tmp_path, clock, Target(infer=taking(clock, [1])), Stop(observations=3), accelerator=None).run()
    assert "torch" not in sys.modules
    assert dict(events(tmp_path))["hello"]["device"] == "cpu"


@pytest.mark.parametrize("by", ["load", "infer"])
def test_the_device_is_waited_for_from_when_the_target_has_imported_torch(
    tmp_path: Path, clock: FakeTime, imported: Callable[[], Queue], by: str
) -> None:
    load = {"load": imported} if by == "load" else {}
    target = Target(infer=lambda: imported().submit(3), **load)
    result = session(tmp_path, clock, target, Stop(observations=10), accelerator=None).run()
    assert (result.min_s, result.max_s) == (0.003, 0.003)
    assert result.first_s == (0.003 if by == "load" else 0)
    said = events(tmp_path)
    assert [event for event, _ in said] == ["hello", "note", "data", "measured", "stop"]
    assert said[1][1]["message"].endswith("since the target imported torch")


def test_the_most_memory_of_the_device_is_said(tmp_path: Path, clock: FakeTime) -> None:
    device = Queue(clock)
    session(tmp_path, clock, Target(infer=lambda: device.submit(1)), Stop(observations=2), accelerator=device).run()
    (said,) = [data for event, data in events(tmp_path) if event == "data"]
    assert (said["task"], said["memory_peak_bytes"]) == ("main", 2**30)


def test_what_the_target_raises_comes_through_and_the_inferences_before_it_are_kept(
    tmp_path: Path, clock: FakeTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "excepthook", lambda *_: None)
    made = 0

    def infer() -> None:
        nonlocal made
        made += 1
        clock.pass_ms(1)
        if made == 30:
            raise RuntimeError("out of luck")

    with pytest.raises(RuntimeError, match="out of luck") as raised:
        session(tmp_path, clock, Target(infer=infer), Stop(observations=1000)).run()
    sys.excepthook(raised.type, raised.value, raised.tb)  # as the interpreter does
    assert len(rows(tmp_path)) == 29
    said = events(tmp_path)
    assert [event for event, _ in said] == ["hello", "measured", "error"]
    assert (said[1][1]["steps"], said[1][1]["overhead_ns"]) == (24, None)


class OutOfMemory(Queue):
    """A device that nothing can be asked of any more."""

    def infer(self) -> None:
        self.synchronize = self.event = None  # type: ignore[assignment, method-assign]
        raise MemoryError


def test_where_nothing_was_measured_the_memory_alone_is_told(tmp_path: Path, clock: FakeTime) -> None:
    device = OutOfMemory(clock)
    with pytest.raises(MemoryError):
        session(tmp_path, clock, Target(infer=device.infer), Stop(observations=9), accelerator=device).run()
    assert [event for event, _ in events(tmp_path)] == ["hello", "data"]


def test_by_hand_an_error_leaves_a_line_of_what_was_measured(
    clock: FakeTime, capsys: pytest.CaptureFixture[str]
) -> None:
    left = iter(range(45))

    def infer() -> None:
        clock.pass_ms(10)
        next(left)

    hook = sys.excepthook
    made = Session(Target(infer=infer), accelerator=Cpu(), context=Context(), clock=clock.monotonic_ns)
    with pytest.raises(StopIteration):
        made.run()
    assert sys.excepthook is hook  # a script that goes on with another one keeps nothing of it
    assert capsys.readouterr().err == "infer, broken off: 100 inferences/s ±0 % over 40 inferences\n"


def test_what_goes_after_may_run_what_the_inference_returns(tmp_path: Path, clock: FakeTime) -> None:
    target = Target(infer=lambda *_: (each for each in (1,)), post=lambda made: [clock.pass_ms(each) for each in made])
    assert session(tmp_path, clock, target, Stop(observations=5)).run().min_s == 0.001


def test_nothing_of_it_can_be_set_later(tmp_path: Path, clock: FakeTime) -> None:
    target, stop = Target(infer=taking(clock, [1])), Stop(observations=2)
    result: Any = session(tmp_path, clock, target, stop).run()
    for frozen in (target, stop, result):
        with pytest.raises(FrozenInstanceError):
            frozen.n = 3  # type: ignore[union-attr]
    with pytest.raises(ValueError, match=r"no statistic 'p42': expected one of mean, p50, .*p99.9"):
        result.too_few("p42")


def test_by_hand_it_prints_what_it_found_and_keeps_the_samples(
    clock: FakeTime, capsys: pytest.CaptureFixture[str]
) -> None:
    target = Target(infer=taking(clock, [10, 10, 10, 12]), items=2, unit="images")
    context = Context(limit=Limit())
    result = Session(
        target, stop=Stop(observations=400), accelerator=Cpu(), context=context, clock=clock.monotonic_ns
    ).run()
    said = capsys.readouterr().err
    assert said.startswith("infer: 190.476 images/s ±")
    assert "over 400 inferences\n" in said
    assert "p50 10 ms ±0 %, p90 12 ms" in said
    assert "first 10 ms" in said
    assert result.samples.work()[0] == array("q", [2] * 400)


def test_of_too_few_inferences_a_tail_is_none_and_says_why(tmp_path: Path, clock: FakeTime) -> None:
    result = session(tmp_path, clock, Target(infer=taking(clock, [1, 1.1])), Stop(observations=100)).run()
    assert result.latency["p99"].value is None
    assert result.too_few("p99") == ("100 are too few for p99: it takes 368")
    assert result.too_few("p50") is None


def test_the_numbers_are_those_a_report_makes_of_its_rows(tmp_path: Path, clock: FakeTime) -> None:
    result = session(tmp_path, clock, Target(infer=taking(clock, [3, 1, 2])), Stop(observations=90)).run()
    assert result.throughput == throughput(*steps(tmp_path).work(MEASURED))
    assert len(result.samples) == len(rows(tmp_path))


def test_what_timing_costs_is_said_where_it_is_a_part_of_the_latency(tmp_path: Path, clock: FakeTime) -> None:
    long = session(tmp_path, clock, Target(infer=taking(clock, [100])), Stop(observations=40)).run()
    assert long.harness_overhead_ns > 0
    assert "the loop that times it" not in long.describe()
    (tmp_path / "short").mkdir()
    short = session(tmp_path / "short", clock, Target(infer=taking(clock, [0.0001])), Stop(observations=40)).run()
    assert (short.overhead_share or 0) > 0.1
    assert re.search(r"the loop that times it takes [\d.]+ .?s an inference beside the call, a part", short.describe())
