from milabench.commands import TorchrunAllGPU
from milabench.pack import Package


class LlmBenchmark(Package):
    base_requirements = "requirements.in"
    main_script = "main.py"

    def build_run_plan(self):
        # A rank per device where the plan gives the benchmark several; on a machine without devices two.
        return TorchrunAllGPU(super().build_run_plan(), cpu_ranks=2)


__pack__ = LlmBenchmark
