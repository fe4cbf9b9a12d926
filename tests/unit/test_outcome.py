"""What comes of a process: one table."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmate.wire import Event, is_number
from milabench.outcome import GOOD, KINDS, Cause, Exit, Outcome, Seen, outcome, worst

NO_RATE = (
    "no rate: no step was seen (an Observer around the loader, a Session's run(), or JSON lines that a `command`"
    " prints)"
)
NOTHING = "count is not above 0: {} (what the Observer's `count` or end_step() is given)"
UNINSTRUMENTED = (
    "no rate: the voirfile's instruments ran and measured no step: the script went over no loader that an Observer"
    " wraps, and gave no rates (notes in its .data file may say why; an instrument is a generator, which yields the"
    " phases that it waits for)"
)
ENOUGH = "measured the wanted amount"
SIBLING = "ended because a process it belongs with failed"
OOM_BELOW = "a process that it started was killed by the kernel: out of memory"
NO_ROOM = "no room is left on the disk of its run"
STUCK = "could not be ended: a process ignores SIGKILL"
MEASURED = {"rates": 3}
STOPPED = {"rates": 3, "stopped": True}

# How it ended, what it had told, what comes of it.
BY_ITSELF = [
    ({"code": 0}, MEASURED, "ok", ""),
    ({"code": 0}, STOPPED, "early_stop", ENOUGH),
    ({"code": 0}, {}, "failed", NO_RATE),
    ({"code": 0}, {"stopped": True}, "failed", NO_RATE),
    (
        {"code": 0},
        {"warmups": 4},
        "failed",
        "no rate: only 4 warm-up steps (voir.options.skip says how many are; 0: none)",
    ),
    (
        {"code": 0},
        {"warmups": 4, "refused": "rate is no number"},
        "failed",
        "no rate: only 4 warm-up steps (voir.options.skip says how many are; 0: none); refused of what it printed: rate"
        " is no number",
    ),
    (
        {"code": 0},
        {"warmups": 4, "task": "infer"},
        "failed",
        "no rate: only 4 warm-up inferences (voir.options.skip says how many are; 0: none)",
    ),
    (
        {"code": 0},
        {"task": "infer", "under_voir": True},
        "failed",
        "no rate: no inference was made: a Session makes them in its run()",
    ),
    ({"code": 0}, {"under_voir": True}, "failed", UNINSTRUMENTED),
    ({"code": 0}, {"under_voir": True, "rates": 3}, "ok", ""),
    ({"code": 0}, {"expects_rate": False}, "ok", ""),
    ({"code": 0}, {"expects_rate": False, "stopped": True}, "early_stop", ENOUGH),
    ({"code": 0}, {"rates": 3, "error": "ValueError: caught"}, "ok", ""),
    ({"code": 0}, {"rates": 3, "nan_loss": True}, "failed", "the loss is not a finite number"),
    ({"code": 0}, {"nan_loss": True}, "failed", "the loss is not a finite number"),
    ({"code": 0}, {**STOPPED, "nan_loss": True}, "failed", "the loss is not a finite number"),
    ({"code": 0}, {**MEASURED, "counts": (0, 1)}, "ok", ""),
    ({"code": 0}, {**MEASURED, "counts": (0, 0)}, "failed", NOTHING.format("all measured steps have 0")),
    ({"code": 0}, {**STOPPED, "counts": (-7, 9)}, "failed", NOTHING.format("a measured step has -7")),
    ({"code": 0}, {"counts": (-7, 9), "expects_rate": False}, "ok", ""),
    ({"code": 3}, {**MEASURED, "counts": (-7, 9)}, "failed", "exit code 3"),
    ({"code": 3}, MEASURED, "failed", "exit code 3"),
    ({"code": 3}, {"rates": 3, "nan_loss": True}, "failed", "exit code 3"),
    ({"code": 3}, STOPPED, "failed", f"{ENOUGH}, then exit code 3"),
    ({"code": 3}, {"stopped": True}, "failed", "exit code 3"),
    ({"code": 3}, {**STOPPED, "error": "OSError: no"}, "failed", f"{ENOUGH}, then exit code 3: OSError: no"),
    ({"code": 1}, {"error": "ValueError: no"}, "failed", "exit code 1: ValueError: no"),
    ({"code": 128}, {}, "failed", "exit code 128"),
    ({"code": 137}, {}, "failed", "exit code 137 (128 + SIGKILL)"),
    ({"code": 137}, {"error": "Killed"}, "failed", "exit code 137 (128 + SIGKILL): Killed"),
    ({"code": 163}, {}, "failed", "exit code 163 (128 + SIGRTMIN+1)"),
    ({"code": 255}, {}, "failed", "exit code 255"),
    ({"signal": 11}, MEASURED, "killed", "killed by SIGSEGV"),
    ({"signal": 9}, STOPPED, "killed", f"{ENOUGH}, then killed by SIGKILL"),
    ({"signal": 34}, {}, "killed", "killed by SIGRTMIN"),
    ({"signal": 35}, {}, "killed", "killed by SIGRTMIN+1"),
    ({"signal": 64}, {}, "killed", "killed by SIGRTMAX"),
    ({"signal": 32}, {}, "killed", "killed by signal 32"),
    ({"signal": 9, "oom": True}, MEASURED, "killed", "killed by the kernel: out of memory"),
    ({"signal": 9, "oom": True}, STOPPED, "killed", f"{ENOUGH}, then killed by the kernel: out of memory"),
    ({"code": 1, "oom": True}, MEASURED, "killed", f"{OOM_BELOW} (exit code 1)"),
    ({"code": 1, "oom": True}, STOPPED, "killed", f"{ENOUGH}, then {OOM_BELOW} (exit code 1)"),
    ({"signal": 15, "oom": True}, MEASURED, "killed", f"{OOM_BELOW} (killed by SIGTERM)"),
    ({"code": 0, "oom": True}, MEASURED, "ok", ""),
    ({"code": 1}, {"full_disk": "run"}, "failed", f"exit code 1; {NO_ROOM}"),
    ({"code": 1, "full_disk": "/tmp/x"}, {}, "failed", "exit code 1; no room is left on the disk of its node: /tmp/x"),
    ({"code": 0, "full_disk": "/tmp/x"}, {"rates": 3}, "ok", ""),
    ({"signal": 7}, {"full_disk": "run"}, "killed", f"killed by SIGBUS; {NO_ROOM}"),
    ({"code": 0}, {"full_disk": "run"}, "failed", f"{NO_RATE}; {NO_ROOM}"),
    ({"code": 0}, {"rates": 3, "full_disk": "run"}, "ok", ""),
    ({"error": "its output cannot be written"}, {"full_disk": "run"}, "failed", "its output cannot be written"),
    ({}, MEASURED, "failed", "how it ended is not known"),
    ({"error": "cannot be started: no such file"}, {}, "failed", "cannot be started: no such file"),
    ({"error": STUCK}, STOPPED, "failed", STUCK),
]
LATE = {"signal": 15, "cause": "deadline", "seconds": 600.2}
ENDED = [
    ({"signal": 15, "cause": "limit"}, MEASURED, "early_stop", ENOUGH),
    ({"signal": 9, "cause": "limit"}, MEASURED, "early_stop", ENOUGH),
    ({"code": 1, "cause": "limit"}, MEASURED, "early_stop", ENOUGH),
    ({"signal": 15, "cause": "limit"}, {}, "failed", NO_RATE),
    ({"signal": 15, "cause": "limit"}, {"expects_rate": False}, "early_stop", ENOUGH),
    ({"signal": 15, "cause": "limit"}, {"rates": 3, "nan_loss": True}, "failed", "the loss is not a finite number"),
    ({"cause": "limit", "error": STUCK}, MEASURED, "failed", f"{ENOUGH}; {STUCK}"),
    (LATE, {}, "timeout", "reached max_duration: ended after 600 s, 0 steps measured"),
    (
        LATE,
        {"rates": 7, "idle_s": 580.4},
        "timeout",
        "reached max_duration: ended after 600 s, 7 steps measured, nothing measured or told in the last 580 s",
    ),
    (
        LATE,
        {"warmups": 2, "skip": 5, "idle_s": 2.1},
        "timeout",
        "reached max_duration: ended after 600 s, still in warm-up: 2 of 5 steps (raise max_duration, or lower"
        " voir.options.skip), nothing measured or told in the last 2 s",
    ),
    (
        LATE,
        {"warmups": 2, "skip": 5, "task": "infer"},
        "timeout",
        "reached max_duration: ended after 600 s, still in warm-up: 2 of 5 inferences (raise max_duration, or lower"
        " voir.options.skip)",
    ),
    (
        LATE,
        {"refused": "rate is no number", "idle_s": 0.2},
        "timeout",
        "reached max_duration: ended after 600 s, 0 steps measured, nothing measured or told in the last 0 s; refused"
        " of what it printed: rate is no number",
    ),
    (
        LATE,
        {"rates": 1, "refused": "rates are in B/s"},
        "timeout",
        "reached max_duration: ended after 600 s, 1 steps measured; refused of what it printed: rates are in B/s",
    ),
    (
        LATE,
        {"warmups": 2, "task": "infer"},
        "timeout",
        "reached max_duration: ended after 600 s, still in warm-up: 2 inferences (raise max_duration, or make"
        " fewer of them)",
    ),
    (
        LATE,
        {"warmups": 5, "skip": 5},
        "timeout",
        "reached max_duration: ended after 600 s, in its first measured step, after 5 of warm-up (raise max_duration)",
    ),
    (LATE, {"task": "infer"}, "timeout", "reached max_duration: ended after 600 s, 0 inferences measured"),
    (
        {**LATE, "oom": True},
        {"rates": 7},
        "timeout",
        f"reached max_duration: ended after 600 s, 7 steps measured; {OOM_BELOW}",
    ),
    (LATE, STOPPED, "timeout", f"{ENOUGH}, but did not end: reached max_duration, ended after 600 s"),
    (LATE, {"expects_rate": False}, "timeout", "reached its deadline: ended after 600 s"),
    ({**LATE, "signal": None, "code": 0}, {}, "timeout", "reached max_duration: ended after 600 s, 0 steps measured"),
    ({**LATE, "error": STUCK}, {"expects_rate": False}, "timeout", f"reached its deadline: ended after 600 s; {STUCK}"),
    ({"signal": 15, "cause": "sibling"}, {"full_disk": "run"}, "killed", SIBLING),
    ({"signal": 15, "cause": "interrupt"}, {"full_disk": "run"}, "interrupted", "interrupted by the operator"),
    ({"signal": 15, "cause": "interrupt"}, MEASURED, "interrupted", "interrupted by the operator"),
    ({"code": 0, "cause": "interrupt"}, STOPPED, "interrupted", "interrupted by the operator"),
    ({"cause": "interrupt", "error": STUCK}, {}, "interrupted", f"interrupted by the operator; {STUCK}"),
    ({"signal": 15, "cause": "sibling"}, MEASURED, "killed", SIBLING),
    ({"code": 1, "cause": "sibling"}, {"error": "ConnectionError: gone"}, "killed", SIBLING),
    ({"cause": "lost"}, MEASURED, "lost", "the agent or its node went away"),
]


@pytest.mark.parametrize(("ended", "seen", "kind", "reason"), [*BY_ITSELF, *ENDED])
def test_a_process_comes_to(ended: dict, seen: dict, kind: str, reason: str) -> None:
    assert outcome(Exit(tag="a", **ended), Seen(**seen)) == Outcome(kind=kind, reason=reason, tag="a")


EXITS = st.builds(
    Exit,
    tag=st.just("a"),
    code=st.none() | st.integers(-300, 300),
    signal=st.none() | st.integers(1, 200),
    oom=st.booleans(),
    cause=st.none() | st.sampled_from(get_args(Cause)),
    error=st.none() | st.just(STUCK),
    seconds=st.floats(0, 1e9),
)
SEEN = st.builds(
    Seen,
    rates=st.integers(0, 3),
    warmups=st.integers(0, 3),
    expects_rate=st.booleans(),
    stopped=st.booleans(),
    nan_loss=st.booleans(),
    error=st.none() | st.just("ValueError: no"),
    idle_s=st.none() | st.floats(0, 1e9),
    full_disk=st.sampled_from(["", "run", "base"]),
)
OF_CAUSE = {"interrupt": "interrupted", "lost": "lost", "deadline": "timeout", "sibling": "killed"}


@given(EXITS, SEEN)
def test_whatever_happened_comes_to_something_and_what_is_bad_has_a_reason(ended: Exit, seen: Seen) -> None:
    found = outcome(ended, seen)
    assert found.kind in KINDS
    assert found.reason or found.kind == "ok"
    assert (ended.cause in OF_CAUSE) <= (found.kind == OF_CAUSE.get(ended.cause or ""))


@given(EXITS, SEEN)
def test_only_what_measured_and_did_not_crash_is_good(ended: Exit, seen: Seen) -> None:
    if outcome(ended, seen).kind in GOOD:
        assert ended.error is None
        assert ended.cause == "limit" or (ended.cause is None and ended.code == 0)
        assert not seen.nan_loss
        assert seen.rates or not seen.expects_rate


@pytest.mark.parametrize(
    ("value", "number"),
    [(1, True), (1.5, True), (True, False), ("1", False), (1e999, False), (1e200, False), (10**400, False)],
)
def test_a_number_can_be_squared_and_is_no_truth_value(value: object, number: bool) -> None:
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


def test_a_phase_of_voir_shows_that_instruments_ran() -> None:
    assert Seen.of([Event(event="phase", data={"name": "init"})], expects_rate=True) == Seen(under_voir=True)


@pytest.mark.parametrize("loss", [None, math.nan, math.inf, -math.inf])
def test_seen_takes_what_is_no_finite_number_for_a_bad_loss(loss: float | None) -> None:
    assert Seen.of([Event(event="data", data={"loss": loss})], expects_rate=True).nan_loss


@pytest.mark.parametrize("loss", [0, 1.5, "none", {}])
def test_seen_takes_no_other_loss_for_a_bad_one(loss: object) -> None:
    assert not Seen.of([Event(event="data", data={"loss": loss})], expects_rate=True).nan_loss


def test_seen_counts_the_steps_that_were_written_beside_the_events() -> None:
    assert Seen.of([], measured=2, warmups=1, expects_rate=True) == Seen(rates=2, warmups=1)


def test_the_worst_outcome_is_the_first_cause_of_the_others() -> None:
    sibling = Outcome(kind="killed", reason="ended because a process it belongs with failed", tag="a")
    failed = Outcome(kind="failed", reason="exit code 1", tag="b")
    ok = Outcome(kind="ok", tag="c")
    assert worst([sibling, ok, failed]) == failed
    assert worst([replace(sibling, reason=f"{SIBLING}; {STUCK}"), failed]) == failed
    assert worst([ok]) == ok


@pytest.mark.parametrize(
    ("seen", "lines", "error"),
    [
        (Seen(), ["first", "usage: main.py", "", "main.py: error: no --lr", " "], "main.py: error: no --lr"),
        (
            Seen(),
            ["Traceback (most recent call last):", '  File "main.py", line 1', "    raise A", "A: why", "later"],
            "A: why",
        ),
        (
            Seen(),
            ["[rank1]: Traceback (most recent call last):", '[rank1]:   File "main.py"', "[rank1]: A: why", "bye"],
            "A: why",
        ),
        (Seen(), ["Traceback (most recent call last):", "  cut short"], "cut short"),
        (Seen(error="ValueError: told"), ["something else"], "ValueError: told"),
        (Seen(), ["", " "], None),
    ],
)
def test_the_last_words_of_a_process_are_its_error_where_it_told_none(
    seen: Seen, lines: list[str], error: str | None
) -> None:
    assert seen.with_last_words(lines).error == error


@pytest.mark.parametrize(
    ("config", "skip"),
    [
        ({"voir": {"options": {"skip": 3}}}, 3),
        ({"voir": {"options": {"stop": 60}}}, None),
        ({"voir": {"other": {}}}, None),
        ({"voir": {}}, None),
        ({"voir": {"options": {"skip": "3"}}}, None),
        ({"voir": None}, None),
        ({}, None),
        (7, None),
    ],
)
def test_what_was_to_be_warm_up_is_read_from_its_configuration(config: object, skip: int | None) -> None:
    told = [Event(event="config", data=config), Event(event="hello", data={"task": "infer"})]
    seen = Seen.of(told, warmups=2, expects_rate=True)
    assert (seen.skip, seen.warmups, seen.task) == (skip, 2, "infer")
