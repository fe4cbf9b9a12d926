"""Signals while milabench computes and its loop stands still."""

from __future__ import annotations

import asyncio
import signal

import pytest

from milabench.app.signals import ended_at_once


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
