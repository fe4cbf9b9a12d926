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
    yield f"## {_escape(title)}"
    yield ""
    for line in others:
        yield _escape(line)
        yield ""
    yield _row([view.HEADERS[key] for key in view.WIDE])
    yield _row(["---" if key == "name" else "---:" for key in view.WIDE])
    for row in view.rows(summary):
        yield _row([_escape(row.cells[key]) for key in view.WIDE])
    yield ""
    value, what = view.score(summary)
    yield f"**score {_escape(value)}**: {_escape(what)}; {_escape(view.processes(summary))}"
    for section in view.sections(summary):
        yield ""
        yield f"### {_escape(section.title)}"
        yield ""
        for first, *rest in section.lines:
            yield (
                f"- {_escape(first)}"
                if not rest
                else f"- **{_escape(first)}** {_escape(': '.join(filter(None, rest)))}"
            )
    yield ""
    for place in view.places(summary):
        yield f"run directory: {_escape(place)}"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escape(text: str) -> str:
    return text.translate(_SPECIAL)
