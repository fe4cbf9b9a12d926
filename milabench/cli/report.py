"""``milabench report``."""

from __future__ import annotations

import sys
from typing import Any

import click

from milabench.cli.shared import base_option, read_options, show
from milabench.render import FORMATS


@click.command()
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@base_option
@click.option("--format", "form", type=click.Choice(list(FORMATS)), default="text", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Same as --format json.")
def report(runs: tuple[str, ...], form: str, as_json: bool, **values: Any) -> int:
    """Report on runs, given by folder or name; the newest by default, several are pooled as repeats."""
    from milabench.app.report import report as flow

    summary = flow(runs, read_options(values).base)
    if form == "text" and not as_json:
        show(summary)
    else:
        sys.stdout.write(FORMATS["json" if as_json else form](summary))
    return 0
