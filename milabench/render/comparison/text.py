"""Comparison → a table for a terminal, as wide as it is, and what has to be said below it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from milabench.compare import Comparison, Verdict
from milabench.render.comparison import view
from milabench.render.terminal import NAME, Layout, Line, grid, plain, say, section

if TYPE_CHECKING:
    from rich.console import Console

_STYLES: Final[dict[Verdict, str]] = {
    "better": "green",
    "worse": "bold red",
    "same": "",
    "undecided": "yellow",
    "not comparable": "dim",
}
_LAYOUTS: Final = (
    Layout(keys=view.WIDE),
    Layout(keys=view.WIDE, gap=1),
    Layout(keys=view.NARROW),
    Layout(keys=view.NARROW, gap=1),
    Layout(keys=view.NARROW, gap=1, name=NAME),
    Layout(keys=view.SHORT, gap=1),
)


def render(found: Comparison, width: int = 80) -> str:
    """Return the comparison as plain text of at most ``width`` columns, without colours."""
    return plain(lambda console: show(found, console), width)


def show(found: Comparison, console: Console) -> None:
    """Write the comparison to a console, in its width; colours are the console's to allow (``NO_COLOR``)."""
    for line in view.heading(found):
        say(console, line)
    console.print()
    if found.benchmarks:
        lines = [Line(cells=row.cells, styles={"verdict": _STYLES[row.verdict]}) for row in view.rows(found)]
        grid(console, view.HEADERS, lines, _LAYOUTS, left=("verdict",))
        console.print()
    value, what = view.score(found)
    say(console, f"score B/A  {value}", "bold", f"   {what}")
    say(console, view.tally(found), _STYLES[found.verdict])
    for each in view.sections(found):
        console.print()
        section(console, each)
    console.print()
    for side, runs in (("A", found.before), ("B", found.after)):
        for run in runs:
            console.print(f"{side}: {run.path}", markup=False, highlight=False, soft_wrap=True)
