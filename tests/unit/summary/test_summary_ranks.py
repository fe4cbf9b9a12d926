"""Groups of which a rank's files are missing: told, and never passed off as what the whole group did."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmate.wire import MEASURED, EventWriter, StepsWriter
from milabench.compare import compare
from milabench.outcome import Exit, Outcome
from milabench.plan import Command, Job, Plan, Trial
from milabench.plan.types import Ranks
from milabench.record import Record
from milabench.render.json import render
from milabench.rundir import RunDir
from milabench.summary import BenchmarkSummary, summarize

ALL = range(4)
COMMAND = Command(
    tag="net",
    benchmark="net",
    node="local",
    argv=("torchrun",),
    cwd="/",
    devices=(0, 1, 2, 3),
    ranks=Ranks(leader="net", first=0, count=4),
)
TRIAL = Trial(benchmark="net", jobs=(Job(tag="net", commands=(COMMAND,), deadline_s=60.0),))
PLAN = Plan(phase="run", trials=(TRIAL,), configs={"net": {"name": "net", "weight": 1.0, "enabled": True}})


def ran(folder: Path, ranks: Sequence[int] = ALL) -> tuple[RunDir, Outcome]:
    """Run a training of four ranks, of which these measure 10 items a step of 10 ms, and return what came of it."""
    record = Record.create(folder / "run", plan=PLAN, facts={"started": 1.0}, suite={})
    record.started(TRIAL)
    first_seq = record.begin(COMMAND, PLAN.config_of(COMMAND))
    for rank in ranks:
        events, steps = record.files("net").of_rank(rank)
        writer = EventWriter(events, first_seq=0 if rank else first_seq)
        writer.write("hello", {"unit": "items", "rank": rank, "world_size": 4})
        writer.write("data", {"task": "train", "loss": 1.0})
        writer.close()
        rows = StepsWriter(steps, unit="items", zero_ns=10**18)
        for number in range(30):
            rows.append(number * 10**7, (number + 1) * 10**7, 10, MEASURED, 0)
        rows.close()
    outcome = record.seal(COMMAND, Exit(tag="net", code=0))
    record.note(TRIAL, outcome)
    record.finish("complete")
    return RunDir(record.path), outcome


def only(run: RunDir) -> BenchmarkSummary:
    (found,) = summarize(run).benchmarks
    return found


@pytest.mark.parametrize(("ranks", "rate"), [(ALL, 4000.0), ((0,), 1000.0)], ids=["each", "rank 0 alone"])
def test_a_group_of_which_all_that_measure_are_there_went_well(
    tmp_path: Path, ranks: Sequence[int], rate: float
) -> None:
    run, outcome = ran(tmp_path, ranks)
    found = only(run)
    assert (outcome.kind, found.failed, found.rate.value) == ("ok", 0, pytest.approx(rate))
    assert summarize(run).warnings == ()


@pytest.mark.parametrize("ranks", [(0, 2, 3), (0, 1, 2), (0, 3)])
def test_a_group_of_which_some_ranks_did_not_measure_fails_and_has_no_rate(
    tmp_path: Path, ranks: Sequence[int]
) -> None:
    run, outcome = ran(tmp_path, ranks)
    assert (outcome.kind, outcome.reason.startswith("the steps of rank")) == ("failed", True)
    found = only(run)
    assert (found.failed, found.perf, found.rate.value, found.speed.throughput.value) == (1, None, None, None)
    assert found.score == 0.0
    (failure,) = found.failures
    assert failure.reason == outcome.reason
    (process,) = json.loads(render(summarize(run)))["benchmarks"][0]["processes"]
    assert process["missing_ranks"] == sorted(set(ALL) - set(ranks))


def unsealed(run: RunDir) -> None:
    """Leave out of an end how many ranks there were, as releases did that did not look."""
    path = run.files("net").events
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[-1]["data"].pop("ranks")
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))


@pytest.mark.parametrize("gone", [(2,), (1, 2), (1, 2, 3)])
def test_steps_of_ranks_that_are_gone_since_are_no_loss_where_their_rates_were_kept(
    tmp_path: Path, gone: Sequence[int]
) -> None:
    run, _ = ran(tmp_path)
    for rank in gone:
        run.files("net").of_rank(rank)[1].unlink()
    found = only(run)
    assert (found.failed, found.perf) == (0, pytest.approx(4000.0))
    (warning,) = summarize(run).warnings
    assert warning.startswith(f"net: of 4 ranks whose steps were counted when it ended {4 - len(gone)} have theirs")


@pytest.mark.parametrize("gone", [(2,), (1, 2, 3)])
def test_where_it_is_not_known_what_was_counted_a_group_with_a_rank_gone_is_none_that_went_well(
    tmp_path: Path, gone: Sequence[int]
) -> None:
    run, _ = ran(tmp_path)
    unsealed(run)
    for rank in gone:
        run.files("net").of_rank(rank)[1].unlink()
    found = only(run)
    assert (found.failed, found.perf, found.score) == (1, None, 0.0)
    assert list(found.processes[0].missing_ranks) == list(gone)


def test_where_no_rates_were_kept_steps_that_are_gone_are_missing(tmp_path: Path) -> None:
    run, _ = ran(tmp_path)
    path = run.files("net").events
    kept = [line for line in path.read_text().splitlines() if '"rate"' not in line]  # the disk was full
    path.write_text("".join(f"{line}\n" for line in kept))
    run.files("net").of_rank(2)[1].unlink()
    assert (only(run).failed, only(run).perf) == (1, None)


def test_events_of_a_rank_that_are_gone_are_told_and_those_of_later_ranks_count(tmp_path: Path) -> None:
    run, _ = ran(tmp_path)
    run.files("net").of_rank(1)[0].unlink()
    found = only(run)
    assert (found.failed, found.rate.value) == (0, pytest.approx(4000.0))
    assert found.losses is not None
    assert found.losses.n == 3
    assert summarize(run).warnings == (
        "net: the events of rank 1 are missing: their losses and their memory are not known",
    )


def test_a_comparison_has_no_ratio_with_a_part_of_a_group(tmp_path: Path) -> None:
    before, _ = ran(tmp_path / "a")
    after, _ = ran(tmp_path / "b", (0, 2, 3))
    found = compare(summarize(before), summarize(after))
    (pair,) = found.benchmarks
    assert pair.ratio is None or pair.ratio.value is None
    assert pair.verdict not in ("better", "same")
