"""``milabench compare``: what two runs say beside each other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from milabench.app.report import report
from milabench.compare import Comparison
from milabench.compare import compare as comparison
from milabench.errors import RunDirError, UsageError
from milabench.paths import exists, expanded
from milabench.summary import Summary


def compare(first: str, second: str, base: Path, tolerance: float | None) -> Comparison:
    """Compare two runs, A and B, each given as ``report`` takes one, or several pooled with commas between them.

    Raises UsageError for an empty name, RunDirError for what is no run, and where both sides hold the same one: nothing
    can have changed then.
    """
    sides = [_several(first, "A"), _several(second, "B")]
    before, after = (report(names, base) for names in sides)
    _refuse_same(before, after)
    return comparison(before, after, tolerance)


def _several(names: str, side: str) -> list[str]:
    """Return the runs that a word names; a folder with a comma in its name is one.

    Raises UsageError for an empty name: a variable of a shell that is not set, or a space too many.
    """
    if names and exists(expanded(names)):
        return [names]
    found = names.split(",")
    if not all(name.strip() for name in found):
        raise UsageError(
            f"{side} is {names!r}, in which a name is empty: give runs with commas between, without spaces"
        )
    return found


def _refuse_same(before: Summary, after: Summary) -> None:
    """Refuse a run on both sides, a copy of it too: a process is known by its tag and the moment it was started."""
    first, second = ({Path(run.path).resolve() for run in each.runs} for each in (before, after))
    if first & second or set(_processes(before)) & set(_processes(after)):
        raise RunDirError("A and B hold the same run: compared with itself nothing could have changed; give two runs")


def _processes(summary: Summary) -> Iterator[tuple[str, float]]:
    for found in summary.benchmarks:
        yield from ((each.tag, each.started) for each in found.processes if each.started is not None)
