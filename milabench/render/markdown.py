"""Summary → markdown, for an issue, a pull request or a wiki."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from milabench.render import view
from milabench.summary import Summary

_SPECIAL: Final = str.maketrans({char: f"\\{char}" for char in "\\|*_`<>[]#"})


def render(summary: Summary) -> str:
    """Return the report as a table and lists, with whatever names hold escaped."""
    return "\n".join(_lines(summary)) + "\n"


def _lines(summary: Summary) -> Iterator[str]:
    title, *others = view.heading(summary)
    yield f"## {escape(title)}"
    yield ""
    for line in others:
        yield escape(line)
        yield ""
    yield table_row([view.HEADERS[key] for key in view.WIDE])
    yield table_row(["---" if key == "name" else "---:" for key in view.WIDE])
    for row in view.rows(summary):
        yield table_row([escape(row.cells[key]) for key in view.WIDE])
    yield ""
    value, what = view.score(summary)
    yield f"**score {escape(value)}**: {escape(what)}; {escape(view.processes(summary))}"
    for section in view.sections(summary):
        yield from section_lines(section)
    yield ""
    for place in view.places(summary):
        yield f"run directory: {escape(place)}"


def section_lines(section: view.Section) -> Iterator[str]:
    """Yield the lines of a section under its title."""
    yield ""
    yield f"### {escape(section.title)}"
    yield ""
    for first, *rest in section.lines:
        yield f"- {escape(first)}" if not rest else f"- **{escape(first)}** {escape(': '.join(filter(None, rest)))}"


def table_row(cells: Sequence[str]) -> str:
    """Return a row of a table; its cells are escaped already."""
    return f"| {' | '.join(cells)} |"


def escape(text: str) -> str:
    """Return a text in which nothing means anything to markdown."""
    return text.translate(_SPECIAL)
