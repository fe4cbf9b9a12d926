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
            "limit": {"skip": 1, "observations": 2, "seconds": None, **limit},
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
    assert printed.events == [(2, "stop", {"reason": "limit", "observations": 2})]


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
    assert [(event, data) for _, event, data in printed.events] == [("line", {"line": '{"count": 1, '})]
    assert list(read_steps(printed.steps_path).columns["count"]) == [3]


def test_seconds_end_a_measurement_too(tmp_path: Path) -> None:
    printed = Printed(tmp_path, observations=None, seconds=0.0)
    printed.feed(*[b'{"count": 5}\n'] * 3)
    assert printed.full == 1
