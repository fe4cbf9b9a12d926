"""How often something is repeated, and sizes on a command line."""

from __future__ import annotations

import argparse

import pytest
from loops import MS, FakeTime

from benchmate.arguments import size, some_of
from benchmate.calibration import CALIBRATION_S, calls_per_observation, seconds_each
from benchmate.device import Cpu


@pytest.mark.parametrize("each_ms", [0.5, 3, 100])
def test_one_call_is_timed_by_many(clock: FakeTime, each_ms: float) -> None:
    calls: list[None] = []

    def run() -> None:
        calls.append(None)
        clock.pass_ms(each_ms)

    assert seconds_each(run, Cpu()) == pytest.approx(each_ms / 1e3)
    assert len(calls) > 1
    assert calls_per_observation(each_ms / 1e3) == pytest.approx(max(1, 40 / each_ms), abs=1)


def test_the_ranks_of_a_group_decide_by_the_time_they_agree_on(clock: FakeTime) -> None:
    asked: list[float] = []

    def agree(seconds: float) -> float:
        asked.append(seconds)
        return max(seconds, CALIBRATION_S)  # another rank is slower

    assert seconds_each(lambda: clock.pass_ms(1), Cpu(), agree) == CALIBRATION_S
    assert asked == [0.0, pytest.approx(1 * MS / 1e9)]


@pytest.mark.parametrize(("text", "bytes_"), [("4096", 4096), ("64K", 65536), ("8m", 8 << 20), ("1G", 1 << 30)])
def test_sizes_have_powers_of_1024(text: str, bytes_: int) -> None:
    assert size(text) == bytes_


@pytest.mark.parametrize("text", ["", "K", "1.5G", "-1", "8 M", "8MB"])
def test_what_is_no_size_is_said(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is no size"):
        size(text)


def test_names_have_commas_between_them_and_are_known() -> None:
    assert some_of("a", "b")("b,a") == ("b", "a")
    assert some_of("a", "b")("") == ()
    with pytest.raises(argparse.ArgumentTypeError, match="'c' is not one of a, b"):
        some_of("a", "b")("a,c")
