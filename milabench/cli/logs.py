"""``milabench logs``."""

from __future__ import annotations

from typing import Any

import click

from milabench.cli.shared import base_option, read_options


@click.command()
@click.argument("bench")
@base_option
@click.option("--run", metavar="RUN", help="The folder or name of a run; the newest by default.")
@click.option("--setup", is_flag=True, help="What the latest install and prepare printed, instead of a run.")
@click.option("--lines", "-n", type=click.IntRange(0), default=40, show_default=True, help="Of each file; 0: all.")
def logs(bench: str, run: str | None, setup: bool, lines: int, **values: Any) -> int:
    """Show what the processes of BENCH printed (or one process, or with --setup an install group)."""
    from milabench.app.logs import logs as flow

    found = flow(bench, run, read_options(values).base, setup=setup, lines=lines)
    for log in found:
        print(f"── {log.path}", *log.lines, "", sep="\n")
    if not found:
        print(f"the processes of {bench} printed nothing")
    return 0
