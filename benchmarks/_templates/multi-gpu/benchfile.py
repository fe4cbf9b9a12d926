from milabench.commands import TorchrunAllGPU
from milabench.pack import Package


class Benchmark(Package):
    def build_run_plan(self):
        # A rank per device of the node; on a machine without devices two, that share the cores.
        return TorchrunAllGPU(super().build_run_plan(), cpu_ranks=2)


__pack__ = Benchmark
