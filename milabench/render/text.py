"""Summary → a table for a terminal, as wide as it is, and what has to be said below it."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from milabench.render import view
from milabench.summary import Summary

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_NAME: Final = 12  # columns a name keeps when it has to fold, as long as other columns can be left out
_SHORTEST: Final = 4  # columns it keeps at least
_ROOMY: Final = 3  # columns that are left out before names fold
_HEADERS: Final = tuple(view.HEADERS.items())
_REASON: Final = 120  # characters of a reason; all of it is in the JSON and in the process's stderr
_STATES: Final[dict[view.State, str]] = {"ok": "", "failed": "red", "skipped": "dim", "missing": "red"}
_TITLES: Final = {"failed": "bold red", "missing": "bold red", "warnings": "bold yellow"}
_ASCII: Final = str.maketrans({"±": "+/-", "–": "-", "·": "|", "×": "x", "µ": "u", "…": "..."})


def render(summary: Summary, width: int = 80) -> str:
    """Return the report as plain text of at most ``width`` columns, without colours."""
    from rich.console import Console

    text = io.StringIO()
    show(summary, Console(file=text, width=width, color_system=None, force_terminal=False, legacy_windows=False))
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines()) + "\n"


def show(summary: Summary, console: Console) -> None:
    """Write the report to a console, in its width; colours are the console's to allow (``NO_COLOR``)."""
    for number, line in enumerate(view.heading(summary)):
        _say(console, line, "bold" if number == 0 else "")
    console.print()
    console.print(_table(summary, console), soft_wrap=False)
    console.print()
    value, what = view.score(summary)
    _say(console, f"score  {value}", "bold", f"   {what}")
    _say(console, view.processes(summary), "bold red" if summary.failed else "")
    for section in view.sections(summary):
        console.print()
        _section(console, section)
    console.print()
    for place in view.places(summary):
        console.print(_safe(console, f"run directory: {place}"), markup=False, highlight=False, soft_wrap=True)


def _table(summary: Summary, console: Console) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    rows = list(view.rows(summary))
    keys, gap, least = _layout(rows, console.width)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, gap - 1, 0, 0))
    for key in keys:
        name = key == "name"
        table.add_column(
            _safe(console, view.HEADERS[key]),
            justify="left" if name else "right",
            overflow="fold",
            no_wrap=not name,
            min_width=least if name else None,
        )
    for row in rows:
        style = _STATES[row.state]
        cells = [Text(_safe(console, row.cells[key]), style=style) for key in keys]
        for key in ("spread", "verdict"):
            if row.doubtful and key in keys:
                cells[keys.index(key)].stylize("yellow")
        table.add_row(*cells)
    return table


def _layout(rows: Sequence[view.Row], width: int) -> tuple[tuple[view.Key, ...], int, int]:
    """Return the columns that fit, the gap between them, and how wide a name is at least.

    Where not all fit some are left out, and then names fold, rather than that a number is cut.
    """
    widths = {key: max(len(text) for text in (header, *(row.cells[key] for row in rows))) for key, header in _HEADERS}
    for left_out, name in _layouts(widths["name"]):
        keys = tuple(key for key in view.WIDE if key not in view.LEFT_OUT[:left_out])
        numbers = sum(widths[key] for key in keys if key != "name")
        for gap in (2, 1):
            if name + numbers + gap * (len(keys) - 1) <= width:
                return keys, gap, min(name, _NAME)
    return ("name", "rate"), 1, _SHORTEST


def _layouts(name: int) -> Iterator[tuple[int, int]]:
    """Yield how many columns to leave out and how wide names are, what is to be tried first first."""
    most, whole, folded = len(view.LEFT_OUT), name, min(name, _NAME)
    yield from ((left_out, whole) for left_out in range(_ROOMY + 1))
    yield from ((left_out, folded) for left_out in range(_ROOMY, most + 1))
    yield most, min(name, _SHORTEST)


def _section(console: Console, section: view.Section) -> None:
    from rich.table import Table
    from rich.text import Text

    _say(console, section.title, _TITLES.get(section.title.split(" ", 1)[0], "bold"))
    table = Table(box=None, show_header=False, show_edge=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(width=0)
    for index, _ in enumerate(section.lines[0]):
        last = index == len(section.lines[0]) - 1
        table.add_column(overflow="fold", no_wrap=not last and index > 0)
    for line in section.lines:
        table.add_row("", *(Text(_safe(console, _short(cell) if len(line) > 2 else cell)) for cell in line))
    console.print(table)


def _short(text: str) -> str:
    return text if len(text) <= _REASON else f"{text[: _REASON - 1].rstrip()}…"


def _say(console: Console, text: str, style: str = "", rest: str = "") -> None:
    from rich.text import Text

    console.print(Text.assemble((_safe(console, text), style), _safe(console, rest)), highlight=False)


def _safe(console: Console, text: str) -> str:
    """Return the text in what the console's encoding can write."""
    if console.encoding.lower().startswith("utf"):
        return text
    return text.translate(_ASCII).encode(console.encoding, "replace").decode(console.encoding)
