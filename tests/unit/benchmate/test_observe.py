"""The Observer on a clock that only the loop's body moves."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from loops import MS, FakeDevice, FakeTime, events, rows, steps

from benchmate.batches import counter
from benchmate.context import Context, ContextError, Limit
from benchmate.device import Cpu
from benchmate.observe import Observer, StopProgram
from benchmate.wire import StepsWriter


class Loss:
    """A value that remembers whether it was detached, and when it was read."""

    def __init__(self, value: float, reads: list[float]) -> None:
        self.value, self.reads, self.detached = value, reads, False

    def detach(self) -> Loss:
        copy = Loss(self.value, self.reads)
        copy.detached = True
        return copy

    def __float__(self) -> float:
        assert self.detached
        self.reads.append(self.value)
        return self.value


class SlowLoader:
    """Batches of two items; making the iterator takes 7 ms, each batch 3 ms."""

    def __init__(self, clock: FakeTime, batches: int) -> None:
        self.clock, self.batches = clock, batches

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[list[int]]:
        self.clock.pass_ms(7)
        for _ in range(self.batches):
            self.clock.pass_ms(3)
            yield [1, 2]


def test_steps_hold_the_wait_for_the_loader_but_not_the_first_batch_of_a_pass(
    tmp_path: Path, clock: FakeTime, make: Callable[..., Observer]
) -> None:
    observer = make(skip=1)
    loader = observer.iterate(SlowLoader(clock, 3))
    for _ in range(2):
        for _ in loader:
            clock.pass_ms(10)
    begin = 1000 + 10 * MS  # iterator and first batch
    again = begin + 39 * MS + 10 * MS  # 10, then 3 + 10 twice, then what precedes the second pass
    assert rows(tmp_path) == [
        (begin, begin + 10 * MS, 2, 0, 0),
        (begin + 10 * MS, begin + 23 * MS, 2, 1, 0),
        (begin + 23 * MS, begin + 36 * MS, 2, 1, 0),
        (again - 3 * MS, again + 7 * MS, 2, 1, 0),
        (again + 7 * MS, again + 20 * MS, 2, 1, 0),
        (again + 20 * MS, again + 33 * MS, 2, 1, 0),
    ]
    assert (steps(tmp_path).unit, steps(tmp_path).clock, steps(tmp_path).zero_ns) == ("items", "monotonic", 5000)


def test_after_warm_up_and_observations_the_loop_is_left_after_its_body(
    tmp_path: Path, clock: FakeTime, make: Callable[..., Observer]
) -> None:
    observer = make(skip=2, observations=3)
    bodies = 0
    with pytest.raises(StopProgram):
        for _ in observer.iterate(range(100)):
            clock.pass_ms(1)
            bodies += 1
    assert bodies == 5
    assert [row[3] for row in rows(tmp_path)] == [0, 0, 1, 1, 1]
    assert events(tmp_path)[-1] == ("stop", {"reason": "observations"})


def test_a_limit_in_seconds_counts_measured_time_only(
    tmp_path: Path, clock: FakeTime, make: Callable[..., Observer]
) -> None:
    observer = make(skip=1, observations=None, seconds=0.025)
    bodies = 0
    with pytest.raises(StopProgram):
        while True:
            clock.pass_ms(1000)  # between two passes
            for _ in observer.iterate([[1], [1]]):
                clock.pass_ms(10)
                bodies += 1
    assert bodies == 4  # 10 ms of warm-up, then 30 ms
    assert events(tmp_path)[-1] == ("stop", {"reason": "seconds"})


@pytest.mark.parametrize("accelerator", [Cpu, FakeDevice])
@pytest.mark.parametrize(("rank", "stops"), [(0, 1), (1, 0)])
def test_a_rank_of_a_group_goes_on_unrecorded_and_its_leader_says_stop(
    tmp_path: Path,
    make: Callable[..., Observer],
    accelerator: Callable[[], Any],
    rank: int,
    stops: int,
) -> None:
    observer = make(observations=2, world_size=2, rank=rank, accelerator=accelerator())
    assert len(list(observer.iterate(range(10)))) == 10
    assert list(observer.iterate(range(3))) == [0, 1, 2]
    assert len(rows(tmp_path)) == 2
    assert [event for event, _ in events(tmp_path)].count("stop") == stops


def test_a_leader_says_stop_when_a_step_has_been_made_after_the_last_measured_one(
    tmp_path: Path, make: Callable[..., Observer]
) -> None:
    observer, said = make(observations=2, world_size=2), []
    for _ in observer.iterate(range(5)):
        said.append([event for event, _ in events(tmp_path)].count("stop"))
    assert said == [0, 0, 0, 1, 1]
    assert events(tmp_path)[-1] == ("stop", {"reason": "observations", "world_size": 2})


def test_a_leader_whose_script_ends_first_has_said_stop_all_the_same(
    tmp_path: Path, make: Callable[..., Observer]
) -> None:
    observer = make(observations=2, world_size=2)
    assert len(list(observer.iterate(range(2)))) == 2
    observer.close()
    assert events(tmp_path)[-1][0] == "stop"


@pytest.mark.parametrize("accelerator", [Cpu, FakeDevice])
def test_an_empty_loader_makes_no_step(
    tmp_path: Path, make: Callable[..., Observer], accelerator: Callable[[], Any]
) -> None:
    assert list(make(accelerator=accelerator()).iterate([])) == []
    assert rows(tmp_path) == []


def test_a_pass_that_is_broken_off_leaves_out_the_step_it_broke(
    tmp_path: Path, clock: FakeTime, make: Callable[..., Observer]
) -> None:
    observer = make()
    for index in observer.iterate(range(10)):
        clock.pass_ms(1)
        if index == 3:
            break
    assert len(rows(tmp_path)) == 3


def test_losses_are_read_when_a_pass_ends_and_not_before(
    tmp_path: Path, clock: FakeTime, make: Callable[..., Observer]
) -> None:
    observer, reads = make(observations=5), list[float]()
    loss_of = observer.criterion(lambda value: Loss(value, reads))
    with pytest.raises(StopProgram):
        for first in (0, 3):
            for index in observer.iterate(range(first, first + 3)):
                assert len(reads) == first
                loss = loss_of(float("nan") if index == 1 else index / 2)
                assert not loss.detached
                clock.pass_ms(1)
    data = [value for event, value in events(tmp_path) if event == "data"]
    assert data == [{"task": "train", "loss": None if i == 1 else i / 2, "step": i} for i in range(5)]


def test_hello_comes_first_and_says_what_measures(tmp_path: Path, make: Callable[..., Observer]) -> None:
    make(unit="tokens", task="evaluate")
    event, data = events(tmp_path)[0]
    assert event == "hello"
    assert {key: data[key] for key in ("device", "clock", "unit", "task")} == {
        "device": "cpu",
        "clock": "monotonic",
        "unit": "tokens",
        "task": "evaluate",
    }
    place = {"rank", "local_rank", "world_size", "node", "device_id"}
    assert data.keys() == {"pid", "python", "device", "clock", "unit", "task", "libraries", *place}


def test_device_steps_are_written_once_their_events_have_passed(
    tmp_path: Path, clock: FakeTime, make: Callable[..., Observer]
) -> None:
    device = FakeDevice()
    observer = make(skip=1, accelerator=device)
    synchronized, seen = device.synchronized, []
    for index in observer.iterate([[1, 2]] * 6):
        synchronized = synchronized or device.synchronized
        seen.append(len(rows(tmp_path)))
        device.queued_ns += 4 * MS
        if index and len(seen) == 4:
            device.done_ns = 9 * MS  # two steps and a half
        assert device.synchronized == synchronized  # never inside the loop
    anchor = 1000
    assert seen == [0, 0, 0, 0, 2, 2]
    assert rows(tmp_path) == [
        (anchor + 4 * MS * i, anchor + 4 * MS * (i + 1), 2, 0 if i == 0 else 1, 0) for i in range(6)
    ]
    assert steps(tmp_path).clock == "device"


def test_time_between_two_passes_is_in_no_device_step(
    tmp_path: Path, clock: FakeTime, make: Callable[..., Observer]
) -> None:
    device = FakeDevice()
    observer = make(accelerator=device)
    for _ in range(2):
        for _ in observer.iterate([[1]] * 2):
            device.queued_ns += 1 * MS
        device.queued_ns += 50 * MS
    assert [(end - start) // MS for start, end, *_ in rows(tmp_path)] == [1, 1, 1, 1]
    assert rows(tmp_path)[2][0] - rows(tmp_path)[1][1] == 50 * MS


def test_the_device_s_peak_memory_is_written_once_before_stop(
    tmp_path: Path, clock: FakeTime, make: Callable[..., Observer]
) -> None:
    device = FakeDevice()
    observer = make(observations=2, accelerator=device)
    with pytest.raises(StopProgram):
        for _ in observer.iterate(range(5)):
            device.queued_ns += 1 * MS
    observer.close()
    memory = {
        "task": "main",
        "memory_peak_bytes": 2**30,
        "source": "torch.cuda.max_memory_reserved",
        "device": "Fake 1",
    }
    assert [event for event in events(tmp_path)[1:] if event[0] != "measured"] == [
        ("data", memory),
        ("stop", {"reason": "observations"}),
    ]


def test_a_limit_in_seconds_holds_on_a_device_once_steps_are_known(
    tmp_path: Path, clock: FakeTime, make: Callable[..., Observer]
) -> None:
    device = FakeDevice()
    observer = make(observations=None, seconds=0.01, accelerator=device)
    bodies = 0
    with pytest.raises(StopProgram):
        for _ in observer.iterate([[1]] * 100):
            device.queued_ns += 4 * MS
            device.done_ns = device.queued_ns - 4 * MS  # one step behind
            bodies += 1
    assert bodies == 4
    assert len(rows(tmp_path)) == 4


def test_closing_twice_is_closing_once(tmp_path: Path, make: Callable[..., Observer]) -> None:
    observer = make()
    observer.close()
    written = events(tmp_path)
    observer.close()
    assert events(tmp_path) == written


def test_a_second_observer_of_the_same_steps_is_refused_with_the_way_out(
    tmp_path: Path, make: Callable[..., Observer]
) -> None:
    make()
    with pytest.raises(ContextError, match="make one Observer, in the process that measures"):
        make()
    assert [event for event, _ in events(tmp_path)] == ["hello", "error"]


def test_steps_another_process_writes_are_left_alone(tmp_path: Path, make: Callable[..., Observer]) -> None:
    (tmp_path / "a.steps").write_bytes(b"another's")
    with pytest.raises(ContextError, match=r"a\.steps is there already"):
        make()
    assert (tmp_path / "a.steps").read_bytes() == b"another's"
    [(event, data)] = events(tmp_path)
    assert (event, data["type"]) == ("error", "ContextError")
    assert data["message"].startswith(str(tmp_path / "a.steps"))


def test_by_hand_nothing_is_written_but_one_line_with_the_rate(
    tmp_path: Path, clock: FakeTime, capsys: pytest.CaptureFixture[str]
) -> None:
    observer = Observer(unit="images", accelerator=Cpu(), context=Context(limit=Limit(skip=1, observations=None)))
    for _ in observer.iterate([[1, 2, 3, 4]] * 5):
        clock.pass_ms(20)
    observer.close()
    assert capsys.readouterr().err == "train: 200 images/s over 4 steps\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "kinds"), [(ValueError("bad"), ["error"]), (SystemExit(3), []), (KeyboardInterrupt(), [])]
)
def test_only_an_exception_nobody_caught_is_an_error(
    tmp_path: Path,
    make: Callable[..., Observer],
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    kinds: list[str],
) -> None:
    chained: list[BaseException | None] = []
    monkeypatch.setattr(sys, "excepthook", lambda _kind, value, _trace: chained.append(value))
    make()
    sys.excepthook(type(error), error, None)
    written = events(tmp_path)[1:]
    assert [event for event, _ in written] == kinds
    assert chained == [error]
    if written:
        assert written[0][1] == {"type": "ValueError", "message": "bad", "trace": "ValueError: bad\n"}


def test_the_loader_keeps_its_length_and_attributes(clock: FakeTime, make: Callable[..., Observer]) -> None:
    loader = make().loader(SlowLoader(clock, 3))
    assert (len(loader), loader.batches) == (3, 3)


def test_a_lazy_device_is_started_after_every_optimizer_step(make: Callable[..., Observer]) -> None:
    class Lazy(Cpu):
        arch = "hpu"  # type: ignore[misc]
        marks = 0

        def mark_step(self) -> None:
            Lazy.marks += 1

    hooks: list[Callable[..., None]] = []
    optimizer = types.SimpleNamespace(register_step_post_hook=hooks.append)
    assert make(accelerator=Lazy()).optimizer(optimizer) is optimizer
    hooks[0](optimizer, (), {})
    assert Lazy.marks == 1


class TestStopProgram:
    def test_it_ends_plain_python_with_zero(self) -> None:
        with pytest.raises(SystemExit) as caught:
            raise StopProgram
        assert caught.value.code == 0
        assert not isinstance(caught.value, Exception)

    @pytest.mark.parametrize("value", [(), ("why",)])
    def test_where_voir_is_loaded_it_is_voir_s_too_with_exactly_one_argument(
        self, monkeypatch: pytest.MonkeyPatch, value: tuple[str, ...]
    ) -> None:
        phase = types.ModuleType("voir.phase")
        voirs = phase.StopProgram = type("StopProgram", (BaseException,), {})  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "voir.phase", phase)
        with pytest.raises(voirs) as caught:
            raise StopProgram(*value)
        assert isinstance(caught.value, StopProgram)
        assert (len(caught.value.args), caught.value.code) == (1, 0)


class Tensor:
    def __init__(self, *shape: int) -> None:
        self.shape = shape


@pytest.mark.parametrize(
    ("batch", "count"),
    [
        (Tensor(8, 3), 8),
        ((Tensor(8, 3), Tensor(8)), 8),
        ([Tensor(4), Tensor(9)], 4),
        ({"input": Tensor(5, 2), "mask": Tensor(5)}, 5),
        (({"input": Tensor(6)}, Tensor(6)), 6),
        ([[1, 2, 3], [4, 5, 6]], 3),
        ([1, 2, 3], 3),
        (["a text", "another"], 2),
        ("a text", 1),
        (7, 1),
        ((), 0),
        (Tensor(), 1),
    ],
)
def test_items_are_counted_by_the_first_tensor_or_sequence(batch: object, count: int) -> None:
    assert counter(batch)(batch) == count


def test_making_room_for_more_steps_is_in_no_step(
    tmp_path: Path, clock: FakeTime, make: Callable[..., Observer], monkeypatch: pytest.MonkeyPatch
) -> None:
    grown, grow = [], StepsWriter._grow

    def slow(writer: StepsWriter, row_size: int) -> int:
        clock.pass_ms(1000)
        grown.append(clock.now)
        return grow(writer, row_size)

    monkeypatch.setattr(StepsWriter, "_grow", slow)
    for _ in make(skip=3, observations=None).iterate(range(20_000)):
        clock.pass_ms(1)
    assert len(grown) > 1
    assert {end - start for start, end, *_ in rows(tmp_path)} == {MS}
