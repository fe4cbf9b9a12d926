"""Summary → a table for a terminal, as wide as it is, and what has to be said below it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from milabench.render import view
from milabench.render.terminal import NAME, Layout, Line, grid, plain, safe, say, section
from milabench.summary import Summary

if TYPE_CHECKING:
    from rich.console import Console

_ROOMY: Final = 3  # columns that are left out before names fold
_DOUBTED: Final[tuple[view.Key, ...]] = ("spread", "verdict")
_SHORTEST: Final = 4  # columns that a name keeps
_STATES: Final[dict[view.State, str]] = {"ok": "", "failed": "red", "skipped": "dim", "missing": "red"}


def _layouts() -> Iterator[Layout[view.Key]]:
    """Yield the layouts that are tried: columns are left out, and then names fold, rather than that a number is cut."""
    for left_out in range(len(view.LEFT_OUT) + 1):
        keys = tuple(key for key in view.WIDE if key not in view.LEFT_OUT[:left_out])
        if left_out <= _ROOMY:
            yield from (Layout(keys=keys), Layout(keys=keys, gap=1))
        if left_out >= _ROOMY:
            yield from (Layout(keys=keys, name=NAME), Layout(keys=keys, gap=1, name=NAME))
    yield Layout(keys=keys, gap=1, name=_SHORTEST)


def render(summary: Summary, width: int = 80) -> str:
    """Return the report as plain text of at most ``width`` columns, without colours."""
    return plain(lambda console: show(summary, console), width)


def show(summary: Summary, console: Console) -> None:
    """Write the report to a console, in its width; colours are the console's to allow (``NO_COLOR``)."""
    for number, line in enumerate(view.heading(summary)):
        say(console, line, "bold" if number == 0 else "")
    console.print()
    grid(console, view.HEADERS, [_line(row) for row in view.rows(summary)], tuple(_layouts()))
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
    return Line(cells=row.cells, style=style, styles=dict.fromkeys(_DOUBTED, "yellow") if row.doubtful else {})
