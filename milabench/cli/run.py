"""``milabench run``."""

from __future__ import annotations

from typing import Any

import click

from milabench.cli.shared import carry_out, read_options, repeat_option, setup_options, show_run


@click.command()
@setup_options
@click.option("--all", "everything", is_flag=True, help="Install and prepare first.")
@click.option("--force", is_flag=True, help="Go on whatever the look before a run (`milabench doctor`) finds.")
@click.option(
    "--run-name",
    metavar="NAME",
    help="Name of the run, or a path; with a multirun, what names begin with. [MILABENCH_RUN_NAME, two random words]",
)
@repeat_option
@click.option(
    "--side-by-side",
    is_flag=True,
    help="Run benchmarks that share no device at the same time; the report names who ran beside whom.",
)
def run(**values: Any) -> int:
    """Run a suite into a new run directory and report on it; with a multirun in the system file, several times."""
    from milabench.app.run import run as flow
    from milabench.console import Console

    console = Console(quiet=values["quiet"])
    chosen = {"everything": values["everything"], "force": values["force"]}
    return int(carry_out(flow(read_options(values), console, show_run, **chosen)))
