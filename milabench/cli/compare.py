"""``milabench compare``."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any, Final

import click

from milabench.cli.shared import base_option, read_options
from milabench.errors import ExitCode
from milabench.render.comparison import FORMATS

if TYPE_CHECKING:
    from milabench.compare import Comparison, Verdict

EXIT_CODES: Final[dict[Verdict, ExitCode]] = {
    "better": ExitCode.OK,
    "same": ExitCode.OK,
    "worse": ExitCode.FAILED,
    "undecided": ExitCode.UNDECIDED,
    "not comparable": ExitCode.UNDECIDED,
}


def _share(context: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    """Return a share that is written with a percent sign."""
    if value is None:
        return None
    from milabench.expression import percentage
    from milabench.tokens import ExpressionError

    try:
        share = percentage(value)
    except ExpressionError:
        share = math.nan
    if not 0 <= share < 1:
        raise click.BadParameter(
            f"{value!r} is no percentage below 100 %: write it with its sign, as 1%, 0.5% or 0%", context, parameter
        )
    return share


@click.command()
@click.argument("before", metavar="A")
@click.argument("after", metavar="B")
@base_option
@click.option(
    "--tolerance",
    callback=_share,
    metavar="1%",
    help="Differences below it count as none. Without one those under 1% do, and 'same' is within 2%.",
)
@click.option("--format", "form", type=click.Choice(list(FORMATS)), default="text", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Same as --format json.")
def compare(before: str, after: str, tolerance: float | None, form: str, as_json: bool, **values: Any) -> int:
    """Say what is faster or slower in run B than in run A, and which facts of machine and software changed.

    A and B are given as `milabench report` takes a run: by folder, name or zip archive; several with commas between
    them are pooled as repeats. Exit code 0: better or the same; 1: worse; 3: undecided or not comparable.
    """
    from milabench.app.compare import compare as flow

    found = flow(before, after, read_options(values).base, tolerance)
    if form == "text" and not as_json:
        _show(found)
    else:
        sys.stdout.write(FORMATS["json" if as_json else form](found))
    return EXIT_CODES[found.verdict]


def _show(found: Comparison) -> None:
    """Write a comparison to standard output: in a terminal's width and colours, elsewhere as plain text."""
    from rich.console import Console

    from milabench.render.comparison import text

    if sys.stdout.isatty():
        text.show(found, Console())
    else:
        sys.stdout.write(text.render(found))
