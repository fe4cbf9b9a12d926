"""A training over two machines by `milabench run`: from one that is no node, and from one of them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

import pytest

from harness import folder
from machines import Machines
from nodes import started, why_not

pytestmark = pytest.mark.timeout(900)
BUNDLE = "suite.tar"
TRAINING = """
    import torch
    from torch import distributed

    from benchmate.distributed import joined
    from benchmate.observe import Observer

    with joined():
        observer = Observer(unit="items")
        for batch in observer.iterate([torch.ones(4)] * 10_000):
            total = batch.clone()
            distributed.all_reduce(total)
            assert total[0] == distributed.get_world_size()
"""
BENCHFILE = """
    from milabench.commands import TorchrunAllNodes
    from milabench.pack import Package

    class Training(Package):
        base_requirements = "requirements.in"

        def build_run_plan(self):
            return TorchrunAllNodes(super().build_run_plan())

    __pack__ = Training
"""


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
        found.project.write("training/main.py", TRAINING)
        found.project.write("training/requirements.in", "torch\n")
        found.project.write("training/benchfile.py", BENCHFILE)
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
