from milabench.pack import Package


class BertBenchmark(Package):
    base_requirements = "requirements.in"
    main_script = "main.py"


__pack__ = BertBenchmark
