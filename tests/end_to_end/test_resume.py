"""Go on with runs that were cut off: nothing is lost, nothing is counted twice, and nobody else may write meanwhile."""

from __future__ import annotations

import json
import random
import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from harness import OBSERVED, PRINTER, Project, folder, shell, wait_until

STEPS = """for i in 1 2 3 4 5 6; do echo '{"count": 10, "unit": "items"}'; sleep 0.02; done"""
SUITE = {
    "good": shell(STEPS, stop=100, plan={"method": "njobs", "n": 2}, weight=2),
    "bad": shell(f"{STEPS}; exit 3", stop=100),
    "limited": shell(PRINTER, stop=5),
    "silent": shell("exec sleep 1000", max_duration="0.5s"),
}
RESUMED = ("good.0", "good.1", "bad", "limited", "silent")


def told(document: dict[str, Any]) -> dict[str, Any]:
    """Return what must be the same in every report of the suite: all but times, and rates that a clock measured."""
    same = ("n", "failed", "outcomes", "weight", "enabled", "unit", "failures")
    each = {found["name"]: {key: found[key] for key in same} for found in document["benchmarks"]}
    timeless = re.sub(r"\b\d+ (s|steps)\b", r"n \1", json.dumps(each))
    return {"benchmarks": json.loads(timeless), "missing": document["missing"]}


def one_by_one(folder: Path, seed: int, wanted: dict[str, Any], seconds: float) -> None:
    """Kill a runner at a random moment, resume, and compare with a run that was left alone."""
    folder.mkdir()
    project = Project(folder)
    project.suite(**SUITE)
    moment = random.Random(seed).uniform(0.3, seconds)
    with project.started("run", "--config", "suite.yaml", "--run-name", "night", "--quiet") as runner:
        time.sleep(moment)
        runner.kill()
        runner.wait()
        if not list(project.base.glob("runs/*/plan.json")):
            assert project.verb("run", "--run-name", "night").code == 1
        else:
            assert project.milabench("resume", "night").code == 1
    assert told(project.milabench("report", "night", "--json").json) == wanted, moment
    journal = project.run().journal()
    assert (journal.state, journal.running) == ("complete", ())
    assert project.processes() == []


def test_killed_at_random_moments_and_resumed_a_run_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    project = Project(tmp_path / "whole")
    project.suite(**SUITE)
    began = time.monotonic()
    assert project.verb("run").code == 1
    seconds = time.monotonic() - began
    wanted = told(project.milabench("report", "--json").json)
    assert wanted["missing"] == []
    with ThreadPoolExecutor(2) as pool:
        cases = [pool.submit(one_by_one, tmp_path / str(seed), seed, wanted, seconds) for seed in range(20)]
        for case in cases:
            case.result()


def interrupted(project: Project, *, failing: bool = False) -> None:
    """Leave a run of which the first benchmark has ended, the second was amid its work and the third never began."""
    first = shell(f"{STEPS}; exit 3" if failing else PRINTER, stop=5 if not failing else 100)
    project.suite(first=first, second=shell(PRINTER, stop=150), third=shell(PRINTER, stop=5))
    with project.started("run", "--config", "suite.yaml", "--run-name", "night") as runner:
        wait_until(lambda: list(project.base.glob("runs/*/second.steps")))
        runner.send_signal(signal.SIGINT)
        assert runner.wait(60) == 130


def test_what_was_interrupted_begins_anew_and_its_first_attempt_is_kept(project: Project) -> None:
    interrupted(project)
    before = project.run().files("first").events.read_bytes()
    done = project.milabench("resume")
    assert (done.code, "[1/2] running second" in done.err) == (0, True)
    run = project.run()
    assert run.files("first").events.read_bytes() == before
    assert {name: each["outcomes"] for name, each in project.report().items()} == dict.fromkeys(
        ("first", "second", "third"), {"early_stop": 1}
    )
    assert sorted(path.name for path in (run.path / "attempts" / "1").iterdir()) == [
        "second.jsonl",
        "second.stderr",
        "second.stdout",
        "second.steps",
    ]
    journal = run.journal()
    assert (dict(journal.attempts), journal.state) == ({"first": 1, "second": 2, "third": 1}, "complete")
    assert len(journal.sittings) == 2


def test_a_complete_run_is_reported_again_and_nothing_is_run(project: Project) -> None:
    project.suite(printer=shell(PRINTER))
    project.verb("run")
    done = project.milabench("resume")
    assert (done.code, "nothing is left to run" in done.err, "printer" in done.out) == (0, True, True)
    assert dict(project.run().journal().attempts) == {"printer": 1}


def test_what_failed_stays_failed_unless_it_is_asked_for(project: Project) -> None:
    interrupted(project, failing=True)
    assert project.milabench("resume").code == 1
    assert dict(project.run().journal().attempts) == {"first": 1, "second": 2, "third": 1}
    assert project.milabench("resume", "--failed").code == 1
    assert dict(project.run().journal().attempts) == {"first": 2, "second": 2, "third": 1}
    assert project.report()["first"]["n"] == 1
    assert "first: 1 attempt before this one failed" in project.milabench("report").out.replace("\n", " ")


def test_a_run_that_is_being_written_is_refused_to_a_second_runner(project: Project) -> None:
    project.suite(long=shell(PRINTER, stop=1_000_000))
    with project.started("run", "--config", "suite.yaml", "--run-name", "./mine") as runner:
        wait_until((project.folder / "mine" / "long.steps").exists)
        for arguments in (("resume", "./mine"), ("run", "--config", "suite.yaml", "--run-name", "./mine")):
            done = project.milabench(*arguments)
            assert (done.code, "is being written by another milabench" in done.err) == (4, True)
        runner.send_signal(signal.SIGINT)
        assert runner.wait(60) == 130
    assert project.milabench("report", "./mine", "--json").json["benchmarks"][0]["outcomes"] == {"interrupted": 1}


def test_resuming_waits_until_all_of_a_killed_runner_has_ended(project: Project) -> None:
    stubborn = "trap '' TERM; " + STEPS + "; while true; do sleep 0.1; done"
    project.suite(long=shell(stubborn, stop=1_000_000, max_duration="1s"))
    with project.started("run", "--config", "suite.yaml") as runner:
        wait_until(lambda: list(project.base.glob("runs/*/long.steps")))
        runner.kill()
        runner.wait()
        done = project.milabench("resume")
    assert "for the processes of the runner before to end" in done.err
    assert (done.code, project.report()["long"]["outcomes"]) == (1, {"timeout": 1})


@pytest.mark.parametrize("name", [None, "gone", "."])
def test_what_is_no_run_is_said_so(project: Project, name: str | None) -> None:
    done = project.milabench("resume", *([name] if name else []))
    assert (done.code, "Traceback" in done.err) == (2, False)
    assert "no run" in done.err


def test_a_changed_machine_is_refused_unless_forced_and_then_stands_in_the_report(project: Project) -> None:
    interrupted(project)
    facts = project.run().facts()
    changed = {**facts, "system": {**facts["system"], "hostname": "elsewhere", "cpus": 999}}
    project.run().facts_path.write_text(json.dumps(changed))
    done = project.milabench("resume")
    assert (done.code, "hostname: elsewhere →" in done.err, "cpus: 999 →" in done.err) == (4, True, True)
    done = project.milabench("resume", "--force")
    assert (done.code, "hostname: elsewhere →" in done.out) == (0, True)


def test_a_run_that_lost_its_journal_keeps_what_has_ended(project: Project) -> None:
    project.suite(one=shell(PRINTER), two=shell(f"{STEPS}; exit 3", stop=100))
    project.verb("run")
    run = project.run()
    before = {tag: run.files(tag).events.read_bytes() for tag in run.tags()}
    run.journal_path.write_bytes(b"")
    assert project.milabench("resume").code == 1
    assert {tag: run.files(tag).events.read_bytes() for tag in run.tags()} == before
    assert {trial: each.kind for trial, each in run.outcomes().items()} == {"one": "early_stop", "two": "failed"}
    run.journal_path.unlink()
    project.milabench("resume", "--failed")
    assert [path.name for path in (run.path / "attempts").rglob("*.jsonl")] == ["two.jsonl"]


def test_what_is_gone_of_a_finished_run_is_run_again(project: Project) -> None:
    project.suite(one=shell(PRINTER), two=shell(PRINTER))
    project.verb("run")
    project.run().files("two").events.unlink()
    done = project.milabench("resume")
    assert (done.code, "[1/1] running two" in done.err) == (0, True)
    assert project.report()["two"]["n"] == 1


def test_a_finished_run_is_not_touched_by_resuming_it(project: Project) -> None:
    project.suite(one=shell(PRINTER))
    project.verb("run")
    before = {path: path.read_bytes() for path in project.run().path.iterdir()}
    assert project.milabench("resume").code == 0
    assert {path: path.read_bytes() for path in project.run().path.iterdir()} == before


def test_code_that_has_changed_is_refused(project: Project) -> None:
    project.write("bench/main.py", OBSERVED)
    slow = shell(PRINTER, stop=150)
    project.suite(slow=slow, mine=folder("bench"))
    project.milabench("run", "--all", "--config", "suite.yaml", "--select", "mine")
    with project.started("run", "--config", "suite.yaml", "--run-name", "night") as runner:
        wait_until(lambda: list(project.base.glob("runs/night*/slow.steps")))
        runner.send_signal(signal.SIGINT)
        assert runner.wait(60) == 130
    project.write("bench/main.py", f"{OBSERVED}\n    print('otherwise')\n")
    done = project.milabench("resume", "night")
    assert (done.code, f"code {project.folder / 'bench'}: " in done.err) == (4, True)


def test_a_run_that_is_still_going_says_so_in_its_report(project: Project) -> None:
    project.suite(long=shell(PRINTER, stop=1_000_000))
    with project.started("run", "--config", "suite.yaml", "--run-name", "./mine") as runner:
        wait_until((project.folder / "mine" / "long.steps").exists)
        assert "mine is still being run" in project.milabench("report", "./mine").out
        runner.send_signal(signal.SIGINT)
        assert runner.wait(60) == 130
    assert "still being run" not in project.milabench("report", "./mine").out
