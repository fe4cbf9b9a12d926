"""``milabench status``."""

from __future__ import annotations

import sys
from typing import Any

import click

from milabench.cli.shared import base_option, read_options


@click.command()
@click.argument("run", required=False, metavar="[RUN]")
@base_option
@click.option("--follow", "-f", is_flag=True, help="Go on until the run has ended; Ctrl-C leaves, the run goes on.")
@click.option("--json", "as_json", is_flag=True, help="As JSON; with --follow a line each time a trial begins or ends.")
def status(run: str | None, follow: bool, as_json: bool, **values: Any) -> int:
    """Show how far a run is, given by folder or name; the newest by default. Works from anywhere that can read it.

    Of a run that was submitted, what Slurm says of its job.
    """
    from milabench.app.status import Wanted
    from milabench.app.status import status as flow

    options = read_options(values)
    wanted = Wanted(run=run, base=options.base, environ=options.environ, follow=follow, as_json=as_json)
    flow(wanted, sys.stdout)
    return 0
