"""What of voir's streams is written, and what the process then ends with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmate.overseer import Record, _exit_code, main
from benchmate.wire import EventWriter


@pytest.fixture
def record(tmp_path: Path) -> Record:
    return Record(EventWriter(tmp_path / "a.data"))


def written(folder: Path) -> list[tuple[str, Any]]:
    lines = [json.loads(line) for line in (folder / "a.data").read_text().splitlines()]
    return [(line["event"], line["data"]) for line in lines]


def test_what_is_given_and_then_logged_is_written_once(tmp_path: Path, record: Record) -> None:
    rate = 3.5
    record.on_given({"task": "train", "rate": rate, "batch": object()})
    record.on_log({"task": "train", "rate": rate})
    assert written(tmp_path) == [("data", {"task": "train", "rate": 3.5})]


def test_what_is_only_logged_is_written(tmp_path: Path, record: Record) -> None:
    record.on_given({"task": "train", "rate": 1.0})
    record.on_given({"task": "main", "gpudata": {"0": {"load": 0.5}}})
    record.on_log({"task": "main", "gpudata": {"0": {"load": 0.5}}})
    assert written(tmp_path)[1:] == [("data", {"task": "main", "gpudata": {"0": {"load": 0.5}}})]


def test_voir_s_events_keep_their_names(tmp_path: Path, record: Record) -> None:
    record.on_log({"$event": "phase", "$data": {"name": "init"}})
    record.on_log({"$event": "stop"})
    record.on_log({"$event": "error", "$data": {"type": "SystemExit", "message": "0"}})
    assert written(tmp_path) == [("phase", {"name": "init"}), ("stop", None)]
    assert not record.failed


def test_an_instrument_that_failed_is_an_error_and_a_failure(tmp_path: Path, record: Record) -> None:
    try:
        raise KeyError("x")
    except KeyError:
        record.on_log({"$event": "overseer_error", "$data": {"type": "KeyError", "message": "'x'"}})
    event, data = written(tmp_path)[0]
    assert (event, data["type"], data["message"]) == ("error", "KeyError", "an instrument failed: 'x'")
    assert "KeyError: 'x'" in data["trace"]
    assert record.failed


def test_what_the_script_raised_is_an_error_with_its_trace(
    tmp_path: Path, record: Record, capsys: pytest.CaptureFixture[str]
) -> None:
    assert record.fail(ValueError("boom")) == 1
    assert written(tmp_path) == [("error", {"type": "ValueError", "message": "boom", "trace": "ValueError: boom\n"})]
    assert capsys.readouterr().err == "ValueError: boom\n"


@pytest.mark.parametrize(
    ("code", "exit_code", "said"),
    [(None, 0, ""), (0, 0, ""), (3, 3, ""), (True, 1, ""), ("bad thing", 1, "bad thing\n")],
)
def test_the_script_s_own_exit_is_kept(
    code: object, exit_code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _exit_code(code) == exit_code
    assert capsys.readouterr().err == said


@pytest.mark.parametrize("argv", [[], ["-m"]])
def test_without_a_script_the_usage_is_said(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 2
    assert capsys.readouterr().err.startswith("usage: python -m benchmate.overseer")
