"""``milabench clean``."""

from __future__ import annotations

import sys
from typing import Any

import click

from milabench.app.clean import DEFAULT, KINDS
from milabench.cli.shared import base_option, read_options
from milabench.errors import ExitCode


@click.command()
@click.argument("kinds", nargs=-1, type=click.Choice(list(KINDS)), metavar="[KIND]...")
@base_option
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
def clean(kinds: tuple[str, ...], yes: bool, **values: Any) -> int:
    """Remove environments, caches and data (or only the KINDs given; runs only when they are named).

    Says what is there and how large it is, and asks before it removes anything; without a terminal it needs --yes.
    """
    from milabench.amounts import size
    from milabench.app.clean import amounts
    from milabench.app.clean import clean as flow

    base = read_options(values).base
    found = amounts(base, kinds or DEFAULT)
    for amount in found:
        print(f"{amount.kind:<14}{size(amount.size_bytes):>10}  {', '.join(map(str, amount.paths))}")
    if not found:
        print(f"nothing to remove below {base}")
        return ExitCode.OK
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("nothing was removed: give --yes to remove this without being asked")
        if not click.confirm("remove this?"):
            return ExitCode.OK
    flow(base, found)
    print("removed")
    return ExitCode.OK
