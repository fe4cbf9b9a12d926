"""What comes of a process: one table."""

from __future__ import annotations

import pytest

from benchmate.wire import Event
from milabench.outcome import Exit, Outcome, Seen, is_number, outcome, worst

NO_RATE = "no rate: no step was seen (an Observer around the loader, or JSON lines that a `command` prints)"


@pytest.mark.parametrize(
    ("ended", "seen", "kind", "reason"),
    [
        ({"code": 0}, {"rates": 3}, "ok", ""),
        ({"code": 0}, {"rates": 3, "stopped": True}, "early_stop", "measured the wanted amount"),
        ({"signal": 15, "cause": "limit"}, {"rates": 3}, "early_stop", "measured the wanted amount"),
        ({"code": 0}, {}, "failed", NO_RATE),
        ({"code": 0}, {"warmups": 4}, "failed", "no rate: only 4 warm-up steps (voir.options.skip says how many are)"),
        ({"signal": 15, "cause": "limit"}, {}, "failed", NO_RATE),
        ({"code": 0}, {"expects_rate": False}, "ok", ""),
        ({"code": 0}, {"rates": 3, "nan_loss": True}, "failed", "the loss is not a finite number"),
        ({"code": 3}, {"rates": 3, "stopped": True}, "failed", "exit code 3"),
        ({"code": 1}, {"error": "ValueError: no"}, "failed", "exit code 1: ValueError: no"),
        ({"signal": 11}, {"rates": 3}, "killed", "killed by SIGSEGV"),
        ({"signal": 9, "oom": True}, {"rates": 3}, "killed", "killed by the kernel: out of memory"),
        (
            {"code": 1, "oom": True},
            {"error": "RuntimeError: DataLoader worker"},
            "killed",
            "a process that it started was killed by the kernel: out of memory (exit code 1: RuntimeError: DataLoader "
            "worker)",
        ),
        (
            {"signal": 6, "oom": True},
            {"rates": 3},
            "killed",
            "a process that it started was killed by the kernel: out of memory (killed by SIGABRT)",
        ),
        ({"code": 0, "oom": True}, {"rates": 3}, "ok", ""),
        ({"signal": 15, "cause": "interrupt", "oom": True}, {}, "interrupted", "interrupted by the operator"),
        (
            {"signal": 15, "cause": "deadline", "seconds": 60.0, "oom": True},
            {"rates": 7},
            "timeout",
            "reached max_duration: ended after 60 s, 7 steps measured; a process that it started was killed by the "
            "kernel: out of memory",
        ),
        (
            {"signal": 15, "cause": "deadline", "seconds": 600.2},
            {},
            "timeout",
            "reached max_duration: ended after 600 s, 0 steps measured",
        ),
        ({"signal": 15, "cause": "interrupt"}, {"rates": 3}, "interrupted", "interrupted by the operator"),
        ({"signal": 15, "cause": "sibling"}, {"rates": 3}, "killed", "ended because a process it belongs with failed"),
        ({"cause": "lost"}, {"rates": 3}, "lost", "the agent or its node went away"),
        ({"error": "cannot be started: no such file"}, {}, "failed", "cannot be started: no such file"),
    ],
)
def test_a_process_comes_to(ended: dict, seen: dict, kind: str, reason: str) -> None:
    assert outcome(Exit(tag="a", **ended), Seen(**seen)) == Outcome(kind=kind, reason=reason, tag="a")


@pytest.mark.parametrize(
    ("value", "number"), [(1, True), (1.5, True), (True, False), ("1", False), (1e999, False), (10**400, False)]
)
def test_a_number_is_finite_and_no_truth_value(value: object, number: bool) -> None:
    assert is_number(value) == number


def test_seen_counts_rates_losses_and_the_first_error() -> None:
    events = [
        Event(event="data", data={"task": "warmup", "rate": 1.0}),
        Event(event="data", data={"task": "train", "rate": 1.0}),
        Event(event="data", data={"task": "train", "loss": None}),
        Event(event="error", data={"type": "A", "message": "first"}),
        Event(event="error", data={"type": "B", "message": "second"}),
        Event(event="stop", data={"reason": "observations"}),
    ]
    assert Seen.of(events, expects_rate=True) == Seen(rates=1, warmups=1, stopped=True, nan_loss=True, error="A: first")


def test_seen_counts_the_steps_that_were_written_beside_the_events() -> None:
    assert Seen.of([], measured=2, warmups=1, expects_rate=True) == Seen(rates=2, warmups=1)


def test_the_worst_outcome_is_the_first_cause_of_the_others() -> None:
    sibling = Outcome(kind="killed", reason="ended because a process it belongs with failed", tag="a")
    failed = Outcome(kind="failed", reason="exit code 1", tag="b")
    ok = Outcome(kind="ok", tag="c")
    assert worst([sibling, ok, failed]) == failed
    assert worst([ok]) == ok


@pytest.mark.parametrize(
    ("seen", "lines", "error"),
    [
        (Seen(), ["first", "usage: main.py", "", "main.py: error: no --lr", " "], "main.py: error: no --lr"),
        (Seen(error="ValueError: told"), ["something else"], "ValueError: told"),
        (Seen(), ["", " "], None),
    ],
)
def test_the_last_words_of_a_process_are_its_error_where_it_told_none(
    seen: Seen, lines: list[str], error: str | None
) -> None:
    assert seen.with_last_words(lines).error == error
