"""A training over two machines, for real: installed there from a bundle, its ranks meet over the network."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from machines import Machines
from nodes import BASE, started, why_not

pytestmark = pytest.mark.timeout(900)

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
            assert total[0] == distributed.get_world_size() == 2
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
    """Yield two nodes with one base, which is not the operator's, and a training on both; they reach no index."""
    if (reason := why_not()) is not None:
        pytest.skip(reason)
    place = tmp_path_factory.mktemp("training")
    with started(place / "nodes", ("a1", "a2"), shared=("a1", "a2")) as nodes:
        found = Machines(place / "project", nodes)
        found.project.write("training/main.py", TRAINING)
        found.project.write("training/requirements.in", "torch\n")
        found.project.write("training/benchfile.py", BENCHFILE)
        entry = {"definition": "training", "num_machines": 2, "voir": {"options": {"stop": 20, "skip": 2}}}
        found.project.suite(training={**entry, "plan": {"method": "njobs"}})
        packed = found.project.verb("bundle-env", "--arch", "cpu", "-o", "training.tar", timeout_s=800, **index)
        assert packed.code == 0, packed.err
        yield found


def test_two_machines_train_together_from_a_third(machines: Machines) -> None:
    bundle = str(machines.project.folder / "training.tar")
    done = machines.milabench("run", "--all", "--bundle", bundle, timeout_s=800, UV_CACHE_DIR=f"{BASE}/uv")
    assert done.code == 0, done.err
    run = machines.run()
    assert machines.outcomes() == {"training.a1": "early_stop", "training.a2": "early_stop"}
    (steps,) = run.steps("training.a1")
    assert set(steps.columns["count"]) == {8}  # four of each rank
    hello = next(event.data for event in run.events("training.a1") if event.event == "hello")
    assert (hello["world_size"], hello["node"]) == (2, "a1")
    assert [name for name in ("a1", "a2") if run.facts()["nodes"][name]["shares_base"]] == ["a2"]
    assert machines.left() == {}
