"""A node that was lost: its processes count alike, whenever that was, and in every form of a report."""

from __future__ import annotations

import csv
import io
import json

import pytest
from summary_fakes import FakeRun, MakeRun, end, plan
from watched_runs import CPU, made, only

from milabench.compare import compare
from milabench.outcome import Outcome
from milabench.render import FORMATS, text
from milabench.summary import summarize

NODES = ("n1", "n2", "n3")
AWAY = "n2: the link was lost"
FACTS = {**CPU, "nodes": {name: {"name": name} for name in NODES}}


def without_n2(make_run: MakeRun, when: str) -> FakeRun:
    """Return a run on three nodes of which one was lost."""
    run = make_run(
        recorded=FACTS,
        planned=plan({"net": [[(f"net.{node}", node, (0,))] for node in NODES]}),
        columns={f"net.{node}": made(5, 10) for node in ("n1", "n3")},
        journal={"net": Outcome(kind="lost", reason=AWAY, tag="net.n2")},
    )
    for node in ("n1", "n3"):
        run.write(f"net.{node}", end(), config={"plan": {"method": "per_node"}})
    if when != "before its start":
        run.write("net.n2", end("lost", reason=AWAY), config={"plan": {"method": "per_node"}})
    if when == "while it measured":
        run.columns["net.n2"] = made(5, 3, n=7)
    return run


@pytest.mark.parametrize("when", ["before its start", "before it measured", "while it measured"])
def test_it_counts_alike_whenever_a_node_was_lost(make_run: MakeRun, when: str) -> None:
    run = without_n2(make_run, when)
    summary = summarize(run)
    found = only(run)
    assert (found.n, found.failed, found.outcomes) == (3, 1, {"ok": 2, "lost": 1})
    assert (found.perf, found.rate.value, found.speed.throughput.value) == (100.0, 100.0, 200.0)
    assert found.score == pytest.approx(200 * 2 / 3)
    assert (list(found.by_slot), found.trust.grade.word) == (["n1", "n3"], "ok")
    (failure,) = json.loads(FORMATS["json"](summary))["benchmarks"][0]["failures"]
    assert (failure["tag"], failure["outcome"], failure["node"]) == ("net.n2", "lost", "n2")
    assert failure["reason"].removeprefix("never started: ") == AWAY
    (row,) = csv.DictReader(io.StringIO(FORMATS["csv"](summary)))
    assert (row["n"], row["failed"], row["status"]) == ("3", "1", "failed")
    for written in (text.render(summary, 120), FORMATS["markdown"](summary)):
        assert "1 of 3 processes failed" in written
        assert "net.n2" in written
    assert summary.warnings == ()


def test_what_a_lost_process_had_measured_is_shown_where_nothing_else_went_well(make_run: MakeRun) -> None:
    run = make_run(recorded=CPU, columns={"net": made(5, 10)})
    run.write("net", end("lost"))
    assert (only(run).perf, only(run).score) == (100.0, 0.0)


@pytest.mark.parametrize(
    ("journal", "outcome", "reason"),
    [
        (Outcome(kind="lost", reason=AWAY, tag="net.n2"), "lost", f"never started: {AWAY}"),
        (Outcome(kind="failed", reason="no room", tag=""), "failed", "never started: no room"),
        (
            Outcome(kind="failed", reason="no port", tag="net.n2.b"),
            "failed",
            "never started: net.n2.b: no port",
        ),
        (
            Outcome(kind="failed", reason="exit code 1", tag="net.n1"),
            "lost",
            "never started; of its trial the journal says net.n1: failed: exit code 1",
        ),
        (Outcome(kind="ok"), "lost", "its .data file is gone; the journal says it went well"),
        (None, "interrupted", "the run ended before its turn"),
    ],
)
def test_why_a_process_never_started_is_what_the_journal_says_of_its_trial(
    make_run: MakeRun, journal: Outcome | None, outcome: str, reason: str
) -> None:
    jobs = {"net": [[("net.n1", "n1", (0,))], [("net.n2", "n2", (0,)), ("net.n2.b", "n2", (0,))]]}
    run = make_run(recorded=CPU, planned=plan(jobs), journal={} if journal is None else {"net": journal})
    run.write("net.n1", end())
    first, *_ = only(run).failures
    assert (first.tag, first.outcome, first.reason, first.node) == ("net.n2", outcome, reason, "n2")


def test_a_node_that_was_lost_breaks_no_comparison(make_run: MakeRun) -> None:
    lost = without_n2(make_run, "before its start")
    (found,) = compare(summarize(lost), summarize(lost)).benchmarks
    assert (found.before.throughput, found.before.processes, found.before.failed) == (100.0, 3, 0)
