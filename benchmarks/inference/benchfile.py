from milabench.pack import Package


class InferenceBenchmark(Package):
    base_requirements = "requirements.in"
    main_script = "main.py"


__pack__ = InferenceBenchmark
