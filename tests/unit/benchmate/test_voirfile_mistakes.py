"""What is told of a voirfile before voir sees it."""

from __future__ import annotations

import pytest

from benchmate.mistakes import problems

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
        ("(ov, options: Config)", "(ov)", ""),
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
    ("source", "count"),
    [
        ("def instrument(ov):\n    yield ov.phases.init\n", 1),
        ("", 1),
        ('from benchmate.voirfile import measure\ninstrument_main = measure("//f()")\n', 0),
        ("__instruments__ = {}\n", 0),
        ("from mine import instrument_all\n", 0),
        ("from mine import *\n", 0),
    ],
)
def test_a_voirfile_without_instruments_is_told(source: str, count: int) -> None:
    assert len(problems(source)) == count
