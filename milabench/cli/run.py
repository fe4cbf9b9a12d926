"""``milabench run``."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from milabench.cli.shared import carry_out, read_options, setup_options, show

if TYPE_CHECKING:
    from milabench.rundir import RunDir


@click.command()
@setup_options
@click.option("--all", "everything", is_flag=True, help="Install and prepare first.")
@click.option(
    "--run-name",
    metavar="NAME",
    help="Name of the run, or a path; with a multirun, what names begin with. [MILABENCH_RUN_NAME, two random words]",
)
@click.option(
    "--repeats", type=click.IntRange(1), default=1, show_default=True, help="How often each benchmark is run."
)
def run(**values: Any) -> int:
    """Run a suite into a new run directory and report on it; with a multirun in the system file, several times."""
    from milabench.app.run import run as flow
    from milabench.console import Console
    from milabench.summary import summarize

    def report(record: RunDir) -> None:
        with suppress(BrokenPipeError):  # nobody reads the report: the exit code still says how the run went
            show(summarize([record]))

    console = Console(quiet=values["quiet"])
    return int(carry_out(flow(read_options(values), console, report, everything=values["everything"])))
