from milabench.pack import Package


class DlrmBenchmark(Package):
    base_requirements = "requirements.in"
    main_script = "main.py"


__pack__ = DlrmBenchmark
