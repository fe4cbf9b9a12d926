from milabench.pack import Package


class MemcpyBenchmark(Package):
    base_requirements = "requirements.in"
    main_script = "main.py"


__pack__ = MemcpyBenchmark
