from milabench.pack import Package


class FlopsBenchmark(Package):
    base_requirements = "requirements.in"
    main_script = "main.py"


__pack__ = FlopsBenchmark
