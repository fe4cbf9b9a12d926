"""Signals while milabench computes and its loop stands still."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from milabench.app import signals
from milabench.app.signals import ended_at_once, heeded
from milabench.console import Console
from milabench.execute import Interrupt
from milabench.outcome import Cause, Exit


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


@contextmanager
def restored() -> Iterator[None]:
    """Have the signals that milabench ignores once it ends as they were."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


async def breaks_off(interrupt: Interrupt) -> None:
    """Let the operator ask for an end once, of what would last for long."""
    with heeded(interrupt, Console(quiet=False)), interrupt.losing_nothing():
        signal.raise_signal(signal.SIGINT)
        await asyncio.wait_for(asyncio.Event().wait(), 60)


def test_the_first_ctrl_c_breaks_off_what_loses_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with restored(), pytest.raises(asyncio.CancelledError):
        asyncio.run(breaks_off(Interrupt()))
    assert capsys.readouterr().err == "Ctrl-C: what runs is ended at once\n"


class Unanswered:
    """A process on a node that does not answer."""

    async def stop(self, cause: Cause, grace_s: float | None = None, why: str | None = None) -> None:
        """It is sent there, and nobody says anything."""

    async def full(self) -> None:
        await asyncio.Event().wait()

    async def wait(self) -> Exit:
        return await asyncio.Event().wait()  # type: ignore[return-value]


@pytest.mark.parametrize("times", [1, 2])
def test_a_second_ctrl_c_does_not_wait_for_what_does_not_answer(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    monkeypatch.setattr(signals, "GIVE_UP_S", 0.0)

    async def waits() -> str:
        interrupt = Interrupt()
        with heeded(interrupt, Console(quiet=False)):
            await interrupt.watch(Unanswered())
            for _ in range(times):
                signal.raise_signal(signal.SIGINT)
                await asyncio.sleep(0)
            await asyncio.sleep(0.05 if times == 1 else 60)
        return "waited"

    with restored():
        if times == 1:
            assert asyncio.run(waits()) == "waited"
        else:
            with pytest.raises(asyncio.CancelledError):
                asyncio.run(waits())
    told = capsys.readouterr().err.splitlines()
    assert told[0] == "Ctrl-C: what runs is being ended; once more: at once"
    assert told[1:] == ["Ctrl-C: what runs is ended at once", signals._UNANSWERED][: 2 * (times - 1)]


def test_what_loses_nothing_is_not_begun_when_an_end_is_asked_for_already() -> None:
    interrupt = Interrupt()
    interrupt.set()
    with pytest.raises(asyncio.CancelledError), interrupt.losing_nothing():
        pytest.fail("it was begun")
    assert not interrupt.loses_nothing
