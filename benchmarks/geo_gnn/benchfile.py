from milabench.pack import Package


class GeoGnnBenchmark(Package):
    base_requirements = "requirements.in"
    main_script = "main.py"


__pack__ = GeoGnnBenchmark
