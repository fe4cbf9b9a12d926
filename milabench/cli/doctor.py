"""``milabench doctor``."""

from __future__ import annotations

import sys
from typing import Any

import click

from milabench.cli.shared import carry_out, read_options, setup_options
from milabench.errors import ExitCode


@click.command()
@setup_options
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def doctor(as_json: bool, **values: Any) -> int:
    """Find what stands in the way of a run, or would spoil its numbers; without --config look at the machine alone.

    The same as `milabench run` does before anything starts. Uses no network but the way to other nodes, and changes
    nothing. Exit code 4 where something is blocking.
    """
    from milabench.app.doctor import doctor as flow
    from milabench.console import Console
    from milabench.render.doctor import document, is_ready, text

    found = carry_out(flow(read_options(values), Console(quiet=values["quiet"])))
    sys.stdout.write(document(found.findings, found.conditions) if as_json else text(found.findings))
    return ExitCode.OK if is_ready(found.findings) else ExitCode.ENVIRONMENT
