"""``milabench install`` and ``milabench prepare``."""

from __future__ import annotations

from typing import Any

import click

from milabench.cli.shared import carry_out, read_options, setup_options


@click.command()
@setup_options
@click.option("--refresh", is_flag=True, help="Move definitions by git on to what their branch or tag is now.")
@click.option("--fetch-only", is_flag=True, help="Fetch definitions by git, and make no environment.")
def install(**values: Any) -> int:
    """Make the environments of a suite. What is installed already takes no time."""
    from milabench.app.install import install as flow
    from milabench.console import Console

    console = Console(quiet=values["quiet"])
    return carry_out(flow(read_options(values), console, fetch_only=values["fetch_only"]))


@click.command()
@setup_options
def prepare(**values: Any) -> int:
    """Fetch or make the data of a suite."""
    from milabench.app.prepare import prepare as flow
    from milabench.console import Console

    return carry_out(flow(read_options(values), Console(quiet=values["quiet"])))
