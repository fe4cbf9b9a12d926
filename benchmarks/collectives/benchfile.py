from milabench.commands import TorchrunAllGPU
from milabench.pack import Package


class CollectivesBenchmark(Package):
    base_requirements = "requirements.in"
    main_script = "main.py"

    def build_run_plan(self):
        # A rank per device; two on a machine without devices, which measure its memory and its loopback.
        return TorchrunAllGPU(super().build_run_plan(), cpu_ranks=2)


__pack__ = CollectivesBenchmark
