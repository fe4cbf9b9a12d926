"""The ranks of a group: which have measured, which are missing, and when what some measured is the rate of all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmate.wire import MEASURED, EventWriter, StepsWriter
from milabench.group import Account, Group, Planned, named, planned
from milabench.plan import Command, Job, Plan, Trial
from milabench.plan.types import Ranks
from milabench.rundir import Files

TWO_NODES = Planned(size=4, firsts=frozenset({0, 2}))


def wrote(folder: Path, rank: int, *, rows: int = 3, unit: str = "items", hello: bool = True) -> tuple[Path, Path]:
    """Write what a rank that has an Observer leaves, and return its events and its steps."""
    events, steps = Files.of(folder, "t").of_rank(rank)
    writer = EventWriter(events)
    if hello:
        writer.write("hello", {"unit": unit, "rank": rank})
    writer.close()
    columns = StepsWriter(steps, unit=unit, zero_ns=0)
    for row in range(rows):
        columns.append(row * 10 + 1, row * 10 + 9, 5, MEASURED, 0)
    columns.close()
    return events, steps


def account(folder: Path, group: Planned | None = None, world_size: int | None = None) -> Account:
    return Group(of_rank=Files.of(folder, "t").of_rank, planned=group or Planned()).account(world_size)


@pytest.mark.parametrize(
    ("there", "group", "missing"),
    [
        ([0, 1, 2, 3], TWO_NODES, []),
        ([0], TWO_NODES, []),  # it measures for all of them
        ([0, 2], TWO_NODES, []),  # the first of each node for those of its node
        ([0, 1, 3], TWO_NODES, [2]),
        ([0, 1, 2], TWO_NODES, [3]),
        ([0, 3], TWO_NODES, [1, 2]),
        ([0, 1], TWO_NODES, [2, 3]),
        ([0, 2], Planned(size=4), [1, 3]),  # on one node
        ([0, 1, 3], Planned(), [2]),  # a script that started its ranks itself
        ([0, 9], Planned(), [1, 2, 3, 4, 5, 6, 7, 8]),
        ([1, 2], Planned(size=3), []),  # without the leader's there is no rate at all
    ],
)
def test_ranks_are_missing_where_some_others_have_steps(
    tmp_path: Path, there: Sequence[int], group: Planned, missing: Sequence[int]
) -> None:
    for rank in there:
        wrote(tmp_path, rank)
    found = account(tmp_path, group)
    assert list(found.missing) == missing
    assert bool(found.why) == bool(missing)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    for rank in (0, 2):
        wrote(tmp_path, rank)
    why = account(tmp_path, Planned(size=4)).why
    assert why.startswith("the steps of ranks 1 and 3 of 4 are missing, and others of the group have some")


def test_a_size_that_a_rank_says_counts_where_no_plan_has_one(tmp_path: Path) -> None:
    for rank in (0, 1):
        wrote(tmp_path, rank)
    assert account(tmp_path).missing == []
    assert account(tmp_path, world_size=3).missing == [2]
    assert account(tmp_path, Planned(size=2), world_size=3).missing == []


@pytest.mark.parametrize("size", [0, 20, 64, 100])
def test_steps_of_a_rank_that_are_damaged_are_missing(tmp_path: Path, size: int) -> None:
    _, steps = [wrote(tmp_path, rank) for rank in (0, 1)][1]
    with steps.open("rb+") as file:
        file.truncate(size)
    assert account(tmp_path, Planned(size=2)).missing == [1]


def test_a_rank_that_said_it_measures_and_has_no_steps_is_missing_though_rank_0_may_measure_alone(
    tmp_path: Path,
) -> None:
    _, steps = [wrote(tmp_path, rank) for rank in (0, 1)][1]
    steps.unlink()
    assert account(tmp_path, Planned(size=2)).missing == [1]


def test_ranks_that_are_there_and_measure_nothing_leave_that_to_rank_0(tmp_path: Path) -> None:
    wrote(tmp_path, 0)
    wrote(tmp_path, 1, rows=0)
    Files.of(tmp_path, "t").of_rank(2)[0].write_text('{"event": "hello", "data": {"pid": 1}}\n')  # runs under voir
    assert account(tmp_path, Planned(size=3)) == Account(size=3, measured=[0], missing=[], mute=[])


def test_a_rank_that_made_no_step_is_missing_where_a_further_one_made_some(tmp_path: Path) -> None:
    for rank, rows in enumerate((3, 0, 3)):
        wrote(tmp_path, rank, rows=rows)
    assert account(tmp_path, Planned(size=3)).missing == [1]


def test_ranks_that_count_something_else_are_none_of_those_that_measure(tmp_path: Path) -> None:
    wrote(tmp_path, 0)
    wrote(tmp_path, 1, unit="tokens")
    assert account(tmp_path, Planned(size=2)).missing == []


def test_events_of_a_rank_that_are_gone_cost_no_steps(tmp_path: Path) -> None:
    events, _ = [wrote(tmp_path, rank) for rank in (0, 1, 2)][1]
    events.unlink()
    found = account(tmp_path, Planned(size=3))
    assert (found.missing, found.mute) == ([], [1])


def test_a_plan_says_how_many_ranks_lead_and_follow() -> None:
    def command(tag: str, ranks: Ranks | None) -> Command:
        return Command(tag=tag, benchmark="t", node="n", argv=("true",), cwd="/", ranks=ranks)

    commands = (
        command("t.a", Ranks(leader="t.a", first=0, count=2, nodes=2)),
        command("t.b", Ranks(leader="t.a", first=2, count=3, nodes=2)),
        command("u", None),
    )
    jobs = (Job(tag="t", commands=commands, deadline_s=None),)
    found = planned(Plan(phase="run", trials=(Trial(benchmark="t", jobs=jobs),)))
    assert found == {"t.a": Planned(size=5, firsts=frozenset({0, 2}))}


@pytest.mark.parametrize(
    ("ranks", "words"),
    [
        ([3], "rank 3"),
        ([1, 2], "ranks 1 and 2"),
        (range(1, 100), "ranks 1 to 99"),
        ([1, 3, 4], "ranks 1, 3 and 4"),
        (range(0, 40, 2), "ranks 0, 2, 4, 6, 8, 10, 12, 14 and 12 more"),
    ],
)
def test_ranks_are_named_in_few_words(ranks: Sequence[int], words: str) -> None:
    assert named(ranks) == words
