"""The live view in a terminal: a row for each process that fits, as wide and as high as the terminal is just now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from milabench.console import words
from milabench.console.words import Usage, printable
from milabench.follow import Progress
from milabench.render.units import duration

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

MOST_ROWS = 40  # a frame costs by its rows
_WIDEST_TAG = 32
_BAR = (6, 24)
_GAP = "  "
_HEADINGS = ("process", "steps", "rate", "loss", "host", "CPU", "device", "time")
_DROPPED_FIRST = ("device", "CPU", "host", "time", "loss", "rate", "steps")
_NOTHING: Mapping[str, Usage] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """What one frame is made of at ``now`` (s since 1970).

    ``processes`` are those that run, ``deadlines`` (s) and ``usage`` are by tag.
    """

    title: str
    total: int
    ended: int
    failed: int
    now: float
    elapsed_s: float
    left_s: float | None
    processes: Sequence[Progress]
    deadlines: Mapping[str, float | None]
    usage: Mapping[str, Usage] = field(default_factory=lambda: _NOTHING)

    @property
    def heading(self) -> str:
        failed = f", {self.failed} failed" if self.failed else ""
        left = "" if self.left_s is None else f", at most {duration(self.left_s)} left"
        return f"{self.title}  {self.ended} of {self.total} done{failed}  {duration(self.elapsed_s)}{left}"


class Board:
    """What rich prints: ``overview`` is looked at anew each time."""

    def __init__(self) -> None:
        self.overview: Overview | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.segment import Segment
        from rich.style import Style

        if self.overview is None:
            return
        width, height = options.max_width - 1, options.size.height
        bold, dim = Style(bold=True), Style(dim=True)
        yield Segment(_cut(self.overview.heading, width), bold)
        for index, row in enumerate(_table(self.overview, width, min(height - 4, MOST_ROWS))):
            yield Segment.line()
            if index == 0 or row.bar is None:
                yield Segment(row.text, dim)
                continue
            done, rest = row.bar
            yield Segment(row.text)
            yield Segment("━" * done, Style(color="yellow" if row.warm else "green"))
            yield Segment("━" * rest, dim)


def table(overview: Overview, width: int) -> list[str]:
    """Return the table alone as text."""
    return [row.text.rstrip() for row in _table(overview, width, MOST_ROWS, bars=False)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """A line of the table: its text, and a bar behind it (cells done, cells to do) where there is room."""

    text: str
    bar: tuple[int, int] | None = None
    warm: bool = False


def _table(overview: Overview, width: int, most: int, *, bars: bool = True) -> list[_Row]:
    """Return the heading, a row for each process that there is room for, and a line on the others."""
    found = overview.processes
    if not found or most <= 0:
        return []
    shown = found if len(found) <= most else found[: most - 1]
    columns = _columns(overview, shown)
    while len(columns) > 1 and _width(columns) > width:
        del columns[next(name for name in _DROPPED_FIRST if name in columns)]
    bar = min(width - _width(columns) - len(_GAP), _BAR[1])
    bar = bar if bars and bar >= _BAR[0] else 0
    rows = [_Row(text=_line(columns, 0, width))]
    for number, each in enumerate(shown, 1):
        share = each.share
        done = round((share or 0.0) * bar)
        text = _line(columns, number, width) + _GAP * bool(bar)
        rows.append(_Row(text=text, bar=(done, bar - done if share is not None else 0), warm=each.stage == "warm-up"))
    if len(shown) < len(found):
        rows.append(_Row(text=_cut(words.left_out(found[len(shown) :]), width)))
    return rows


def _columns(overview: Overview, shown: Sequence[Progress]) -> dict[str, list[str]]:
    """Return the cells of each column that has any, its heading first, all as wide as the widest."""
    cells: list[tuple[str, ...]] = [_HEADINGS]
    now = overview.now
    for each in shown:
        usage = overview.usage.get(each.tag) or Usage()
        cells.append(
            (
                _cut(printable(each.tag), _WIDEST_TAG),
                words.steps(each),
                words.rate(each, now),
                words.loss(each),
                words.host(usage),
                words.cores(usage),
                words.device(usage, each),
                words.elapsed(each, overview.deadlines.get(each.tag), now),
            )
        )
    columns: dict[str, list[str]] = {}
    for column in zip(*cells, strict=True):
        if any(column[1:]):
            width = max(map(_cells, column))
            left = column[0] == _HEADINGS[0]
            columns[column[0]] = [_filled(cell, width, left=left) for cell in column]
    return columns


def _line(columns: Mapping[str, Sequence[str]], number: int, width: int) -> str:
    return _cut(_GAP.join(column[number] for column in columns.values()), width)


def _width(columns: Mapping[str, Sequence[str]]) -> int:
    return sum(_cells(column[0]) for column in columns.values()) + len(_GAP) * (len(columns) - 1)


def _filled(text: str, width: int, *, left: bool) -> str:
    blank = " " * (width - _cells(text))
    return text + blank if left else blank + text


def _cells(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def _cut(text: str, width: int) -> str:
    """Return a text that takes no more than so many columns of a terminal."""
    if _cells(text) <= width:
        return text
    from rich.cells import set_cell_size

    return f"{set_cell_size(text, max(width - 1, 0))}…"
