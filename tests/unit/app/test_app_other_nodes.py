"""Going on with a run on other nodes: who takes which place, and what is kept of those that had it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from runs_on_nodes import cut_off, machine, resumed, run

from milabench import journal
from milabench.app import places
from milabench.app import resume as resume_module
from milabench.app.phases import Operation
from milabench.app.places import Place
from milabench.errors import ExitCode, PreflightError, UsageError
from milabench.execute.hosts import Launch
from milabench.execute.hosts.fake import FakeHost, Story, exits
from milabench.plan import Plan
from milabench.record import Record
from milabench.rundir import RunDir
from milabench.summary import summarize

Moves = Sequence[tuple[str, str]]


def facts(names: str, *moves: tuple[str, str]) -> dict[str, Any]:
    return {
        "nodes": {name: {} for name in names.split()},
        "replaced": [{"node": node, "by": by, "time": 1.0} for node, by in moves],
    }


def shown(found: Sequence[Place]) -> str:
    return " ".join(place.node for place in found)


@pytest.mark.parametrize(
    ("known", "wanted"),
    [
        (facts("a b c"), "a b c"),
        (facts("a b c d", ("b", "d")), "a d c"),
        (facts("a b c d e", ("b", "d"), ("d", "e")), "a e c"),
        (facts("a b c d", ("b", "d"), ("d", "b")), "a b c"),
        (facts("a b c d e", ("a", "d"), ("c", "e")), "d b e"),
        ({}, "local"),
    ],
)
def test_places_follow_from_what_was_recorded(known: dict[str, Any], wanted: str) -> None:
    assert shown(places.of_run(known, [] if known else ["local"])) == wanted


@pytest.mark.parametrize(
    ("known", "there", "wanted"),
    [
        (facts("a b c"), "a b c d", "a b c"),
        (facts("a b c"), "c d a", "a d c"),
        (facts("a b c"), "d e f", "d e f"),
        (facts("a b c"), "b c d", "d b c"),
        (facts("a b c d", ("b", "d")), "a c e", "a e c"),
        (facts("a b c d", ("b", "d")), "a b c", "a b c"),  # it is back
        (facts("a b c d", ("b", "d")), "a b c d", "a d c"),
        (facts("a b c d", ("b", "d")), "b d e f", "e d f"),  # b has no other place
    ],
)
def test_who_is_there_keeps_its_place_and_others_take_what_is_left(
    known: dict[str, Any], there: str, wanted: str
) -> None:
    before = places.of_run(known)
    after = places.assigned(before, there.split())
    assert shown(after) == wanted
    moves = places.newly(before, after, 2.0)
    names = [*known["nodes"], *(move["by"] for move in moves if move["by"] not in known["nodes"])]
    again = {"nodes": dict.fromkeys(names), "replaced": [*known["replaced"], *moves]}
    assert places.of_run(again) == after


@pytest.mark.parametrize(
    ("known", "there", "said"),
    [
        (facts("a b c"), "a c", "on 3 nodes, and a, c are 1 too few: it goes on on as many as it was begun on$"),
        (facts("a b c"), "d", "on 3 nodes, and d is 2 too few"),
        (
            facts("a b c d", ("b", "d")),
            "a b d",
            r"a, b, d are 1 too few: .* \(b had a place before: it takes no other\)",
        ),
    ],
)
def test_too_few_are_refused_with_how_many(known: dict[str, Any], there: str, said: str) -> None:
    with pytest.raises(PreflightError, match=said):
        places.assigned(places.of_run(known), there.split())


# Runs ----------------------------------------------------------------------------------------------------------------


def system(folder: Path, *nodes: str) -> Path:
    """Return a system file of some nodes."""
    path = folder / "others.yaml"
    rows = [
        f"{{name: {name}, ip: 10.9.8.{ord(name)}, main: {str(name == nodes[0]).lower()}, user: {name}}}"
        for name in nodes
    ]
    path.write_text(f"system: {{nodes: [{', '.join(rows)}]}}\n")
    return path


def two(folder: Path, monkeypatch: pytest.MonkeyPatch, **told: Any) -> RunDir:
    """Return a run on the nodes a and b that was cut off in its second trial."""
    _, record = run(folder, {"a": machine(), "b": machine(**told)}, monkeypatch)
    cut_off(record)
    return record


def launched(hosts: dict[str, FakeHost]) -> dict[str, list[str]]:
    return {name: host.launched for name, host in hosts.items()}


def test_a_run_goes_on_on_a_node_of_another_file_and_keeps_what_had_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = two(tmp_path, monkeypatch)
    before = {tag: record.files(tag).events.read_bytes() for tag in ("one.a", "one.b")}
    hosts = {"a": machine(), "d": machine(hostname="elsewhere")}
    file = system(tmp_path, "a", "c", "d")
    hosts["c"] = machine(hostname="other")
    del hosts["d"]
    assert resumed(tmp_path, record, hosts, monkeypatch, file, other_nodes=True) == ExitCode.OK
    assert launched(hosts) == {"a": ["two.a"], "c": ["two.c"]}
    assert record.tags() == ("one.a", "one.b", "two.a", "two.c")
    assert {tag: record.files(tag).events.read_bytes() for tag in before} == before
    assert sorted(path.name for path in record.attempt_path(1).glob("*.jsonl")) == ["two.a.jsonl", "two.b.jsonl"]
    known = record.facts()
    assert (known["system_file"], known["nodes"]["c"]["user"], [*known["nodes"]]) == (str(file), "c", ["a", "b", "c"])
    assert ([(each["node"], each["by"]) for each in known["replaced"]], "changed" in known) == ([("b", "c")], False)
    told = " ".join(summarize(record).warnings)
    assert "c took the place of b on 20" in told
    assert dict(record.journal().attempts) == {"one": 1, "two": 2}


def test_it_goes_on_there_again_without_being_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = two(tmp_path, monkeypatch)
    file = system(tmp_path, "a", "c")
    lost = machine(lambda _: exits(3))
    assert (
        resumed(tmp_path, record, {"a": machine(), "c": lost}, monkeypatch, file, other_nodes=True) == ExitCode.FAILED
    )
    with pytest.raises(PreflightError, match="1 of 2 nodes cannot be used"):
        resumed(tmp_path, record, {"a": machine()}, monkeypatch, failed=True)
    hosts = {"a": machine(), "c": machine()}
    assert resumed(tmp_path, record, hosts, monkeypatch, failed=True) == ExitCode.OK
    assert launched(hosts) == {"a": ["two.a"], "c": ["two.c"]}


def test_what_had_failed_on_a_node_that_is_gone_is_run_again_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bad(launch: Launch) -> Story:
        return exits(3) if launch.command.tag == "one.b" else Story()

    _, record = run(tmp_path, {"a": machine(), "b": machine(bad)}, monkeypatch)
    cut_off(record)
    first = {"a": machine(), "c": machine()}
    assert (
        resumed(tmp_path, record, first, monkeypatch, system(tmp_path, "a", "c"), other_nodes=True) == ExitCode.FAILED
    )
    assert record.tags() == ("one.a", "one.b", "two.a", "two.c")
    again = {"a": machine(), "c": machine()}
    assert resumed(tmp_path, record, again, monkeypatch, failed=True) == ExitCode.OK
    assert launched(again) == {"a": ["one.a"], "c": ["one.c"]}
    assert record.tags() == ("one.a", "one.c", "two.a", "two.c")
    assert dict(record.failed_before()) == {"one": 1}


class Killed(BaseException):
    """The end of a runner, at some moment."""


def kill_before(patch: pytest.MonkeyPatch, number: int) -> None:
    """Have a runner end before the so-manieth change that it makes of a run, at the latest when it would run it."""
    changes = itertools.count(1)

    def ends(function: Callable[..., Any]) -> Callable[..., Any]:
        def changing(*arguments: Any, **named: Any) -> Any:
            if next(changes) == number:
                raise Killed
            return function(*arguments, **named)

        return changing

    def filled(_work: Operation, _plan: Plan, record: Record, *_: object) -> None:
        record.release()
        raise Killed

    patch.setattr(Path, "replace", ends(Path.replace))
    patch.setattr(journal.Writer, "_append", ends(journal.Writer._append))
    patch.setattr(resume_module, "fill", filled)


@pytest.mark.parametrize("number", range(2, 12))  # the first is of any runner that goes on, the tenth puts the plan
def test_a_runner_that_is_killed_as_nodes_are_replaced_is_made_up_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    record, file = two(tmp_path, monkeypatch), system(tmp_path, "a", "c")
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_before(patch, number)
        resumed(tmp_path, record, {"a": machine(), "c": machine()}, patch, file, other_nodes=True)
    hosts = {"a": machine(), "c": machine()}
    replaced = "replaced" in record.facts()
    how = {} if replaced else {"other_nodes": True}
    assert resumed(tmp_path, record, hosts, monkeypatch, None if replaced else file, **how) == ExitCode.OK
    assert launched(hosts) == {"a": ["two.a"], "c": ["two.c"]}
    assert (record.tags(), len(record.facts()["replaced"])) == (("one.a", "one.b", "two.a", "two.c"), 1)
    assert dict(record.journal().attempts) == {"one": 1, "two": 2}
    kept = sorted(path.name for path in record.path.glob("attempts/*/*.jsonl"))
    assert kept == ["two.a.jsonl", "two.b.jsonl"]


def test_the_plan_is_changed_only_when_what_was_there_is_put_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = two(tmp_path, monkeypatch)
    found: list[tuple[bool, bool]] = []
    put = Record._put_away

    def looked(self: Record, *rest: Any) -> None:
        put(self, *rest)
        found.append((self.plan() == before, self.files("two.b").events.exists()))

    before = record.plan()
    monkeypatch.setattr(Record, "_put_away", looked)
    hosts = {"a": machine(), "c": machine()}
    assert resumed(tmp_path, record, hosts, monkeypatch, system(tmp_path, "a", "c"), other_nodes=True) == ExitCode.OK
    assert found == [(True, False)]


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"driver": "2"}, "driver of c, for b: 1 → 2"),
        ({"cpus": 8}, "cpus of c, for b: 4 → 8"),
        ({"cpu_name": "Another"}, "cpu_name of c, for b: Some CPU → Another"),
    ],
)
def test_a_node_of_another_kind_is_refused_unless_forced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: dict[str, Any], said: str
) -> None:
    record = two(tmp_path, monkeypatch, driver="1")
    file, before = system(tmp_path, "a", "c"), record.facts()
    hosts = {"a": machine(), "c": machine(**{"driver": "1", "hostname": "other", **told})}
    with pytest.raises(PreflightError, match=said):
        resumed(tmp_path, record, hosts, monkeypatch, file, other_nodes=True)
    assert (record.facts(), launched(hosts)) == (before, {"a": [], "c": []})
    hosts = {"a": machine(), "c": machine(**{"driver": "1", "hostname": "other", **told})}
    assert resumed(tmp_path, record, hosts, monkeypatch, file, other_nodes=True, force=True) == ExitCode.OK
    assert [said.split(": ", maxsplit=1)[0] in each for each in record.facts()["changed"]] == [True]


def test_without_nodes_to_choose_from_that_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = two(tmp_path, monkeypatch)
    with pytest.raises(UsageError, match="--other-nodes: give --system with a file"):
        resumed(tmp_path, record, {}, monkeypatch, other_nodes=True)
    file = system(tmp_path, "c")
    with pytest.raises(PreflightError, match=rf"on 2 nodes, and c is 1 too few: .*: name 2 in {file}"):
        resumed(tmp_path, record, {}, monkeypatch, file, other_nodes=True)
    assert not record.is_being_written()


def test_a_run_of_one_machine_has_no_node_to_replace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = Record.create(tmp_path / "it", plan=Plan(phase="run", trials=()), facts={"base": "/b"}, suite={})
    record.release()
    with pytest.raises(UsageError, match="begun on one machine alone"):
        resumed(tmp_path, record, {}, monkeypatch, system(tmp_path, "c"), other_nodes=True)
