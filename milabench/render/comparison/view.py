"""What a comparison for people says, as plain strings: the same in text and in markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from milabench import amounts
from milabench.compare import VERDICTS, Absent, BenchmarkComparison, Change, Comparison, Side, Verdict
from milabench.render import units
from milabench.render.view import Section
from milabench.summary import RunFacts
from milabench.untrusted import one_line

Key = Literal["name", "before", "before_spread", "after", "after_spread", "ratio", "spread", "n", "verdict"]

HEADERS: Final[dict[Key, str]] = {
    "name": "benchmark",
    "before": "A",
    "before_spread": "±95 %",
    "after": "B",
    "after_spread": "±95 %",
    "ratio": "B/A",
    "spread": "±95 %",
    "n": "n",
    "verdict": "verdict",
}
WIDE: Final[tuple[Key, ...]] = tuple(HEADERS)
NARROW: Final[tuple[Key, ...]] = ("name", "before", "after", "ratio", "spread", "n", "verdict")
SHORT: Final[tuple[Key, ...]] = ("name", "ratio", "spread", "verdict")

_NAMED: Final = 3  # benchmarks that are named where several have the same reason
_CHANGES: Final = 12  # changes of one area that are told; the JSON has all
_WORK: Final = 40  # changes of what benchmarks were asked to do
_TOLD: Final = 60  # characters of a value
_WARNINGS: Final = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table."""

    verdict: Verdict
    cells: Mapping[Key, str]


def heading(found: Comparison) -> Iterator[str]:
    """Yield the lines above the table: which runs, and in a line whether their set-up is the same."""
    yield f"A  {_runs(found.before)}"
    yield f"B  {_runs(found.after)}"
    areas = list(dict.fromkeys(each.area for each in found.changed))
    parts = (("changed", areas), ("the same", found.same), ("unknown of A or B", found.unknown))
    yield "; ".join(f"{what}: {', '.join(several)}" for what, several in parts if several)


def _runs(runs: tuple[RunFacts, ...]) -> str:
    if len(runs) == 1:
        return " · ".join(part for part in (runs[0].name, runs[0].started) if part)
    return f"{len(runs)} runs pooled as repeats: {', '.join(run.name for run in runs)}"


def rows(found: Comparison) -> Iterator[Row]:
    """Yield a row for each benchmark that both were to run."""
    for each in found.benchmarks:
        yield Row(verdict=each.verdict, cells=_cells(each))


def _cells(found: BenchmarkComparison) -> dict[Key, str]:
    before, after = found.before, found.after
    return {
        "name": found.name,
        "before": _rate(before),
        "before_spread": spread(before.throughput, before.low, before.high),
        "after": _rate(after),
        "after_spread": spread(after.throughput, after.low, after.high),
        "ratio": ratio(found.ratio),
        "spread": spread(found.ratio, found.low, found.high),
        "n": f"{len(before.repeats)}, {len(after.repeats)}",
        "verdict": f"{found.verdict}*" if found.changed else found.verdict,
    }


def _rate(side: Side) -> str:
    if side.throughput is None:
        return "failed" if side.failed else units.DASH
    return units.rate(side.throughput, side.unit)


def ratio(value: float | None) -> str:
    """Return a ratio of four digits: ``0.987``, ``12.31``."""
    return units.DASH if value is None else f"{value:.3f}" if 0.1 <= value < 10 else f"{value:.4g}"


def spread(value: float | None, low: float | None, high: float | None) -> str:
    """Return half an interval's width as a share of the value."""
    if value is None or low is None or high is None or not value:
        return units.DASH
    return f"±{units.share((high - low) / 2 / abs(value))}"


def interval(value: float | None, low: float | None, high: float | None) -> str:
    """Return a ratio with its interval: ``0.987 [0.981, 0.993]``."""
    return ratio(value) if low is None or high is None else f"{ratio(value)} [{ratio(low)}, {ratio(high)}]"


def score(found: Comparison) -> tuple[str, str]:
    """Return the ratio of the scores with its interval, and what it says."""
    overall = found.overall
    if overall.ratio is None:
        return units.DASH, overall.reason
    of = f"geometric mean of {amounts.many(len(overall.benchmarks), 'benchmark')}, by weight"
    return interval(overall.ratio, overall.low, overall.high), f"{overall.verdict}: {overall.reason}; {of}"


def tally(found: Comparison) -> str:
    """Return how many benchmarks have each verdict."""
    if not found.benchmarks:
        return "no benchmark is in both"
    return ", ".join(f"{many} {verdict}" for verdict, many in found.counts.items() if many)


def sections(found: Comparison) -> Iterator[Section]:
    """Yield what stands below the table: why each verdict is so, what changed, and what to know about the numbers."""
    for verdict in VERDICTS:
        several = [each for each in found.benchmarks if each.verdict == verdict]
        if several and verdict != "same":
            told = map(_alarm, several) if verdict in ("worse", "better") else _reasons(several)
            yield Section(title=verdict, lines=tuple(told))
    titled = (
        ("* asked to do something else", [*_work(found.benchmarks)]),
        ("what changed", [*_facts(found.changed)]),
        ("measured under noise", _first([*_noisy(found.benchmarks)], _CHANGES)),
        ("not compared", [*_absent(found.absent)]),
        ("not in the score", [(", ".join(found.overall.left_out),)] if found.overall.left_out else []),
        ("warnings", _first([(one_line(warning),) for warning in found.warnings], _WARNINGS)),
        ("notes", [(note,) for note in _notes(found)]),
    )
    for title, lines in titled:
        if lines:
            yield Section(title=title, lines=tuple(lines))


def _alarm(found: BenchmarkComparison) -> tuple[str, ...]:
    return found.name, interval(found.ratio, found.low, found.high), one_line(found.reason)


def _reasons(several: Iterable[BenchmarkComparison]) -> Iterator[tuple[str, ...]]:
    """Yield the reasons, each once with the benchmarks that it holds for."""
    by_reason: dict[str, list[str]] = {}
    for each in several:
        by_reason.setdefault(each.reason, []).append(each.name)
    for reason, names in by_reason.items():
        yield (f"{_names(names)}: {one_line(reason)}",)


def _names(names: list[str]) -> str:
    return ", ".join(names) if len(names) <= _NAMED else f"{len(names)} benchmarks"


def _work(several: Iterable[BenchmarkComparison]) -> Iterator[tuple[str, ...]]:
    """Yield what changed in what benchmarks were asked to do, each once with the benchmarks it is about."""
    by_change: dict[Change, list[str]] = {}
    for each in several:
        for change in each.changed:
            by_change.setdefault(change, []).append(each.name)
    yield from _first([(_names(names), *_change(change)) for change, names in by_change.items()], _WORK)


def _noisy(several: Iterable[BenchmarkComparison]) -> Iterator[tuple[str, ...]]:
    for each in several:
        for side, noise in (("A", each.before.noise), ("B", each.after.noise)):
            if noise.reasons:
                yield each.name, side, one_line("; ".join(noise.reasons))


def _facts(several: Iterable[Change]) -> Iterator[tuple[str, ...]]:
    """Yield the facts that changed by areas; of one with many changes the first."""
    by_area: dict[str, list[tuple[str, ...]]] = {}
    for each in several:
        by_area.setdefault(each.area, []).append((each.area, *_change(each)))
    for lines in by_area.values():
        yield from _first(lines, _CHANGES)


def _change(found: Change) -> tuple[str, str]:
    return found.name, f"{_value(found.before)} → {_value(found.after)}"


def _absent(several: Iterable[Absent]) -> Iterator[tuple[str, ...]]:
    by_reason: dict[str, list[str]] = {}
    for each in several:
        by_reason.setdefault(each.reason, []).append(each.benchmark)
    yield from ((reason, ", ".join(names)) for reason, names in by_reason.items())


def _value(text: str | None) -> str:
    if text is None:
        return units.DASH
    told = one_line(text)
    return told if len(told) <= _TOLD else f"{told[: _TOLD - 1].rstrip()}…"


def _first(lines: list[tuple[str, ...]], most: int) -> list[tuple[str, ...]]:
    """Return the first of many lines, and how many there are more."""
    more = len(lines) - most
    if more <= 0:
        return lines
    empty = [""] * (len(lines[0]) - 1)
    return [*lines[:most], (f"and {more} more", *empty[1:], "--json has all") if empty else (f"and {more} more",)]


def _notes(found: Comparison) -> Iterator[str]:
    many = found.comparisons
    if many:
        together = "one ratio was judged" if many == 1 else f"{many} ratios were judged together"
        yield "A and B: all work over all time, of one process (of those that ran at the same time the mean)"
        yield f"±95 % of B/A: half the 95 % interval, by how much {_differing(found)} differ (n: repeats of A and of B)"
        yield (
            f"{together}: where nothing has changed, a ratio is called better or worse in less than 5 % of comparisons"
        )
        if _differing(found) == "repeats":
            yield (
                "what differs from one run to the next is in no interval of one run a side: to know it, pool runs of"
                " one repeat each, made in turns"
            )


def _differing(found: Comparison) -> str:
    """Return what it is that tells how sure the ratios are: the repeats of one run a side, or several runs."""
    return "repeats" if len(found.before) == len(found.after) == 1 else "runs"
