"""The monitor's loop with readers that the test plays: what is written, when, and what a bad source does to it."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from harness import wait_until
from milabench.agent.monitor import samples
from milabench.agent.monitor.host import Host
from milabench.agent.monitor.loop import Monitor, Settings
from milabench.agent.monitor.reader import Missing, Reader, Source
from milabench.agent.monitor.tree import Tree

LONG_S = 3600.0
DECODE = json.loads


class Played:
    """A reader that does what the test says; ``let`` opens what it waits for."""

    by = "the test"

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.let = threading.Event()
        self.reads = 0

    def read(self) -> Mapping[str, Any]:
        self.reads += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        if answer == "hang":
            self.let.wait()
            return {"devices": [{"id": 9}]}
        return dict(answer)


class Slow(Host):
    """A node whose kernel takes longer to answer than its monitor is to wait between two samples."""

    def __init__(self) -> None:
        self.states: dict[str, dict[str, str]] = {}
        self.spans: list[tuple[float, float]] = []

    def read(self) -> dict[str, Any]:
        began = time.monotonic()
        time.sleep(0.15)
        self.spans.append((began, time.monotonic()))
        return {}


class Playing:
    """A monitor in a thread, at the other end of its marks."""

    def __init__(self, folder: Path, sources: list[Source], interval_s: float, host: Host | None) -> None:
        self.path = folder / f"here{samples.SUFFIX}"
        self.file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        reading, self.marks = os.pipe()
        settings = Settings(path=str(self.path), node="here", interval_s=interval_s)
        monitor = Monitor(
            settings, host or Host(lambda: Tree(folder, 1, 2), folder), sources, file=self.file, marks=reading
        )
        self.begun = threading.Event()
        self.thread = threading.Thread(target=monitor.run, args=(self.begun.set,), daemon=True)
        self.thread.start()

    def mark(self) -> None:
        os.write(self.marks, b".")

    def end(self) -> None:
        os.close(self.marks)
        self.thread.join(60)
        assert not self.thread.is_alive()

    def lines(self, event: str = "sample") -> list[dict[str, Any]]:
        return [line for line in samples.lines(self.path) if line["event"] == event]

    def data(self) -> list[dict[str, Any]]:
        return [line["data"] for line in self.lines()]


@contextmanager
def playing(folder: Path, *sources: Source, interval_s: float = LONG_S, host: Host | None = None) -> Iterator[Playing]:
    played = Playing(folder, list(sources), interval_s, host)
    assert played.begun.wait(60)
    try:
        yield played
    finally:
        if played.thread.is_alive():
            played.end()


def source(reader: Reader | Callable[[], Reader], name: str = "played") -> Source:
    return Source(name, reader if callable(reader) else lambda: reader)


@pytest.fixture(autouse=True)
def host_files(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/stat").write_text("cpu  100 0 0 900 0 0 0 0 0 0\nintr 5\n")


def test_the_first_line_says_what_is_read_and_the_second_is_a_sample(tmp_path: Path) -> None:
    with playing(tmp_path, source(Played({"devices": [{"id": 0, "load": 0.5}]}))) as played:
        first, second = samples.lines(played.path)
    assert (first["event"], first["data"]["version"], first["data"]["node"]) == ("monitor", 1, "here")
    assert first["data"]["interval_s"] == LONG_S
    assert first["data"]["sources"]["played"] == {"by": "the test"}
    assert first["data"]["sources"]["memory"] == {"missing": "/proc/meminfo is not there"}
    assert second["data"]["cpu"]["busy_s"] > 0
    assert second["data"]["devices"] == [{"id": 0, "load": 0.5}]
    assert second["data"]["own_cpu_s"] > 0


def test_a_mark_is_a_sample_at_once_and_the_end_is_the_last(tmp_path: Path) -> None:
    with playing(tmp_path) as played:
        assert len(played.lines()) == 1
        played.mark()
        wait_until(lambda: len(played.lines()) == 2)
        played.end()
        assert len(played.lines()) == 3


def test_many_marks_at_once_are_few_samples(tmp_path: Path) -> None:
    with playing(tmp_path) as played:
        began = time.monotonic()
        for _ in range(300):
            played.mark()
        wait_until(lambda: len(played.lines()) >= 2)
        played.end()
        assert len(played.lines()) <= 3 + (time.monotonic() - began) / 0.1


def test_samples_come_at_the_interval(tmp_path: Path) -> None:
    with playing(tmp_path, interval_s=0.2) as played:
        wait_until(lambda: len(played.lines()) >= 4)
    times = [line["time_ns"] / 1e9 for line in played.lines()[:-1]]  # the last is of the end
    assert all(after - before >= 0.1 for before, after in zip(times, times[1:], strict=False))


def test_where_samples_take_longer_than_the_interval_the_end_is_seen_and_the_machine_left_alone_between_them(
    tmp_path: Path,
) -> None:
    host, took = Slow(), []
    with playing(tmp_path, interval_s=0.1, host=host) as played:
        wait_until(lambda: len(played.lines()) >= 4)
        played.end()  # and waits for it
        took = host.spans[:-1]  # the last is of the end
    assert all(after[0] - before[1] >= 0.1 for before, after in pairwise(took))


def test_a_source_that_hangs_delays_neither_samples_nor_another_source_and_its_gap_shows(tmp_path: Path) -> None:
    hung, well = Played({"devices": [{"id": 9}]}, "hang", {"devices": [{"id": 9}]}), Played({"power": {"ipmi_w": 7.0}})
    with playing(tmp_path, source(hung, "hung"), source(well, "well")) as played:
        for count in (2, 3, 4):
            played.mark()
            wait_until(lambda count=count: len(played.lines()) == count)  # type: ignore[misc]
        data = played.data()
        assert data[0]["devices"] == [{"id": 9}]
        assert ["devices" in each for each in data[1:]] == [False] * 3
        assert [each["power"]["ipmi_w"] for each in data] == [7.0] * 4


def test_a_late_answer_stands_in_the_next_sample_and_says_how_late_it_is(tmp_path: Path) -> None:
    slow = Played({"devices": [{"id": 9}]}, "hang", {})
    of = source(slow)
    with playing(tmp_path, of) as played:
        played.mark()
        wait_until(lambda: len(played.lines()) == 2)
        assert "devices" not in played.data()[1]
        slow.let.set()
        wait_until(lambda: of._answers)
        played.mark()
        wait_until(lambda: len(played.lines()) == 3)
    (device,) = played.data()[2]["devices"]
    assert device["late_s"] > 0


def test_a_source_that_fails_later_and_comes_back_says_both_once(tmp_path: Path) -> None:
    there, away = {"devices": [{"id": 0}]}, Missing("its cable is out")
    with playing(tmp_path, source(Played(there, away, away, there))) as played:
        for count in (2, 3, 4):
            played.mark()
            wait_until(lambda count=count: len(played.lines()) == count)  # type: ignore[misc]
    assert [line["data"] for line in played.lines("source")] == [
        {"name": "played", "missing": "its cable is out"},
        {"name": "played", "by": "the test"},
    ]
    assert ["devices" in each for each in played.data()[:4]] == [True, False, False, True]


def test_a_source_that_cannot_be_begun_is_named_with_the_reason_and_not_asked_again(tmp_path: Path) -> None:
    begun: list[int] = []

    def begin() -> Reader:
        begun.append(1)
        raise Missing("there is no driver")

    with playing(tmp_path, source(begin)) as played:
        played.mark()
        wait_until(lambda: len(played.lines()) == 2)
    (header,) = played.lines("monitor")
    assert header["data"]["sources"]["played"] == {"missing": "there is no driver"}
    assert begun == [1]


def test_whatever_a_driver_raises_is_said_and_ends_nothing(tmp_path: Path) -> None:
    with playing(tmp_path, source(Played(ZeroDivisionError("in a library")))) as played:
        played.mark()
        wait_until(lambda: len(played.lines()) == 2)
    (header,) = played.lines("monitor")
    assert "ZeroDivisionError: in a library" in header["data"]["sources"]["played"]["missing"]


def test_on_a_full_disk_samples_are_dropped_and_later_ones_are_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, full = os.write, threading.Event()

    def filled(file: int, content: bytes) -> int:
        if b'"sample"' not in content or not full.is_set():
            return write(file, content)
        full.clear()
        return write(file, content[:20])

    with playing(tmp_path) as played:
        monkeypatch.setattr(os, "write", filled)
        full.set()
        played.mark()
        wait_until(lambda: not full.is_set())
        played.mark()
        wait_until(lambda: len(played.lines()) == 2)
    assert len(played.path.read_bytes().splitlines()) == 5  # header, first, half of one, whole, last
    assert len(played.lines()) == 3


# Reading --------------------------------------------------------------------------------------------------------------


def line(time_ns: int, **data: Any) -> str:
    return json.dumps({"event": "sample", "time_ns": time_ns, "data": data}) + "\n"


def test_the_latest_sample_is_that_of_now_or_none(tmp_path: Path) -> None:
    path = tmp_path / "n.monitor.jsonl"
    assert samples.latest(path) == {}
    path.write_text(line(1_000_000_000, a=1) + line(2_000_000_000, a=2))
    assert samples.latest(path, now_ns=3_000_000_000) == {"a": 2}
    assert samples.latest(path, now_ns=60_000_000_000) == {}


def test_samples_that_are_far_apart_stay_of_use_longer(tmp_path: Path) -> None:
    path = tmp_path / "n.monitor.jsonl"
    path.write_text(line(0, a=1) + line(60_000_000_000, a=2))
    assert samples.latest(path, now_ns=150_000_000_000) == {"a": 2}
    assert samples.latest(path, now_ns=300_000_000_000) == {}


@pytest.mark.parametrize(
    "torn", ['{"event": "sample", "time', "[]\n", '{"event": "sample"}\n', "\0\0\n", "[" * 100_000]
)
def test_what_is_torn_is_passed_over(tmp_path: Path, torn: str) -> None:
    path = tmp_path / "n.monitor.jsonl"
    path.write_text(line(1, a=1) + torn + "\n" + line(2, a=2) + torn)
    assert [each["data"]["a"] for each in samples.lines(path)] == [1, 2]


@pytest.mark.parametrize("length", [0, 4000, 4096, 10_000, 100_000])
def test_the_latest_sample_is_found_however_long_lines_are(tmp_path: Path, length: int) -> None:
    path = tmp_path / "n.monitor.jsonl"
    longer = "x" * length
    path.write_text(line(1, a=1, x=longer) + line(2, a=2, x=longer) + '{"event": "source"}\n' + "[" * length + '{"ev')
    assert samples.latest(path, now_ns=3) == {"a": 2, "x": longer}
    path.write_text(line(1, a=1, x=longer))
    assert samples.latest(path, now_ns=3) == {"a": 1, "x": longer}


def test_of_a_long_file_no_more_is_read_than_the_latest_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "n.monitor.jsonl"
    path.write_text("".join(line(number, a=number) for number in range(1, 10_000)))
    parsed: list[bytes] = []
    monkeypatch.setattr(samples.json, "loads", lambda text: parsed.append(text) or DECODE(text))
    assert samples.latest(path, now_ns=10_000) == {"a": 9999}
    assert len(parsed) <= 4
