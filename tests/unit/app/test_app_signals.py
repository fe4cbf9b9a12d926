"""Signals while milabench computes and its loop stands still."""

from __future__ import annotations

import asyncio
import signal

import pytest

from milabench.app.signals import ended_at_once, heeded
from milabench.console import Console
from milabench.execute import Interrupt


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_computation_is_broken_off_and_what_was_there_before_is_there_again(number: signal.Signals) -> None:
    heard: list[int] = []
    before = signal.signal(number, lambda told, _: heard.append(told))
    try:
        with pytest.raises(asyncio.CancelledError), ended_at_once():
            signal.raise_signal(number)
        assert heard == []
        signal.raise_signal(number)
        assert heard == [number]
    finally:
        signal.signal(number, before)


def test_a_hangup_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ended_at_once():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


async def breaks_off(interrupt: Interrupt) -> None:
    """Let the operator ask for an end once, of what would last for long."""
    with heeded(interrupt, Console(quiet=False)), interrupt.losing_nothing():
        signal.raise_signal(signal.SIGINT)
        await asyncio.wait_for(asyncio.Event().wait(), 60)


def test_the_first_ctrl_c_breaks_off_what_loses_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    heeded_numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
    before = {number: signal.getsignal(number) for number in heeded_numbers}
    try:
        with pytest.raises(asyncio.CancelledError):
            asyncio.run(breaks_off(Interrupt()))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert capsys.readouterr().err == "Ctrl-C: what runs is ended at once\n"


def test_what_loses_nothing_is_not_begun_when_an_end_is_asked_for_already() -> None:
    interrupt = Interrupt()
    interrupt.set()
    with pytest.raises(asyncio.CancelledError), interrupt.losing_nothing():
        pytest.fail("it was begun")
    assert not interrupt.loses_nothing
