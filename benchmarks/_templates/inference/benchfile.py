from milabench.pack import Package


class Benchmark(Package):
    """A folder with a main.py needs no benchfile; here is what one can say. Remove what you do not change."""

    main_script = "main.py"
    base_requirements = "requirements.in"
    prepare_script = "prepare.py"  # run by `milabench prepare` with the same arguments, where there is one

    def make_env(self):
        """Further variables for the scripts; asked while the plan is made: it may start and write nothing."""
        return super().make_env()

    async def install(self):
        """Clone, compile, patch; run in a process of its own once the requirements are there."""
        await super().install()


__pack__ = Benchmark
