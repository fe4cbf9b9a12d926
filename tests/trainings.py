"""A training by all ranks of a group, as the folder of a benchmark: it needs torch, and nothing else."""

from __future__ import annotations

from harness import Project

TORCHRUN = "TorchrunAllNodes(super().build_run_plan())"
_SCRIPT = """
    import torch
    from torch import distributed

    from benchmate.distributed import joined
    from benchmate.observe import Observer

    with joined():
        observer = Observer(unit="items")
        for batch in observer.iterate([torch.ones(4)] * 10_000):
            total = batch.clone()
            distributed.all_reduce(total)
            assert total[0] == distributed.get_world_size() == RANKS
"""
_BENCHFILE = """
    from milabench.commands import AccelerateAllNodes, TorchrunAllNodes
    from milabench.pack import Package

    class Benchmark(Package):
        base_requirements = "requirements.in"

        def build_run_plan(self):
            return LAUNCHER

    __pack__ = Benchmark
"""


def training(ranks: int) -> str:
    """Return the script, which fails where there are not so many ranks."""
    return _SCRIPT.replace("RANKS", str(ranks))


def write_training(
    project: Project, script: str, *, name: str = "training", launcher: str = TORCHRUN, requirements: str = "torch\n"
) -> None:
    """Write the folder of a script that runs on several nodes under a launcher."""
    project.write(f"{name}/main.py", script)
    project.write(f"{name}/requirements.in", requirements)
    project.write(f"{name}/benchfile.py", _BENCHFILE.replace("LAUNCHER", launcher))
