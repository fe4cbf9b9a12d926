from milabench.commands import TorchrunAllGPU
from milabench.pack import Package


class Dinov2Benchmark(Package):
    base_requirements = "requirements.in"
    main_script = "main.py"

    def build_run_plan(self):
        return TorchrunAllGPU(super().build_run_plan(), cpu_ranks=2)


__pack__ = Dinov2Benchmark
