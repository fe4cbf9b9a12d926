"""The codec of events, the files of steps and the frames of a pipe."""

from __future__ import annotations

import json
import math
import os
import resource
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmate.wire import (
    BASE_COLUMNS,
    COLUMNS,
    MEASURED,
    WARMUP,
    Event,
    EventWriter,
    Frames,
    StepsWriter,
    count_steps,
    decode_event,
    encode_event,
    frame,
    is_number,
    read_steps,
)

INT64 = st.integers(min_value=-(2**63), max_value=2**63 - 1)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(event=st.text(min_size=1), data=JSON, pipe=st.none() | st.text(), time_ns=INT64, seq=st.integers(0, 2**40))
@settings(max_examples=60)
def test_an_event_survives_the_codec_on_one_line(
    event: str, data: Any, pipe: str | None, time_ns: int, seq: int
) -> None:
    line = encode_event(event, data, pipe=pipe, time_ns=time_ns, seq=seq)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert decode_event(line) == Event(event=event, data=data, pipe=pipe, time_ns=time_ns, seq=seq)


@pytest.mark.parametrize(
    ("data", "written", "names"),
    [
        ({"loss": math.nan}, {"loss": None}, ("loss",)),
        ({"loss": math.inf, "step": 3}, {"loss": None, "step": 3}, ("loss",)),
        ({"a": {"b": [1.0, -math.inf]}}, {"a": {"b": [1.0, None]}}, ("a.b.1",)),
        ([math.nan], [None], ("0",)),
    ],
)
def test_numbers_json_lacks_become_null_and_are_named(data: Any, written: Any, names: tuple[str, ...]) -> None:
    event = decode_event(encode_event("data", data, time_ns=1, seq=0))
    assert event is not None
    assert (event.data, event.nonfinite) == (written, names)


@pytest.mark.parametrize("line", [b"", b"\n", b"{", b'{"event": "da', b"[1, 2]", b"3", b"\xff\xfe", b"null"])
def test_what_is_no_event_is_none(line: bytes) -> None:
    assert decode_event(line) is None


@pytest.mark.parametrize("line", [b'{"event": ' * 10_000, b"[" * 100_000, b'{"a": ' + b"1" * 10_000 + b"}"])
def test_what_no_parser_takes_is_none_too(line: bytes) -> None:
    assert decode_event(line) is None


@pytest.mark.parametrize(
    ("fields", "event"),
    [
        ({"seq": "x", "time_ns": 1.5, "pipe": 3}, Event(event="data", data=None)),
        ({"seq": True, "time_ns": [1], "pipe": {}}, Event(event="data", data=None)),
        ({"nonfinite": None}, Event(event="data", data=None)),
        ({"nonfinite": 7}, Event(event="data", data=None)),
        ({"nonfinite": "loss"}, Event(event="data", data=None)),
        ({"nonfinite": ["loss", 3, None]}, Event(event="data", data=None, nonfinite=("loss",))),
        ({"data": "text", "seq": 4, "time_ns": -1}, Event(event="data", data="text", seq=4, time_ns=-1)),
    ],
)
def test_a_field_of_another_type_counts_as_absent(fields: dict[str, Any], event: Event) -> None:
    assert decode_event(json.dumps({"event": "data", **fields}).encode()) == event


@given(line=JSON, fields=st.dictionaries(st.sampled_from(["event", "seq", "time_ns", "pipe", "nonfinite"]), JSON))
@settings(max_examples=60)
def test_no_line_raises(line: Any, fields: dict[str, Any]) -> None:
    for value in (line, fields, {**fields, "event": "data"}):
        decode_event(json.dumps(value).encode())


def test_a_bare_object_is_a_data_event_without_time_or_sequence() -> None:
    assert decode_event(b'{"rate": 3.2, "units": "GB/s"}') == Event(event="data", data={"rate": 3.2, "units": "GB/s"})


@pytest.mark.parametrize(
    ("value", "number"), [(1, True), (1.5, True), (True, False), ("1", False), (1e999, False), (10**400, False)]
)
def test_a_number_is_finite_and_no_truth_value(value: object, number: bool) -> None:
    assert is_number(value) == number


def test_a_writer_continues_the_sequence_of_its_file(tmp_path: Path) -> None:
    path = tmp_path / "a.data"
    path.write_bytes(encode_event("config", {}, time_ns=0, seq=0))
    writer = EventWriter(path, first_seq=1)
    writer.write("hello", {"pid": 1}, time_ns=5)
    writer.write("data", {"loss": 0.5}, pipe="x", time_ns=6)
    writer.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["seq"] for line in lines] == [0, 1, 2]
    assert lines[2] == {"event": "data", "data": {"loss": 0.5}, "pipe": "x", "time_ns": 6, "seq": 2}


@contextmanager
def room(size: int) -> Iterator[None]:
    """Let files grow to so many bytes: as a full disk does, the kernel takes the part of a write that has room."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_what_a_full_disk_took_half_of_costs_no_other_event(tmp_path: Path) -> None:
    path = tmp_path / "a.data"
    writer = EventWriter(path)
    writer.write("data", {"n": 0}, time_ns=5)
    for more in (20, 1, 30):  # a part of an event; then nothing but the newline, and the newline with a part
        with room(path.stat().st_size + more), pytest.raises(OSError, match="too large"):
            writer.write("data", {"n": "lost"}, time_ns=6)
    writer.write("data", {"n": 1}, time_ns=7)
    writer.write("data", {"n": 2}, time_ns=8)
    writer.close()
    events = [decode_event(line) for line in path.read_bytes().splitlines()]
    assert [(event.seq, event.data["n"]) for event in events if event] == [(0, 0), (1, 1), (2, 2)]


def test_a_file_of_steps_that_has_no_room_is_not_there_and_leaves_nothing_open(tmp_path: Path) -> None:
    with room(1000), pytest.raises(OSError, match="too large"):
        StepsWriter(tmp_path / "a.steps", unit="items", zero_ns=0)
    assert list(tmp_path.iterdir()) == []
    opened = [os.path.realpath(each) for each in Path("/proc/self/fd").iterdir()]
    assert [each for each in opened if each.startswith(str(tmp_path))] == []
    StepsWriter(tmp_path / "a.steps", unit="items", zero_ns=0).close()


@given(
    extra=st.sets(st.sampled_from(COLUMNS[5:])),
    rows=st.lists(st.lists(INT64, min_size=10, max_size=10), max_size=30),
    unit=st.text(alphabet="abcB/s %µ", max_size=12),
)
@settings(max_examples=25, deadline=None)
def test_rows_come_back_as_they_were_written_while_writing_and_after(
    extra: set[str], rows: list[list[int]], unit: str
) -> None:
    columns = BASE_COLUMNS + tuple(name for name in COLUMNS[5:] if name in extra)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.steps"
        writer = StepsWriter(path, unit=unit, clock="device", zero_ns=-7, columns=columns)
        for row in rows:
            writer.append(*row[: len(columns)])
        during, counted = read_steps(path), count_steps(path)
        writer.close()
        after = read_steps(path)
    assert during == after
    assert (after.unit, after.clock, after.zero_ns, len(after), counted) == (unit, "device", -7, len(rows), len(rows))
    assert {name: list(values) for name, values in after.columns.items()} == {
        name: [row[index] for row in rows] for index, name in enumerate(columns)
    }


def test_a_file_grows_past_the_space_it_began_with(tmp_path: Path) -> None:
    writer = StepsWriter(tmp_path / "a.steps", unit="items", zero_ns=0)
    for index in range(10_000):
        writer.append(index, index + 1, 2, MEASURED, 0)
    writer.close()
    steps = read_steps(tmp_path / "a.steps")
    assert list(steps.columns["start"]) == list(range(10_000))
    assert (tmp_path / "a.steps").stat().st_size == 64 + 10_000 * 5 * 8


def test_room_that_was_made_ahead_is_room_for_so_many_rows(tmp_path: Path) -> None:
    writer = StepsWriter(tmp_path / "a.steps", unit="items", zero_ns=0)
    written = 0
    while written < 30_000:
        room, size = writer.reserve(), (tmp_path / "a.steps").stat().st_size
        assert room > 0
        for _ in range(room):
            writer.append(written, written + 1, 3, 1, 0)
            written += 1
        assert (tmp_path / "a.steps").stat().st_size == size
        assert writer.reserve() >= room
    assert writer.written() == read_steps(tmp_path / "a.steps")
    writer.close()
    found = read_steps(tmp_path / "a.steps")
    assert list(found.columns["start"]) == list(range(written))
    assert set(found.columns["count"]) == {3}


def test_the_work_of_a_phase_is_that_of_its_good_steps(tmp_path: Path) -> None:
    writer = StepsWriter(tmp_path / "a.steps", unit="items", zero_ns=0)
    for start, end, count, phase, status in [(0, 5, 1, 0, 0), (5, 9, 2, 1, 0), (9, 12, 3, 1, 1), (12, 13, 4, 1, 0)]:
        writer.append(start, end, count, phase, status)
    assert [list(column) for column in writer.work()] == [[2, 4], [4, 1]]
    assert [list(column) for column in writer.written().work(phase=0)] == [[1], [5]]


def test_work_leaves_out_other_phases_failed_steps_and_empty_times(tmp_path: Path) -> None:
    writer = StepsWriter(tmp_path / "a.steps", unit="items", zero_ns=0)
    for row in [
        (0, 10**9, 4, WARMUP, 0),
        (0, 10**9, 8, MEASURED, 0),
        (0, 10**9, 9, MEASURED, 1),
        (5, 5, 9, MEASURED, 0),
        (0, 5 * 10**8, 8, MEASURED, 0),
    ]:
        writer.append(*row)
    writer.close()
    steps = read_steps(tmp_path / "a.steps")
    found = [[list(column) for column in steps.work(phase)] for phase in (MEASURED, WARMUP)]
    assert found == [[[8, 8], [10**9, 5 * 10**8]], [[4], [10**9]]]


@pytest.mark.parametrize("warmups", [0, 2])
@pytest.mark.parametrize("odd", [(9, 9), (9, 5), (-(2**63), 2**63 - 1), (2**63 - 1, -(2**63))])
def test_times_that_are_none_are_left_out_wherever_they_stand(
    tmp_path: Path, warmups: int, odd: tuple[int, int]
) -> None:
    writer = StepsWriter(tmp_path / "a.steps", unit="items", zero_ns=0)
    for number in range(warmups):
        writer.append(number, number + 1, 7, WARMUP, 0)
    for start, end in ((5, 9), odd, (9, 12)):
        writer.append(start, end, 2, MEASURED, 0)
    assert [list(column) for column in writer.work()] == [[2, 2], [4, 3]]


def test_work_that_is_looked_at_in_parts_is_that_of_the_whole(tmp_path: Path) -> None:
    writer = StepsWriter(tmp_path / "a.steps", unit="items", zero_ns=0)
    for number in range(40_000):
        writer.append(10 * number, 10 * number + number % 9, number, number > 20_000, number % 7 == 0)
    assert writer.work() == writer.written().work()


def test_threads_that_write_at_the_same_time_number_their_lines_one_by_one(tmp_path: Path) -> None:
    writer, before = EventWriter(tmp_path / "a.data", first_seq=5), sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=lambda: [writer.write("data", n) for n in range(1000)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    lines = (tmp_path / "a.data").read_bytes().splitlines()
    assert [json.loads(line)["seq"] for line in lines] == list(range(5, 4005))


NAMES = st.text().filter(lambda name: name not in ("bytes", "blob"))
MESSAGES = st.tuples(st.dictionaries(NAMES, JSON, max_size=3), st.none() | st.binary(max_size=50))


@given(messages=st.lists(MESSAGES, max_size=6), data=st.data())
@settings(max_examples=60)
def test_frames_come_out_whole_however_the_stream_is_cut(
    messages: list[tuple[dict[str, Any], bytes | None]], data: st.DataObject
) -> None:
    stream = b"".join(frame(message, blob) for message, blob in messages)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    frames = Frames()
    edges = [0, *cuts, len(stream)]
    received = [message for a, b in zip(edges, edges[1:], strict=False) for message in frames.feed(stream[a:b])]
    assert received == [
        message if blob is None else {**message, "bytes": len(blob), "blob": blob} for message, blob in messages
    ]


NO_FRAMES = {
    "text": b"Welcome to node7\n",
    "no object": b"\0\0\0\x02[]",
    "no JSON": b"\0\0\0\x02{x",
    "more than an object": b"\0\0\0\x04{}{}",
    "nested too deep": (200_000).to_bytes(4, "big") + b"[" * 200_000,
    "fewer raw bytes than none": frame({"bytes": -1}),
    "more raw bytes than any frame has": frame({"bytes": 1 << 40}),
    "raw bytes that are no number": frame({"bytes": True}),
}


@pytest.mark.parametrize("text", NO_FRAMES.values(), ids=NO_FRAMES)
def test_what_is_no_frame_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"no frame|property name"):
        list(Frames().feed(text))
