from milabench.pack import Package


class Benchmark(Package):
    def build_run_plan(self):
        return super().build_run_plan().use_stdout()  # metrics are JSON lines on standard output


__pack__ = Benchmark
