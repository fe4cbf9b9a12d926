"""Two runs beside each other, as a user compares them: real quick ones, damaged ones, ones of other tools."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import PRINTER, Project, Result, shell, wait_until

# Prints what a program measured itself: each repeat is faster by 0.1 items/s than the one before, whenever it is run.
RATED = """case "$MILABENCH_EVENTS" in *.R1.*) tenth=1;; *.R2.*) tenth=2;; *) tenth=0;; esac
for step in 1 2 3 4 5 6 7 8 9 10 11 12; do echo '{{"rate": {rate}.'$tenth', "units": "items/s"}}'; done"""

REPEATS = [100.0, 100.1, 100.2]


def steady(rate: int) -> dict[str, Any]:
    return shell(RATED.format(rate=rate))


def run(project: Project, name: str, *arguments: str, **entries: Any) -> None:
    project.suite(**entries)
    project.verb("run", "--run-name", name, *arguments)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a project with three runs of three repeats: a and b alike, c in which one is slower and one fails."""
    project = Project(tmp_path_factory.mktemp("compare"))
    for name in ("a", "b"):
        run(project, name, "--repeat", "3", alike=steady(100), slower=steady(100), breaks=steady(100), gone=steady(100))
    run(project, "c", "--repeat", "3", alike=steady(100), slower=steady(95), breaks=shell("exit 3"), new=steady(100))
    for path in project.base.glob("runs/*/*.monitor.jsonl"):
        path.unlink()  # whether others keep this machine busy is no matter here
    return project


def folder(project: Project, name: str) -> Path:
    (found,) = (project.base / "runs").glob(f"{name}.*")
    return found


@pytest.fixture
def copied(made: Project, project: Project) -> Project:
    """Return a project of its own with those runs, to damage them."""
    shutil.copytree(made.base / "runs", project.base / "runs")
    return project


def verdicts(result: Result) -> dict[str, str]:
    return {each["name"]: each["verdict"] for each in result.json["benchmarks"]}


def test_two_runs_of_one_machine_are_compared(made: Project) -> None:
    done = made.milabench("compare", "a", "c", "--json")
    assert (done.code, done.err) == (1, "")
    assert verdicts(done) == {"alike": "same", "slower": "worse", "breaks": "worse"}
    found = {each["name"]: each for each in done.json["benchmarks"]}
    assert found["slower"]["ratio"] == pytest.approx(0.95, abs=0.0001)
    assert found["slower"]["before"]["repeats"] == pytest.approx(REPEATS)
    assert 0.99 < found["alike"]["low"] < 1 < found["alike"]["high"] < 1.01
    assert found["breaks"]["reason"] == "failed in B (exit code 3)"
    assert [each["name"] for each in found["slower"]["changed"]] == ["command.argv"]
    assert done.json["absent"] == [
        {"benchmark": "gone", "reason": "only in A"},
        {"benchmark": "new", "reason": "only in B"},
    ]
    assert {"machine", "software"} <= set(done.json["same"])
    assert [each for each in done.json["changed"] if each["area"] in ("machine", "software", "code")] == []


@pytest.mark.parametrize(
    ("arguments", "code", "verdict"),
    [
        (("a", "b"), 0, "same"),
        (("a", "c"), 1, "worse"),
        (("c", "a"), 0, "better"),
        (("a,b", "c", "--tolerance", "10%"), 1, "worse"),
        (("a", "b", "--tolerance", "0.5 %"), 0, "same"),
    ],
)
def test_the_exit_code_says_the_verdict(made: Project, arguments: tuple[str, ...], code: int, verdict: str) -> None:
    done = made.milabench("compare", *arguments, "--json")
    assert (done.code, done.json["verdict"]) == (code, verdict)


def test_a_tolerance_makes_a_small_change_none(made: Project) -> None:
    assert verdicts(made.milabench("compare", "a", "c", "--json", "--tolerance", "10%"))["slower"] == "same"


def test_one_repeat_a_side_is_undecided_and_says_what_to_do(copied: Project) -> None:
    for path in (copied.base / "runs").glob("*/*.R[12].*"):
        path.unlink()
    done = copied.milabench("compare", "a", "b")
    assert done.code == 3
    told = " ".join(done.out.split())
    assert "one repeat a side: how much repeats differ is not known; run both with --repeat 5" in told


def test_a_change_that_repeats_vary_by_is_undecided(made: Project) -> None:
    """Of 0.1 % no more than the repeats' own spread."""
    done = made.milabench("compare", "a", "b", "--json", "--tolerance", "0.1%")
    assert (done.code, verdicts(done)["alike"]) == (3, "undecided")


def test_runs_are_pooled_with_commas(made: Project) -> None:
    done = made.milabench("compare", "a,b", "c", "--json")
    assert verdicts(done)["slower"] == "undecided"  # by how much runs differ two and one do not tell
    assert done.json["benchmarks"][0]["before"]["repeats"] == pytest.approx(REPEATS * 2)
    assert [each["name"].split(".")[0] for each in done.json["before"]["runs"]] == ["a", "b"]


@pytest.mark.parametrize("form", ["text", "markdown", "csv", "json"])
def test_every_form_is_written(made: Project, form: str) -> None:
    done = made.milabench("compare", "a", "c", "--format", form)
    assert (done.code, done.err) == (1, "")
    assert "slower" in done.out


# What is no pair of runs ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a", "a"), "A and B hold the same run"),
        (("a", "copy"), "A and B hold the same run"),
        (("a,b", "c,b"), "A and B hold the same run"),
        (("a,a", "b"), "the same run is given twice"),
        (("a", "nowhere"), "no run 'nowhere'"),
        (("a",), "Missing argument 'B'"),
        (("a", "b", "--tolerance", "0"), "'0' is no percentage below 100 %: write it with its sign, as 1%, 0.5% or 0%"),
        (("a,", "b"), "A is 'a,', in which a name is empty"),
        (("a", "b", "--tolerance", "5"), "'5' is no percentage below 100 %"),
        (("a", "b", "--tolerance", "100%"), "'100%' is no percentage below 100 %"),
        (("a", "b", "--tolerance", "٥%"), "'٥%' is no percentage below 100 %"),
        (("a", "b", "--tolerance=-1%"), "'-1%' is no percentage below 100 %"),
    ],
)
def test_what_cannot_be_compared_at_all_is_a_mistake(copied: Project, arguments: tuple[str, ...], message: str) -> None:
    shutil.copytree(folder(copied, "a"), copied.base / "runs" / "copy")
    done = copied.milabench("compare", *arguments)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert "Traceback" not in done.err


# Damaged and unfinished runs ------------------------------------------------------------------------------------------


def _without_facts(run: Path) -> None:
    (run / "run.json").unlink()


def _without_plan(run: Path) -> None:
    (run / "plan.json").unlink()


def _odd_facts(run: Path) -> None:
    facts = json.loads((run / "run.json").read_text())
    facts |= {
        "system": {"devices": 7, "cpus": "many"},
        "environments": [1],
        "code": None,
        "environ": "x",
        "preflight": {},
    }
    (run / "run.json").write_text(json.dumps(facts))


def _garbage(run: Path) -> None:
    for path in run.glob("*.data"):
        path.write_bytes(b"\0\xff{" * 1000)


def _cut(run: Path) -> None:
    for path in (*run.glob("*.data"), *run.glob("*.json"), *run.glob("*.steps")):
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])


def _emptied(run: Path) -> None:
    for path in (*run.glob("*.data"), *run.glob("*.steps"), run / "journal.jsonl"):
        path.unlink()


def _odd_rates(run: Path) -> None:
    for path in run.glob("*.data"):
        text = path.read_text()
        for number, rate in enumerate(("0", "-5", "NaN", "1e400", '"fast"', "null")):
            text = text.replace('"rate": 100', f'"rate": {rate}', number + 1)
        path.write_text(text)


@pytest.mark.parametrize(
    "damage",
    [_without_facts, _without_plan, _odd_facts, _garbage, _cut, _emptied, _odd_rates],
    ids=lambda each: each.__name__,
)
@pytest.mark.parametrize("side", [0, 1])
def test_a_damaged_run_is_compared_as_far_as_it_goes(
    copied: Project, damage: Callable[[Path], None], side: int
) -> None:
    paths = [folder(copied, name) for name in ("a", "b")]
    damage(paths[side])
    done = copied.milabench("compare", *map(str, paths), "--json")
    assert done.code in (0, 1, 2, 3), done.err
    assert "Traceback" not in done.err
    if done.code != 2:
        assert done.json["version"] == 1


def test_a_run_that_still_runs_is_not_comparable_yet(project: Project) -> None:
    run(project, "a", bench=shell(PRINTER))
    project.suite(bench=shell(PRINTER, stop=1_000_000))
    with project.started("run", "--config", "suite.yaml", "--run-name", "b"):
        wait_until(lambda: len(list((project.base / "runs").glob("b.*/bench.data"))) == 1)
        done = project.milabench("compare", "a", "b", "--json")
    assert done.code == 3
    assert verdicts(done) == {"bench": "not comparable"}
    assert "cut off in B" in done.json["benchmarks"][0]["reason"]
    assert any("is still being run" in warning for warning in done.json["warnings"])
