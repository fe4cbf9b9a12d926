"""The journal: what was written reads back, and what a crash cut short counts as never written."""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milabench.journal import Journal, Writer, read
from milabench.outcome import Outcome

OK = Outcome(kind="ok", tag="a")
FAILED = Outcome(kind="failed", reason="exit code 1", tag="a")


def written(path: Path, *calls: tuple[object, ...]) -> Journal:
    """Return what a journal says after calls of its writer, each a name and arguments; ns count from 1."""
    ns = count(1)
    writer = Writer(path, lambda: next(ns))
    for name, *arguments in calls:
        getattr(writer, str(name))(*arguments)
    writer.close()
    return read(path)


def test_a_journal_that_is_not_there_says_nothing(tmp_path: Path) -> None:
    assert read(tmp_path / "none") == Journal()


def test_a_trial_runs_from_its_beginning_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    found = written(path, ("sitting", "here", "1.0"), ("started", "a", 1))
    assert (found.running, found.attempts, found.outcomes, found.started_ns) == (("a",), {"a": 1}, {}, {"a": 2})
    assert [(each.time_ns, each.host) for each in found.sittings] == [(1, "here")]
    found = written(path, ("ended", "a", 1, OK, ["b"]), ("finished", "complete"))
    assert (found.running, found.outcomes, found.neighbours, found.state) == ((), {"a": OK}, {"a": ("b",)}, "complete")


@pytest.mark.parametrize("retired", [False, True])
def test_a_further_attempt_forgets_how_the_one_before_ended(tmp_path: Path, retired: bool) -> None:
    first = [("started", "a", 1), ("ended", "a", 1, FAILED, []), ("finished", "incomplete"), ("sitting", "here", "1")]
    second = ("retired", "a", 1) if retired else ("started", "a", 2)
    found = written(tmp_path / "journal", *first, second)
    assert (found.outcomes, found.attempts, found.state) == ({}, {"a": 1 if retired else 2}, None)
    assert (found.running, found.retired) == (((), {"a"}) if retired else (("a",), frozenset()))


@pytest.mark.parametrize(
    ("kind", "failed"), [("failed", 2), ("timeout", 2), ("ok", 0), ("lost", 0), ("interrupted", 0)]
)
def test_attempts_that_failed_by_themselves_are_counted(tmp_path: Path, kind: Any, failed: int) -> None:
    ended = Outcome(kind=kind, reason="so", tag="a")
    calls = [("started", "a", 1), ("ended", "a", 1, ended, []), ("retired", "a", 1), ("started", "a", 2)]
    again = [("ended", "a", 2, ended, []), ("started", "a", 3), ("ended", "a", 3, OK, [])]
    assert written(tmp_path / "journal", *calls, *again).failed == ({"a": failed} if failed else {})


def test_lines_of_older_runs_are_ends(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_text('{"time_ns": 1, "trial": "a", "outcome": {"kind": "ok", "reason": "", "tag": "a"}}\n')
    assert read(path).outcomes == {"a": OK}


CALLS = [
    ("sitting", "here", "1.0"),
    ("started", "ä", 1),
    ("ended", "ä", 1, Outcome(kind="failed", reason="läßt\nnach", tag="ä"), ["b"]),
    ("started", "b", 1),
]


@given(cut=st.integers(0, 1000))
def test_cut_anywhere_it_says_what_was_whole_and_can_be_gone_on_with(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    path = tmp_path_factory.mktemp("cut") / "journal"
    written(path, *CALLS)
    content = path.read_bytes()[:cut]
    path.write_bytes(content)
    whole = content.count(b"\n")
    before = read(path)
    assert len(before.sittings) + len(before.started_ns) + len(before.outcomes) in (whole, whole + 1)
    after = written(path, ("started", "c", 1))
    assert (after.sittings, after.outcomes) == (before.sittings, before.outcomes)
    assert after.running == (*before.running, "c")


@given(garbage=st.lists(st.binary(max_size=40), max_size=5))
def test_garbage_is_passed_over(tmp_path_factory: pytest.TempPathFactory, garbage: list[bytes]) -> None:
    path = tmp_path_factory.mktemp("garbage") / "journal"
    path.write_bytes(b"\n".join([*garbage, b'[1]\n{"event": 3}\n{"event": "ended", "trial": "x"}\nnull\n"x"\n']))
    assert written(path, ("started", "a", 1)).running == ("a",)


WHOLE = {
    "sitting": {"event": "sitting", "time_ns": 5, "pid": 7, "host": "here"},
    "started": {"event": "started", "time_ns": 5, "trial": "a", "attempt": 1},
    "retired": {"event": "retired", "time_ns": 5, "trial": "a", "attempt": 1},
    "ended": {"event": "ended", "time_ns": 5, "trial": "a", "attempt": 1, "outcome": {"kind": "ok"}, "neighbours": []},
    "finished": {"event": "finished", "time_ns": 5, "state": "complete"},
}
ODD = [None, True, [], {}, "x", 1.5, -1, 2**63, [1], {"kind": []}, {"kind": "good"}, {"kind": "ok", "reason": 3}]


@pytest.mark.parametrize(
    ("event", "key"),
    [
        *[("sitting", key) for key in ("time_ns", "pid", "host")],
        *[(event, key) for event in ("started", "retired", "ended") for key in ("trial", "attempt")],
        *[("started", "time_ns"), ("ended", "outcome"), ("ended", "neighbours"), ("finished", "state")],
    ],
)
def test_a_line_of_odd_values_is_passed_over_whole(tmp_path: Path, event: str, key: str) -> None:
    path = tmp_path / "journal"
    fits = {"host": str, "trial": str, "state": str, "neighbours": list}.get(key)
    odd = [each for each in ODD if fits is None or not isinstance(each, fits)]
    path.write_text("".join(json.dumps({**WHOLE[event], key: each}) + "\n" for each in (*odd, [1])))
    assert read(path) == Journal()
    path.write_text(json.dumps(WHOLE[event]) + "\n")
    assert read(path) != Journal()


def test_what_a_later_version_adds_to_an_outcome_is_passed_over_alone(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_text(json.dumps({**WHOLE["ended"], "outcome": {"kind": "ok", "tag": "a", "more": 1}}))
    assert read(path).outcomes == {"a": OK}
