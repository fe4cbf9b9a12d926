"""The files of a process as they grow, are sealed, and are replaced by another attempt's."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmate.wire import GOOD, MEASURED, OVERLAPPED, WARMUP, EventWriter, StepsWriter, encode_event
from milabench.follow import Follower, Progress
from milabench.follow.columns import Columns
from milabench.outcome import Exit
from milabench.plan.types import Command, Plan
from milabench.record import Record
from milabench.rundir import Files
from milabench.suite.types import Limit

S = 10**9
TRAIN = {"task": "train", "rate": 10.0, "units": "items/s"}


@dataclass
class Written:
    """A process's files, written as a process does."""

    folder: Path
    tag: str = "bench.D0"

    def __post_init__(self) -> None:
        self.follower = Follower(lambda tag: Files.of(self.folder, tag))
        self.follower.follow(self.tag, Limit(skip=2, observations=10))

    @property
    def files(self) -> Files:
        return Files.of(self.folder, self.tag)

    def append(self, content: bytes) -> None:
        with self.files.events.open("ab") as file:
            file.write(content)

    def event(self, name: str, data: object) -> None:
        self.append(encode_event(name, data, time_ns=5 * S, seq=0))

    def steps(self, rows: list[tuple[int, ...]], rank: int = 0) -> None:
        name = f"{self.tag}.rank{rank}.steps" if rank else f"{self.tag}.steps"
        writer = StepsWriter(self.folder / name, unit="items", zero_ns=0)
        for row in rows:
            writer.append(*row)
        writer.close()

    def read(self) -> Progress:
        while self.follower.turn():
            pass
        return self.follower.progress()[0]


@pytest.fixture
def written(tmp_path: Path) -> Written:
    return Written(tmp_path)


def regular(count: int, *, skip: int = 2, seconds: float = 0.1, items: int = 8) -> list[tuple[int, ...]]:
    length = int(seconds * S)
    return [(n * length, (n + 1) * length, items, WARMUP if n < skip else MEASURED, GOOD) for n in range(count)]


def test_a_process_without_files_waits(written: Written) -> None:
    assert written.read() == Progress(tag="bench.D0", limit=Limit(skip=2, observations=10))


def test_events_tell_when_it_started_its_loss_its_memory_and_how_it_ended(written: Written) -> None:
    written.event("config", {"name": "bench"})
    written.event("start", {"time": 100.0})
    assert (written.read().stage, written.read().started) == ("starting", 100.0)
    written.event("hello", {"pid": 4711})
    written.event("data", {"task": "train", "loss": 2.5, "step": 1})
    written.event("data", {"task": "main", "memory_peak_bytes": 1 << 30, "device": "gpu"})
    found = written.read()
    assert (found.pid, found.loss, found.memory_peak_bytes) == (4711, 2.5, 1 << 30)
    written.event("stop", {"reason": "observations"})
    assert written.read().stage == "stopping"
    written.event("end", {"outcome": "early_stop", "reason": "enough", "time": 160.0, "max_rss_bytes": 5})
    found = written.read()
    assert found.outcome is not None
    assert (found.stage, found.outcome.kind, found.outcome.reason) == ("ended", "early_stop", "enough")
    assert (found.seconds(1000.0), found.memory_peak_bytes) == (60.0, 1 << 30)


def test_a_loss_that_is_no_number_is_none(written: Written) -> None:
    written.event("data", {"loss": 2.5})
    written.event("data", {"loss": float("nan")})
    assert written.read().loss is None


def test_an_end_that_the_process_itself_writes_ends_nothing(written: Written) -> None:
    written.event("end", {"time": 3})
    assert written.read().outcome is None


def test_garbage_bad_text_and_lines_of_megabytes_are_counted_and_harm_nothing(written: Written) -> None:
    written.event("data", {"loss": 3.0})
    written.append(b"Traceback\n\xff\xfe\x00\n\n" + b"y" * 3_000_000 + b"\n" + b'{"event": {"a": 1}, "data": {}}\n')
    written.append(b'{"event": "data", "data": 7}\n{"event": "start", "data": {"time": "now"}}\n')
    written.event("data", {"loss": 1.0})
    found = written.read()
    assert (found.loss, found.bad_lines, found.stage) == (1.0, 3, "waiting")


def test_rates_that_a_script_writes_itself_are_its_steps(written: Written) -> None:
    written.event("data", {**TRAIN, "task": "warmup", "rate": 1.0})
    assert (written.read().stage, written.read().steps) == ("warm-up", 1)
    for rate in (10.0, 20.0, 30.0):
        written.event("data", {**TRAIN, "rate": rate})
    written.event("data", {**TRAIN, "rate": None})
    found = written.read()
    assert (found.stage, found.steps, found.measured, found.wanted) == ("measuring", 4, 3, 12)
    assert (found.rate, found.unit, found.last_step) == (20.0, "items/s", 5.0)


def test_rates_in_another_unit_than_the_first_are_passed_over(written: Written) -> None:
    for rate, units in ((3.0, "items/s"), (3000.0, "bytes/s"), (5.0, "items/s")):
        written.event("data", {**TRAIN, "rate": rate, "units": units})
    found = written.read()
    assert (found.measured, found.rate, found.rate_now, found.unit) == (2, 4.0, 4.0, "items/s")


def test_steps_tell_phase_rates_and_the_share_that_is_done(written: Written) -> None:
    written.steps(regular(1))
    assert (written.read().stage, written.read().rate) == ("warm-up", None)
    (written.folder / "bench.D0.steps").unlink()
    written.steps(regular(6))
    found = written.read()
    assert (found.stage, found.steps, found.measured, found.wanted, found.share) == ("measuring", 6, 4, 12, 0.5)
    assert (found.rate, found.rate_now, found.unit) == (pytest.approx(80.0), pytest.approx(80.0), "items/s")
    assert (found.measured_s, found.last_step) == (pytest.approx(0.4), pytest.approx(0.6))


def test_overlapped_steps_count_for_nothing(written: Written) -> None:
    rows = [*regular(4), (4 * S, 5 * S, 1000, MEASURED, OVERLAPPED), (9 * S, 9 * S, 1000, MEASURED, GOOD)]
    written.steps(rows)
    found = written.read()
    assert (found.steps, found.rate, found.rate_now) == (4, pytest.approx(80.0), pytest.approx(80.0))


def test_the_rate_now_is_that_of_the_last_seconds_even_where_all_is_read_at_once(written: Written) -> None:
    slow = [(n * S, (n + 1) * S, 8, MEASURED, GOOD) for n in range(100)]
    fast = [(100 * S + n * S // 10, 100 * S + (n + 1) * S // 10, 8, MEASURED, GOOD) for n in range(100)]
    written.steps(slow + fast)
    found = written.read()
    assert found.rate_now == pytest.approx(80.0)
    assert found.rate == pytest.approx(200 * 8 / 110)


def test_a_group_counts_what_all_its_ranks_do(written: Written) -> None:
    written.steps(regular(6, items=8))
    written.steps(regular(5, items=4), rank=1)
    written.steps(regular(7, items=4), rank=2)
    for _ in range(4):  # a further rank is found a turn
        found = written.read()
    assert (found.steps, found.rate, found.rate_now) == (6, pytest.approx(160.0), pytest.approx(160.0))


def test_half_made_steps_files_are_waited_for(written: Written) -> None:
    path = written.files.steps
    for content in (b"", b"BMSTEPS\0", b"nonsense" * 20):
        path.write_bytes(content)
        assert written.read().steps == 0
    path.unlink()
    written.steps(regular(3))
    assert written.read().steps == 3


def test_what_seal_puts_in_place_is_read_on_and_counts_nothing_twice(tmp_path: Path) -> None:
    plan = Plan(phase="run", trials=())
    run = Record.create(tmp_path / "run", plan=plan, facts={}, suite={})
    command = Command(tag="bench.D0", benchmark="bench", node="local", argv=("x",), cwd="/")
    written = Written(run.path)
    seq = run.begin(command, {"name": "bench"})
    events = EventWriter(written.files.events, first_seq=seq)
    for rate in range(300):
        events.write("data", {**TRAIN, "rate": float(rate)})
    written.steps(regular(6))
    assert written.read().steps == 6
    run.seal(command, Exit(tag="bench.D0", code=0, seconds=3.0))
    found = written.read()
    assert (found.stage, found.steps, found.measured) == ("ended", 6, 4)
    assert written.follower._followed["bench.D0"]._events.restarts == 0


def test_rates_of_a_script_count_once_where_seal_puts_the_file_in_place(tmp_path: Path) -> None:
    run = Record.create(tmp_path / "run", plan=Plan(phase="run", trials=()), facts={}, suite={})
    command = Command(tag="bench.D0", benchmark="bench", node="local", argv=("x",), cwd="/", metrics="stdout")
    written = Written(run.path)
    events = EventWriter(written.files.events, first_seq=run.begin(command, {}))
    for _ in range(2000):
        events.write("data", TRAIN)
    written.follower.turn()
    run.seal(command, Exit(tag="bench.D0", code=0))
    assert written.read().measured == 2000


def test_a_further_attempt_under_the_same_name_is_read_from_its_beginning(written: Written) -> None:
    written.event("start", {"time": 1.0})
    written.event("data", {"loss": 9.0})
    written.steps(regular(9))
    assert (written.read().steps, written.read().loss) == (9, 9.0)
    attempt = written.folder / "attempts" / "1"
    attempt.mkdir(parents=True)
    for path in (written.files.events, written.files.steps):
        path.rename(attempt / path.name)
    assert written.read().steps == 9  # nothing new is there: what is known stays
    written.event("start", {"time": 50.0})
    found = written.read()
    assert (found.steps, found.loss, found.started, found.stage) == (0, None, 50.0, "starting")
    written.steps(regular(3))
    assert written.read().steps == 3


def test_a_file_that_is_cut_short_is_read_anew(written: Written) -> None:
    for _ in range(50):
        written.event("data", TRAIN)
    assert written.read().measured == 50
    os.truncate(written.files.events, 0)
    written.event("data", TRAIN)
    assert written.read().measured == 1


def test_no_chatty_process_starves_another(tmp_path: Path) -> None:
    written = Written(tmp_path)
    line = encode_event("data", TRAIN, time_ns=1, seq=1)
    written.append(line * 20_000)
    quiet = Files.of(tmp_path, "quiet")
    quiet.events.write_bytes(line)
    written.follower.follow("quiet")
    assert written.follower.turn() is True
    chatty, other = written.follower.progress()
    assert other.measured == 1
    assert 0 < chatty.measured < 20_000


def test_a_turn_reads_so_many_processes_at_most_and_the_others_next(tmp_path: Path) -> None:
    follower = Follower(lambda tag: Files.of(tmp_path, tag))
    for number in range(10):
        Files.of(tmp_path, f"p{number}").events.write_bytes(encode_event("data", TRAIN, time_ns=1, seq=1))
        follower.follow(f"p{number}")
    seen = []
    for _ in range(3):
        follower.turn(at_once=4)
        seen.append(sum(each.measured for each in follower.progress()))
    assert seen == [4, 8, 10]
    follower.leave(["p0"])
    assert [each.tag for each in follower.progress()] == [f"p{number}" for number in range(1, 10)]


@given(
    cuts=st.lists(st.integers(1, 90), min_size=1, max_size=40),
    count=st.integers(1, 60),
    garbage=st.lists(st.sampled_from([b"noise\n", b"\xff\n", b"{\n", b"[]\n"]), max_size=5),
)
@settings(max_examples=30, deadline=None)
def test_every_record_arrives_once_however_writes_and_reads_meet(
    tmp_path_factory: Any, cuts: list[int], count: int, garbage: list[bytes]
) -> None:
    written = Written(tmp_path_factory.mktemp("cut"))
    lines = [encode_event("data", TRAIN, time_ns=n, seq=n) for n in range(count)]
    for place, line in enumerate(garbage):
        lines.insert(place * 7 % len(lines), line)
    content, place = b"".join(lines), 0
    while place < len(content):
        size = cuts[place % len(cuts)]
        written.append(content[place : place + size])
        place += size
        written.follower.turn()
    found = written.read()
    assert (found.measured, found.events, found.bad_lines) == (count, count, len(garbage))


@given(
    rows=st.lists(
        st.tuples(
            st.integers(-(2**63), 2**63 - 1),
            st.integers(-(2**63), 2**63 - 1),
            st.integers(-(2**63), 2**63 - 1),
            st.integers(0, 1),
            st.integers(0, 1),
        ),
        max_size=40,
    ),
    cut=st.integers(0, 40),
)
@settings(max_examples=30, deadline=None)
def test_rows_add_up_however_they_come_and_whatever_they_hold(
    tmp_path_factory: Any, rows: list[tuple[int, ...]], cut: int
) -> None:
    path = tmp_path_factory.mktemp("rows") / "a.steps"
    columns = Columns(path)
    writer = StepsWriter(path, unit="items", zero_ns=0)
    for number, row in enumerate(rows):
        if number == cut:
            columns.read()
        writer.append(*row)
    columns.read()
    writer.close()
    columns.read()
    good = [row for row in rows if row[4] == GOOD and row[1] > row[0]]
    measured = [row for row in good if row[3] == MEASURED]
    assert (columns.steps, columns.measured) == (len(good), len(measured))
    assert columns.items == sum(row[2] for row in measured)
    assert columns.busy_ns == sum(row[1] - row[0] for row in measured)
