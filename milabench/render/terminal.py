"""What every table for a terminal is made with: lines and sections in what the console can write."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from milabench.render.view import Section

if TYPE_CHECKING:
    from rich.console import Console

K = TypeVar("K", bound=str)  # the keys of a table's columns
_PARTS: Final = re.compile(r"[^-_./]*[-_./]|[^-_./]+")
NAME: Final = 12  # columns a name keeps when it has to fold
_STYLES: Final = {"failed": "bold red", "missing": "bold red", "worse": "bold red", "warnings": "bold yellow"}
_ASCII: Final = str.maketrans({"±": "+/-", "–": "-", "·": "|", "×": "x", "µ": "u", "…": "...", "→": "->"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout(Generic[K]):
    """Columns that are shown where they fit, the gap between them, and from which width on the first may be folded."""

    keys: tuple[K, ...]
    gap: int = 2
    name: int = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Line(Generic[K]):
    """A row of a table: its cells, and the styles of some of them (of ``style`` all others)."""

    cells: Mapping[K, str]
    style: str = ""
    styles: Mapping[K, str] = field(default_factory=dict)


def plain(show: Callable[[Console], None], width: int) -> str:
    """Return what a function shows as text of at most ``width`` columns, without colours."""
    from rich.console import Console

    text = io.StringIO()
    show(Console(file=text, width=width, color_system=None, force_terminal=False, legacy_windows=False))
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines()) + "\n"


def grid(
    console: Console,
    headers: Mapping[K, str],
    lines: Sequence[Line[K]],
    layouts: Sequence[Layout[K]],
    left: Collection[K] = (),
) -> None:
    """Write a table in the first layout that fits, else in the last.

    Its first column has names, which may be folded; those in ``left`` are not set to the right either.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    layout = _fitting(headers, lines, layouts, console.width)
    name, room = layout.keys[0], _room(headers, lines, layout, console.width)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, layout.gap - 1, 0, 0))
    for number, key in enumerate(layout.keys):
        table.add_column(
            safe(console, headers[key]),
            justify="left" if number == 0 or key in left else "right",
            overflow="fold",
            no_wrap=number > 0,
        )
    for line in lines:
        cells = {**line.cells, name: _folded(line.cells[name], room)}
        table.add_row(*(Text(safe(console, cells[key]), style=line.styles.get(key, line.style)) for key in layout.keys))
    console.print(table, soft_wrap=False)


def _folded(name: str, room: int) -> str:
    """Return a name in lines of so many columns, broken after ``-``, ``_``, ``.`` and ``/`` where it has any."""
    found = [""]
    for part in _PARTS.findall(name):
        if found[-1] and len(found[-1]) + len(part) > room:
            found.append("")
        found[-1] += part
    return "\n".join(found)


def _room(headers: Mapping[K, str], lines: Sequence[Line[K]], layout: Layout[K], width: int) -> int:
    """Return how many columns names have beside the others."""
    _, *others = layout.keys
    taken = sum(max(len(text) for text in (headers[key], *(line.cells[key] for line in lines))) for key in others)
    return width - taken - layout.gap * len(others)


def _fitting(headers: Mapping[K, str], lines: Sequence[Line[K]], layouts: Sequence[Layout[K]], width: int) -> Layout[K]:
    widths = {key: max(len(text) for text in (headers[key], *(line.cells[key] for line in lines))) for key in headers}
    for layout in layouts:
        name, *others = layout.keys
        taken = min(widths[name], layout.name) + sum(widths[key] for key in others)
        if taken + layout.gap * (len(layout.keys) - 1) <= width:
            return layout
    return layouts[-1]


def section(console: Console, found: Section) -> None:
    """Write lines under their title."""
    from rich.table import Table
    from rich.text import Text

    say(console, found.title, _STYLES.get(found.title.split(" ", 1)[0], "bold"))
    table = Table(box=None, show_header=False, show_edge=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(width=0)
    for index, _ in enumerate(found.lines[0]):
        last = index == len(found.lines[0]) - 1
        longest = max(len(line[index]) for line in found.lines)
        least = (
            None if last else min(longest, max(NAME, console.width // 3))
        )  # names are not cut for what can be wrapped
        table.add_column(overflow="fold", no_wrap=not last and index > 0, min_width=least)
    for line in found.lines:
        table.add_row("", *(Text(safe(console, cell)) for cell in line))
    console.print(table)


def say(console: Console, text: str, style: str = "", rest: str = "") -> None:
    """Write a line: a text in a style, and the rest of it in none."""
    from rich.text import Text

    console.print(Text.assemble((safe(console, text), style), safe(console, rest)), highlight=False)


def safe(console: Console, text: str) -> str:
    """Return the text in what the console's encoding can write."""
    if console.encoding.lower().startswith("utf"):
        return text
    return text.translate(_ASCII).encode(console.encoding, "replace").decode(console.encoding)
