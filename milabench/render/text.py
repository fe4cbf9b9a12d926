"""Summary → a table for a terminal, as wide as it is, and what has to be said below it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from milabench.render import view
from milabench.render.terminal import plain, safe, say, section
from milabench.summary import Summary

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_NAME: Final = 12  # columns a name keeps when it has to fold
_HEADERS: Final = tuple(view.HEADERS.items())
_LAYOUTS: Final = (
    (view.WIDE, 2, 1000),
    (view.NARROW, 2, 1000),
    (view.NARROW, 1, 1000),
    (view.NARROW, 1, _NAME),
)  # columns, gap, and how wide a name may be at least
_STATES: Final[dict[view.State, str]] = {"ok": "", "failed": "red", "skipped": "dim", "missing": "red"}


def render(summary: Summary, width: int = 80) -> str:
    """Return the report as plain text of at most ``width`` columns, without colours."""
    return plain(lambda console: show(summary, console), width)


def show(summary: Summary, console: Console) -> None:
    """Write the report to a console, in its width; colours are the console's to allow (``NO_COLOR``)."""
    for number, line in enumerate(view.heading(summary)):
        say(console, line, "bold" if number == 0 else "")
    console.print()
    console.print(_table(summary, console), soft_wrap=False)
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


def _table(summary: Summary, console: Console) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    rows = list(view.rows(summary))
    keys, gap = _layout(rows, console.width)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, gap - 1, 0, 0))
    for key in keys:
        name = key == "name"
        table.add_column(
            safe(console, view.HEADERS[key]),
            justify="left" if name else "right",
            overflow="fold",
            no_wrap=not name,
            min_width=_NAME if name else None,
        )
    for row in rows:
        style = _STATES[row.state]
        cells = [Text(safe(console, row.cells[key]), style=style) for key in keys]
        if row.doubtful and "spread" in keys:
            cells[keys.index("spread")].stylize("yellow")
        table.add_row(*cells)
    return table


def _layout(rows: Sequence[view.Row], width: int) -> tuple[tuple[view.Key, ...], int]:
    """Return the columns that fit and the gap between them; names may fold before a column is left out."""
    widths = {key: max(len(text) for text in (header, *(row.cells[key] for row in rows))) for key, header in _HEADERS}
    for keys, gap, name in _LAYOUTS:
        taken = max(_NAME, min(widths["name"], name)) + sum(widths[key] for key in keys if key != "name")
        if taken + gap * (len(keys) - 1) <= width:
            return keys, gap
    return view.SHORT, 1
