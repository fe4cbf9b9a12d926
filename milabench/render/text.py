"""Summary → a table for a terminal, as wide as it is, and what has to be said below it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from milabench.render import view
from milabench.render.terminal import NAME, Layout, Line, grid, plain, safe, say, section
from milabench.summary import Summary

if TYPE_CHECKING:
    from rich.console import Console

_LAYOUTS: Final = (
    Layout(keys=view.WIDE),
    Layout(keys=view.NARROW),
    Layout(keys=view.NARROW, gap=1),
    Layout(keys=view.NARROW, gap=1, name=NAME),
    Layout(keys=view.SHORT, gap=1),
)
_STATES: Final[dict[view.State, str]] = {"ok": "", "failed": "red", "skipped": "dim", "missing": "red"}


def render(summary: Summary, width: int = 80) -> str:
    """Return the report as plain text of at most ``width`` columns, without colours."""
    return plain(lambda console: show(summary, console), width)


def show(summary: Summary, console: Console) -> None:
    """Write the report to a console, in its width; colours are the console's to allow (``NO_COLOR``)."""
    for number, line in enumerate(view.heading(summary)):
        say(console, line, "bold" if number == 0 else "")
    console.print()
    grid(console, view.HEADERS, [_line(row) for row in view.rows(summary)], _LAYOUTS)
    console.print()
    value, what = view.score(summary)
    say(console, f"score  {value}", "bold", f"   {what}")
    say(console, view.processes(summary), "bold red" if summary.failed else "")
    for each in view.sections(summary):
        console.print()
        section(console, each)
    console.print()
    for place in view.places(summary):
        console.print(safe(console, f"run directory: {place}"), markup=False, highlight=False, soft_wrap=True)


def _line(row: view.Row) -> Line[view.Key]:
    style = _STATES[row.state]
    return Line(cells=row.cells, style=style, styles={"spread": "yellow"} if row.doubtful else {})
