"""Metrics printed as JSON lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmate.wire import decode_event, read_steps
from milabench.agent.metrics import PrintedMetrics


class Printed:
    def __init__(self, folder: Path, **limit: Any) -> None:
        self.full = 0
        self.events_path, self.steps_path = folder / "a.data", folder / "a.steps"
        request = {
            "events": str(self.events_path),
            "steps": str(self.steps_path),
            "seq": 2,
            "stop": "runner",
            "limit": {"skip": 1, "observations": 2, "seconds": None, "precision": None, **limit},
        }
        self.metrics = PrintedMetrics(request, self._reached)

    def _reached(self) -> None:
        self.full += 1

    def feed(self, *chunks: bytes) -> None:
        for chunk in chunks:
            self.metrics.feed(chunk)
        self.metrics.close()

    @property
    def events(self) -> list[tuple[int | None, str, Any]]:
        lines = self.events_path.read_bytes().splitlines() if self.events_path.exists() else []
        return [(event.seq, event.event, event.data) for line in lines if (event := decode_event(line))]


@pytest.fixture
def printed(tmp_path: Path) -> Printed:
    return Printed(tmp_path)


def test_counts_become_steps_that_follow_each_other(printed: Printed) -> None:
    printed.feed(b'{"count": 5, "unit": "MB"}\n', b'{"count": 6, "unit": "MB"}\n', b'{"count": 7, "unit": "MB"}\n')
    steps = read_steps(printed.steps_path)
    assert steps.unit == "MB"
    assert list(steps.columns["count"]) == [5, 6, 7]
    assert list(steps.columns["phase"]) == [0, 1, 1]
    assert list(steps.columns["start"])[1:] == list(steps.columns["end"])[:-1]


def test_the_wanted_amount_is_said_once(printed: Printed) -> None:
    printed.feed(*[b'{"count": 5}\n'] * 6)
    assert printed.full == 1
    assert printed.events == [(2, "stop", {"reason": "observations", "observations": 2})]


def test_a_line_cut_into_chunks_is_one_line(printed: Printed) -> None:
    printed.feed(b'{"cou', b'nt": 5', b"}\n")
    assert list(read_steps(printed.steps_path).columns["count"]) == [5]


def test_rates_become_events_and_the_first_are_warm_up(printed: Printed) -> None:
    printed.feed(b'{"rate": 1.5, "units": "GB/s"}\n{"rate": 2.5, "units": "GB/s"}\n{"task": "eval", "rate": 1}\n')
    assert [data for _, _, data in printed.events] == [
        {"rate": 1.5, "units": "GB/s", "task": "warmup"},
        {"rate": 2.5, "units": "GB/s", "task": "train"},
        {"task": "eval", "rate": 1},
    ]


def test_text_is_no_metric_and_garbage_is_kept(printed: Printed) -> None:
    printed.feed(b'hello\n{"count": 1, \n{"count": 3}')
    assert [(event, data) for _, event, data in printed.events] == [
        ("line", {"line": '{"count": 1, ', "why": "no JSON"})
    ]
    assert list(read_steps(printed.steps_path).columns["count"]) == [3]


def test_seconds_end_a_measurement_too(tmp_path: Path) -> None:
    printed = Printed(tmp_path, observations=None, seconds=0.0)
    printed.feed(*[b'{"count": 5}\n'] * 3)
    assert printed.full == 1


@pytest.mark.parametrize("count", ["NaN", "1e400", "1e30", "true", '"many"', "null"])
def test_a_count_that_is_no_number_of_items_is_refused_and_kept(printed: Printed, count: str) -> None:
    line = f'{{"count": {count}}}'
    printed.feed(f"{line}\n".encode(), b'{"count": 2}\n')
    assert printed.events == [(2, "line", {"line": line, "why": "count is no number of items"})]
    assert list(read_steps(printed.steps_path).columns["count"]) == [2]


@pytest.mark.parametrize("count", ["0", "-1", "-0.7", "0.3"])
def test_a_count_of_nothing_is_refused_and_told(printed: Printed, count: str) -> None:
    printed.feed(f'{{"count": {count}}}\n'.encode(), b'{"count": 2}\n')
    assert [data["why"] for _, _, data in printed.events] == ["count is not above 0, as a whole number"]
    assert list(read_steps(printed.steps_path).columns["count"]) == [2]


def test_lines_that_arrive_together_are_one_step(printed: Printed) -> None:
    printed.feed(b'{"count": 5}\n{"count": 6}\n', b'{"count": 7}\n')
    assert list(read_steps(printed.steps_path).columns["count"]) == [11, 7]


def test_counts_of_another_unit_are_not_added(printed: Printed) -> None:
    printed.feed(b'{"count": 5, "unit": "B"}\n{"count": 6, "unit": "images"}\n')
    assert list(read_steps(printed.steps_path).columns["count"]) == [5]
    assert printed.events[0][2]["why"] == "steps are counted in B"


def test_warm_up_is_not_in_the_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(10**9, 10**11, 10**9))  # a second passes between two chunks
    monkeypatch.setattr("milabench.agent.metrics.time.monotonic_ns", lambda: next(now))
    printed = Printed(tmp_path, skip=3, observations=None, seconds=2.0)
    printed.feed(*[b'{"rate": 1}\n'] * 8)
    assert [data for _, event, data in printed.events if event == "stop"] == [{"reason": "seconds", "observations": 2}]


def test_a_process_that_writes_its_steps_itself_is_not_counted_twice(printed: Printed) -> None:
    printed.steps_path.write_bytes(b"its own")
    printed.feed(b'{"count": 5}\n')
    assert printed.steps_path.read_bytes() == b"its own"
    assert printed.events[0][2]["why"] == "the process writes its steps itself"


def test_the_unit_of_a_rate_may_be_called_either_way(printed: Printed) -> None:
    printed.feed(b'{"rate": 1.5, "unit": "GB/s"}\n')
    assert printed.events[0][2]["units"] == "GB/s"


def test_a_line_longer_than_any_metric_is_told_and_not_kept(printed: Printed) -> None:
    long = b'{"text": "' + b"x" * (2 << 20)
    printed.feed(b'{"count": 1}\n', long, long, b'"}\n', b"y" * (3 << 20), b'\n{"count": 2}\n')
    (told,) = [data for _, event, data in printed.events if event == "line"]
    assert told["why"] == f"{2 * len(long) + 2} bytes in one line: at most 1048576 are read"
    assert told["line"] == long[:200].decode()
    assert list(read_steps(printed.steps_path).columns["count"]) == [1, 2]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b'{"count": 1, "unit": "\\ud800"}', "a unit that is no text"),
        (b'{"count": 1, "unit": "' + b"\\ud83d" * 11 + b'"}', "a unit of more than 32 bytes"),
        (b'{"count": 1, "unit": ' + b"[" * 600 + b"]" * 600 + b"}", "nested more than 100 deep"),
        (b'{"rate": 1, "x": ' + b"[" * 600 + b"NaN" + b"]" * 600 + b"}", "nested more than 100 deep"),
        (b'{"rate": 1, "x": ' + b'{"y":' * 600 + b"NaN" + b"}" * 601, "nested more than 100 deep"),
        (b'{"x": ' + b"[" * 100 + b"]" * 100 + b"}", "nested more than 100 deep"),
    ],
)
def test_what_json_can_write_and_nobody_can_keep_is_refused(printed: Printed, line: bytes, why: str) -> None:
    printed.feed(line + b"\n", b'{"count": 2}\n')
    assert printed.events == [(2, "line", {"line": line.decode(), "why": why})]
    assert list(read_steps(printed.steps_path).columns["count"]) == [2]


def test_what_is_wide_and_not_deep_is_kept(printed: Printed) -> None:
    wide = b'{"x": [' + b"[[1]], " * 1000 + b"[" * 98 + b"NaN" + b"]" * 98 + b"]}"
    printed.feed(wide + b"\n")
    ((_, event, data),) = printed.events
    assert (event, len(data["x"])) == ("data", 1001)


@pytest.mark.parametrize("key", ["rate", "count"])
def test_a_number_of_hundreds_of_digits_is_refused(printed: Printed, key: str) -> None:
    printed.feed(b'{"%s": 1%s}\n' % (key.encode(), b"0" * 400))
    ((_, event, _),) = printed.events
    assert event == "line"


def test_what_a_line_says_beside_its_count_is_kept_line_by_line(printed: Printed) -> None:
    printed.feed(
        b'{"count": 5, "unit": "MB", "loss": NaN, "mykey": 3}\n{"count": 6, "unit": "MB", "task": "t", "loss": 1}\n',
        b'{"count": 7, "unit": "MB"}\n{"task": "train", "count": 8, "unit": "MB"}\n',
        b'{"count": 9, "unit": "MB", "loss": 0.5}\n',
    )
    assert printed.events == [
        (2, "data", {"loss": None, "mykey": 3}),
        (3, "data", {"task": "t", "loss": 1}),
        (4, "data", {"loss": 0.5}),
        (5, "stop", {"reason": "observations", "observations": 2}),
    ]
    assert b'"nonfinite": ["loss"]' in printed.events_path.read_bytes().splitlines()[0]
    assert list(read_steps(printed.steps_path).columns["count"]) == [11, 15, 9]


@pytest.mark.parametrize(
    "amount", [b'"count": 0', b'"count": 6, "unit": "images"', b'"rate": "fast", "units": "B/s"', b'"rate": 3']
)
def test_what_stands_beside_an_amount_that_is_refused_is_kept_all_the_same(printed: Printed, amount: bytes) -> None:
    line = b'{"loss": NaN, %s}' % amount
    printed.feed(b'{"count": 5, "unit": "B"}\n' + line + b"\n")
    refused, kept = printed.events
    assert (refused[:2], refused[2]["line"], kept) == ((2, "line"), line.decode(), (3, "data", {"loss": None}))


def test_rates_are_in_the_unit_that_was_said_first(printed: Printed) -> None:
    printed.feed(
        b'{"rate": 3, "units": "images/s"}\n{"rate": 3000, "units": "bytes/s"}\n{"rate": 4, "unit": "bytes/s"}\n',
        b'{"rate": 5}\n{"task": "eval", "rate": 6, "units": "words/s"}\n{"rate": 7, "unit": "images/s"}\n',
    )
    assert [data["why"] for _, event, data in printed.events if event == "line"] == ["rates are in images/s"] * 2
    assert [data["rate"] for _, event, data in printed.events if event == "data"] == [3, 5, 6, 7]


def test_a_unit_of_any_length_or_of_no_text_is_named_in_a_few_letters(printed: Printed) -> None:
    printed.feed(b'{"rate": 3, "unit": "\\ud800' + b"x" * 100_000 + b'"}\n{"rate": 3, "unit": "B/s"}\n')
    assert printed.events[1][2]["why"] == f"rates are in ?{'x' * 39}"
