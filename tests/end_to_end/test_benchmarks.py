"""The contract that every benchmark keeps, in small and for real.

Installed, prepared twice (the second time for nothing), five steps measured without a network, ended early, and all
that it says of itself valid.
"""

from __future__ import annotations

import json
import math
from collections import Counter

import pytest

from harness import Project, Result
from milabench import suite
from milabench.resources import data_root
from without_network import NOT_HERE

SMOKE = data_root() / "config/smoke.yaml"
NAMES = [one.name for one in suite.resolve(SMOKE).benchmarks]
SHORT = f"""
    include: {SMOKE}
    '*':
      voir: {{options: {{stop: 5, skip: 1}}}}
    memcpy-host:
      argv: {{--bytes: 64M}}
"""
pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(scope="module")
def prepared(index: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Project:
    """All of the smoke suite, installed and prepared."""
    del index
    project = Project(tmp_path_factory.mktemp("smoke"))
    project.write("suite.yaml", SHORT)
    for verb in ("install", "prepare"):
        done = project.verb(verb, timeout_s=1500)
        assert done.code == 0, done.err
    return project


@pytest.fixture(scope="module")
def ran(prepared: Project) -> tuple[Project, Result]:
    """All of it run, where there is no network."""
    done = prepared.verb("run", timeout_s=1500, offline=True)
    if done.code == NOT_HERE:
        pytest.skip("no network namespace can be made here")
    return prepared, done


def test_the_smoke_suite_has_every_benchmark() -> None:
    found = suite.resolve(SMOKE).benchmarks
    used = {one.definition or (one.program and one.program.cwd) for one in found}
    folders = (path for path in (data_root() / "benchmarks").iterdir() if path.is_dir() and path.name[0] not in "._")
    assert used == {str(path) for path in folders}


def test_preparing_again_changes_no_data(prepared: Project) -> None:
    before = {name: entry for name, entry in prepared.tree().items() if name.startswith("base/data/")}
    assert prepared.verb("prepare").code == 0
    after = {name: entry for name, entry in prepared.tree().items() if name.startswith("base/data/")}
    assert {name for name in before if "lock" not in name} <= {name for name in after if after[name] == before[name]}
    assert before.keys() == after.keys()


def test_all_of_it_runs_without_a_network(ran: tuple[Project, Result]) -> None:
    assert ran[1].code == 0, ran[1].err


@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_measures_what_is_wanted_and_tells_the_truth_about_it(
    ran: tuple[Project, Result], name: str
) -> None:
    project, done = ran
    found = project.report()[name]
    if found["n"] == 0:  # it needs what this machine has not, and says so
        assert name in {skip.benchmark for skip in project.run().plan().skipped}, done.err
        return
    assert (found["outcomes"], found["steps"]) == ({"early_stop": found["n"]}, {"warmup": 1, "measured": 5})
    assert found["perf"] > 0
    assert math.isfinite(found["perf"])
    tags = [tag for tag in project.run().tags() if tag.split(".")[0] == name]
    assert tags
    for tag in tags:
        lines = project.run().files(tag).events.read_text().splitlines()
        events = [json.loads(line) for line in lines]
        assert [event["seq"] for event in events] == list(range(len(events)))
        count = Counter(event["event"] for event in events)
        assert (count["config"], count["start"], count["end"], count["error"], count["line"]) == (1, 1, 1, 0, 0)
        losses = [event["data"]["loss"] for event in events if event["event"] == "data" and "loss" in event["data"]]
        assert all(math.isfinite(loss) for loss in losses), tag
