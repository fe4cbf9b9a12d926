from milabench.commands import TorchrunAllNodes
from milabench.pack import Package


class Benchmark(Package):
    def build_run_plan(self):
        # torchrun on each of the entry's num_machines nodes, rank 0 on the main one; on one node as TorchrunAllGPU.
        return TorchrunAllNodes(super().build_run_plan(), cpu_ranks=2)


__pack__ = Benchmark
