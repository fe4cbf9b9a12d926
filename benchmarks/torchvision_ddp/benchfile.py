from milabench.commands import TorchrunAllGPU
from milabench.pack import Package


class TorchvisionDdpBenchmark(Package):
    def build_run_plan(self):
        return TorchrunAllGPU(super().build_run_plan(), cpu_ranks=2)


__pack__ = TorchvisionDdpBenchmark
