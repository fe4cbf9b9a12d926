"""What is told of a voirfile before voir sees it, and what is kept of what it gives."""

from __future__ import annotations

from typing import Any

import pytest

from benchmate.voirfile import NO_LIMIT, fitting, metric, plain, problems

GOOD = """
from dataclasses import dataclass
from voir import configurable

@dataclass
class Config:
    stop: int = 20
    interval: str = "1s"

@configurable
def instrument_main(ov, options: Config):
    yield ov.phases.init

def instrument_other(ov):
    yield ov.phases.init
"""


def test_a_good_voirfile_has_no_problems() -> None:
    assert problems(GOOD) == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "\nfrom data",
            "from __future__ import annotations\nfrom data",
            "line 1: `from __future__ import annotations`",
        ),
        ("stop: int = 20", "stop: Optional[int] = 20", "line 7: Config.stop is optional, which disables instrument_m"),
        ("stop: int = 20", "stop: typing.Optional[int] = 20", "line 7: Config.stop is optional"),
        ("stop: int = 20", "stop: int | None = 20", "line 7: Config.stop is optional"),
        ("stop: int = 20", "stop: Union[None, int] = 20", "line 7: Config.stop is optional"),
        ("stop: int = 20", 'stop: "int | None" = 20', "line 7: Config.stop is optional"),
        ("(ov, options: Config)", "(ov)", "line 11: instrument_main: @configurable needs two arguments"),
        ("options: Config", "options", "line 11: instrument_main: @configurable needs its second argument annotated"),
        ("options: Config", 'options: "Config"', "line 11: instrument_main: the annotation of the options is text"),
        ("@configurable", "@voir.configurable\n@other(3)", ""),
    ],
)
def test_what_voir_passes_over_in_silence_is_told_with_its_line(old: str, new: str, message: str) -> None:
    found = problems(GOOD.replace(old, new, 1))
    assert len(found) == bool(message)
    assert all(text.startswith(message) for text in found)


def test_annotations_as_text_do_no_harm_without_a_configurable() -> None:
    assert problems("from __future__ import annotations\ndef instrument_x(ov):\n    yield ov.phases.init\n") == []


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


@pytest.mark.parametrize(
    ("data", "kept"),
    [
        ({"task": "train", "rate": 3.5, "units": "x/s"}, {"task": "train", "rate": 3.5, "units": "x/s"}),
        ({"task": "train", "loss": 0.5, "batch": object()}, {"task": "train", "loss": 0.5}),
        ({"rate": 1, "$wrap": 3}, {"rate": 1}),
        ({"loss": 0.5}, None),
        ({"task": "train", "progress": (1, 2)}, None),
        ({"task": "train", "loss": object()}, None),
    ],
)
def test_a_rate_or_a_loss_with_its_task_is_a_metric(data: dict[str, Any], kept: dict[str, Any] | None) -> None:
    assert metric(data) == kept


def test_only_what_json_holds_is_kept() -> None:
    data = {"a": [1, {"b": None}], "c": {1: 2}, "d": (object(),), "$e": 1, "f": True}
    assert plain(data) == {"a": [1, {"b": None}], "f": True}


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("def instrument(ov):\n    yield ov.phases.init\n", 1),
        ("", 1),
        ("__instruments__ = {}\n", 0),
        ("from mine import instrument_all\n", 0),
        ("from mine import *\n", 0),
    ],
)
def test_a_voirfile_without_instruments_is_told(source: str, count: int) -> None:
    assert len(problems(source)) == count
