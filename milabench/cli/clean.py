"""``milabench clean``."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from milabench.app.clean import DEFAULT, KINDS, Amount
from milabench.cli.shared import base_option, carry_out, connection_options, read_options
from milabench.errors import ExitCode

if TYPE_CHECKING:
    from milabench.app.options import Options


@click.command()
@click.argument("kinds", nargs=-1, type=click.Choice(list(KINDS)), metavar="[KIND]...")
@base_option
@click.option(
    "--system", metavar="FILE", help="A system file: bases that its nodes have for themselves, too. [MILABENCH_SYSTEM]"
)
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@connection_options
def clean(kinds: tuple[str, ...], yes: bool, **values: Any) -> int:
    """Remove environments, caches and data (or only the KINDs given; runs only when they are named).

    Says what is there and how large it is, and asks before it removes anything; without a terminal it needs --yes. With
    --system it does so on the nodes too, over SSH; without, it says which nodes of the latest run keep theirs.
    """
    from milabench.app.clean import amounts

    options = read_options(values)
    base, named = options.base, kinds or DEFAULT
    here = amounts(base, named)
    there = _on_nodes(options, named)
    _tell(here)
    for name, found in there.items():
        _tell(found, f"{name}: ")
    if options.system is None:
        _tell_of_others(base)
    if not here and not there:
        print(f"nothing to remove below {base}")
        return ExitCode.OK
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("nothing was removed: give --yes to remove this without being asked")
        if not click.confirm("remove this?"):
            return ExitCode.OK
    return _remove(options, here, there)


def _on_nodes(options: Options, kinds: Sequence[str]) -> dict[str, list[Amount]]:
    if options.system is None:
        return {}
    from milabench.app.clean_nodes import amounts_on_nodes
    from milabench.console import Console

    return carry_out(amounts_on_nodes(options, Console(quiet=False), kinds))


def _tell(found: Iterable[Amount], where: str = "") -> None:
    from milabench.amounts import size

    for amount in found:
        print(f"{amount.kind:<14}{size(amount.size_bytes):>10}  {where}{', '.join(amount.folders)}")


def _tell_of_others(base: Path) -> None:
    from milabench.app.clean import elsewhere

    found = elsewhere(base)
    if found is not None:
        file = shlex.quote(found.system) if found.system else "FILE"
        click.echo(
            f"nodes of {found.run} have a base of their own, which stays: {', '.join(found.nodes)};"
            f" milabench clean --system {file} --base {shlex.quote(str(base))} removes those too",
            err=True,
        )


def _remove(options: Options, here: Sequence[Amount], there: Mapping[str, Sequence[Amount]]) -> ExitCode:
    """Remove what is here, which somebody may be at work with, then what is on nodes, whatever comes of one."""
    from milabench.app.clean import clean as flow

    if here:
        flow(options.base, here)
        print("removed from this machine" if there else "removed")
    if not there:
        return ExitCode.OK
    from milabench.app.clean_nodes import clean_nodes
    from milabench.console import Console

    ends = carry_out(clean_nodes(options, Console(quiet=False), there))
    kept = {name: why for name, why in ends.items() if why is not None}
    if removed := [name for name in ends if name not in kept]:
        print(f"removed from {', '.join(removed)}")
    for name, why in kept.items():
        click.echo(f"{name}: {why}", err=True)
    return ExitCode.ENVIRONMENT if kept else ExitCode.OK
