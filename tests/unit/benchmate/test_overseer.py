"""What of voir's streams is written, and what the process then ends with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmate.configured import NO_LIMIT, ConfigurationError, check, fitting
from benchmate.context import Context
from benchmate.overseer import Record, _exit_code, _split, main
from benchmate.probes import ProbeError
from benchmate.reported import METRIC, Reported
from benchmate.stopping import StopProgram
from benchmate.wire import EventWriter


@pytest.fixture
def record(tmp_path: Path) -> Record:
    return Record(Reported(Context(), EventWriter(tmp_path / "a.data")))


def written(folder: Path) -> list[tuple[str, Any]]:
    lines = [json.loads(line) for line in (folder / "a.data").read_text().splitlines()]
    return [(line["event"], line["data"]) for line in lines]


def test_what_is_given_and_then_logged_is_written_once(tmp_path: Path, record: Record) -> None:
    loss = 3.5
    record.on_given({"task": "train", "loss": loss, "batch": object()})
    record.on_log({"task": "train", "loss": loss})
    assert written(tmp_path) == [("data", {"task": "train", "loss": 3.5})]


def test_what_is_only_logged_is_written(tmp_path: Path, record: Record) -> None:
    record.on_given({"task": "train", "rate": 1.0})
    record.on_given({"task": "main", "gpudata": {"0": {"load": 0.5}}})
    record.on_log({"task": "main", "gpudata": {"0": {"load": 0.5}}})
    assert written(tmp_path)[1:] == [("data", {"task": "main", "gpudata": {"0": {"load": 0.5}}})]


@pytest.mark.parametrize(
    ("data", "kept"),
    [
        ({"loss": 0.5}, False),
        ({"task": "train", "progress": (1, 2)}, False),
        ({"task": "train", "loss": 0.5}, True),
        ({"rate": 0.5}, True),
        ({"temperature": 30, METRIC: True}, True),
        ({"rate": 0.5, "$event": "other"}, False),
    ],
)
def test_of_what_is_given_metrics_are_written(tmp_path: Path, record: Record, data: dict[str, Any], kept: bool) -> None:
    record.on_given(data)
    assert len(written(tmp_path)) == kept


def test_voir_s_events_keep_their_names(tmp_path: Path, record: Record) -> None:
    record.on_log({"$event": "phase", "$data": {"name": "init"}})
    record.on_log({"$event": "error", "$data": {"type": "SystemExit", "message": "0"}})
    with pytest.raises(StopProgram):
        record.on_log({"$event": "stop"})
    assert written(tmp_path) == [("phase", {"name": "init"}), ("stop", {"reason": "voirfile"})]
    assert not record.failed


def test_an_instrument_that_failed_is_an_error_and_a_failure(tmp_path: Path, record: Record) -> None:
    try:
        raise KeyError("x")
    except KeyError as error:
        record.on_instrument_error(error)
    event, data = written(tmp_path)[0]
    assert (event, data["type"], data["message"]) == ("error", "KeyError", "an instrument failed: KeyError: 'x'")
    assert "KeyError: 'x'" in data["trace"]
    assert record.failed


def test_a_mistake_in_a_voirfile_is_told_without_a_traceback(
    tmp_path: Path, record: Record, capsys: pytest.CaptureFixture[str]
) -> None:
    record.on_instrument_error(ProbeError("voirfile.py:3: //f > x: f() has no variable `x`"))
    assert capsys.readouterr().err == "overseer: voirfile.py:3: //f > x: f() has no variable `x`\n"
    assert written(tmp_path)[0][1]["trace"] == ""


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


@pytest.mark.parametrize(
    ("argv", "options", "target", "arguments"),
    [
        ("{main} --a b.py", "", "{main}", "--a b.py"),
        ("--x 1 {main} --a", "--x 1", "{main}", "--a"),
        ("-m package.part -m x", "", "-m package.part", "-m x"),
        ("--x 1 -m package --a", "--x 1", "-m package", "--a"),
        ("nowhere.py --a", "", "nowhere.py", "--a"),
    ],
)
def test_options_of_the_voirfile_come_before_the_script(
    tmp_path: Path, argv: str, options: str, target: str, arguments: str
) -> None:
    script = tmp_path / "main.py"
    script.touch()
    words = [text.format(main=script).split() for text in (argv, options, target, arguments)]
    assert _split(words[0]) == tuple(words[1:])


@pytest.mark.parametrize(
    ("block", "observations", "kept", "ignored"),
    [
        ({"stop": 60, "skip": 5}, 60, {"stop": 60}, ["skip"]),
        ({"stop": {"observations": 7, "seconds": 3}}, 7, {"stop": 7}, []),
        ({"stop": None, "interval": None}, None, {"stop": NO_LIMIT}, []),
        ({"interval": "1s", "gpu_poll": 2}, 60, {"interval": "1s"}, ["gpu_poll"]),
    ],
)
def test_an_options_class_gets_what_it_has_fields_for(
    block: dict[str, Any], observations: int | None, kept: dict[str, Any], ignored: list[str]
) -> None:
    assert fitting(block, {"stop", "interval"}, observations) == (kept, ignored)


def test_an_options_class_must_be_a_dataclass() -> None:
    with pytest.raises(ConfigurationError, match="str is no dataclass"):
        check(str)
