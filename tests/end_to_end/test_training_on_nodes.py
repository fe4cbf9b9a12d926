"""A training over two machines by `milabench run`: from one that is no node, and from one of them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

import pytest

from harness import folder
from machines import Machines
from nodes import started, why_not
from trainings import training, write_training

pytestmark = pytest.mark.timeout(900)
BUNDLE = "suite.tar"


@pytest.fixture(scope="module")
def machines(index: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    """Yield two nodes, and a training with all that it needs in a bundle: they reach no package index."""
    if (reason := why_not()) is not None:
        pytest.skip(reason)
    place = tmp_path_factory.mktemp("training")
    with started(place / "nodes", ("n1", "n2")) as nodes:
        found = Machines(place / "project", nodes)
        # The Python that milabench has there too: an environment made from elsewhere is one made there.
        found.write_system(nodes={"n1": {"python": sys.executable}})
        write_training(found.project, training(2))
        found.project.suite(training=folder("training", stop=20, num_machines=2))
        packed = found.project.verb("bundle-env", "-o", str(found.project.folder / BUNDLE), timeout_s=800, **index)
        assert packed.code == 0, packed.err
        yield found


@pytest.mark.parametrize("at", ["op", "n1"])
def test_ranks_of_both_machines_are_measured_as_one(machines: Machines, at: str) -> None:
    done = machines.milabench("install", "--bundle", str(machines.project.folder / BUNDLE), at=at)
    assert done.code == 0, done.err
    done = machines.milabench("run", at=at)
    assert done.code == 0, done.err
    run = machines.run(at)
    assert machines.outcomes(at) == {"training.n1": "early_stop", "training.n2": "early_stop"}
    paths = [run.files("training.n1").of_rank(rank)[0] for rank in range(2)]
    events = [[json.loads(line) for line in path.read_text().splitlines()] for path in paths]
    hellos = [next(each["data"] for each in found if each["event"] == "hello") for found in events]
    assert [(each["rank"], each["node"], each["world_size"]) for each in hellos] == [(0, "n1", 2), (1, "n2", 2)]
    (steps,) = run.steps("training.n1")
    assert set(steps.columns["count"]) == {8}
    done = machines.milabench("report", "--json", at=at)
    (found,) = done.json["benchmarks"]
    assert (found["failed"], found["steps"]["measured"], found["unit"]) == (0, 20, "items/s")
    assert machines.left() == {}
