"""Comparison → markdown, for an issue, a pull request or a wiki."""

from __future__ import annotations

from collections.abc import Iterator

from milabench.compare import Comparison
from milabench.render.comparison import view
from milabench.render.markdown import escape, section_lines, table_row


def render(found: Comparison) -> str:
    """Return the comparison as a table and lists, with whatever names hold escaped."""
    return "\n".join(_lines(found)) + "\n"


def _lines(found: Comparison) -> Iterator[str]:
    yield f"## B/A: {escape(found.verdict)}"
    yield ""
    for line in view.heading(found):
        yield escape(line)
        yield ""
    if found.benchmarks:
        yield table_row([view.HEADERS[key] for key in view.WIDE])
        yield table_row(["---" if key in ("name", "verdict") else "---:" for key in view.WIDE])
        for row in view.rows(found):
            yield table_row([escape(row.cells[key]) for key in view.WIDE])
        yield ""
    value, what = view.score(found)
    yield f"**score B/A {escape(value)}**: {escape(what)}; {escape(view.tally(found))}"
    for section in view.sections(found):
        yield from section_lines(section)
    yield ""
    for side, runs in (("A", found.before), ("B", found.after)):
        for run in runs:
            yield f"{side}: {escape(run.path)}"
