"""What every table for a terminal is made with: lines and sections in what the console can write."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from milabench.render.view import Section

if TYPE_CHECKING:
    from rich.console import Console

_REASON: Final = 120  # characters of a reason; all of it is in the JSON and in the process's stderr
_STYLES: Final = {"failed": "bold red", "missing": "bold red", "worse": "bold red", "warnings": "bold yellow"}
_ASCII: Final = str.maketrans({"±": "+/-", "–": "-", "·": "|", "×": "x", "µ": "u", "…": "...", "→": "->"})


def plain(show: Callable[[Console], None], width: int) -> str:
    """Return what a function shows as text of at most ``width`` columns, without colours."""
    from rich.console import Console

    text = io.StringIO()
    show(Console(file=text, width=width, color_system=None, force_terminal=False, legacy_windows=False))
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines()) + "\n"


def section(console: Console, found: Section) -> None:
    """Write lines under their title."""
    from rich.table import Table
    from rich.text import Text

    say(console, found.title, _STYLES.get(found.title.split(" ", 1)[0], "bold"))
    table = Table(box=None, show_header=False, show_edge=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(width=0)
    for index, _ in enumerate(found.lines[0]):
        last = index == len(found.lines[0]) - 1
        table.add_column(overflow="fold", no_wrap=not last and index > 0)
    for line in found.lines:
        table.add_row("", *(Text(safe(console, _short(cell) if len(line) > 2 else cell)) for cell in line))
    console.print(table)


def _short(text: str) -> str:
    return text if len(text) <= _REASON else f"{text[: _REASON - 1].rstrip()}…"


def say(console: Console, text: str, style: str = "", rest: str = "") -> None:
    """Write a line: a text in a style, and the rest of it in none."""
    from rich.text import Text

    console.print(Text.assemble((safe(console, text), style), safe(console, rest)), highlight=False)


def safe(console: Console, text: str) -> str:
    """Return the text in what the console's encoding can write."""
    if console.encoding.lower().startswith("utf"):
        return text
    return text.translate(_ASCII).encode(console.encoding, "replace").decode(console.encoding)
