from milabench.pack import Package


class StorageBenchmark(Package):
    """Needs nothing but the standard library: there are no requirements."""

    prepare_script = "prepare.py"
    main_script = "main.py"


__pack__ = StorageBenchmark
