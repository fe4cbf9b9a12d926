"""Runs → Summary: read each process once, group by benchmark, judge what is not there, compute the score."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from milabench.errors import RunDirError
from milabench.plan.types import Skip
from milabench.summary.areas import set_ups
from milabench.summary.benchmark import enabled_of, summarize_benchmark, weight_of
from milabench.summary.grouping import grouped
from milabench.summary.page import Page, read_page
from milabench.summary.score import total
from milabench.summary.types import BenchmarkSummary, Missing, ProcessSummary, Run, Summary


def summarize(runs: Run | Sequence[Run], absent: Sequence[Missing] = ()) -> Summary:
    """Return the summary of a run, or of several: those of the same benchmark are pooled as repeats of one another.

    A benchmark is missing (or skipped) when none of the runs started it; ``absent`` are those of runs that have not
    begun. Raises RunDirError without runs and OSError where a file cannot be read.
    """
    several: Sequence[Run] = runs if isinstance(runs, Sequence) else (runs,)
    if not several:
        raise RunDirError("no run to report: give the path of a run directory")
    pages = [read_page(run, index) for index, run in enumerate(several)]
    processes = grouped((each for page in pages for each in page.processes), lambda process: process.benchmark)
    configs = _configs(pages, processes)
    benchmarks = _benchmarks(pages, processes, configs)
    there = {found.name for found in benchmarks}
    missing = _missing(pages, there, configs)
    there |= {each.benchmark for each in missing}
    missing += tuple(each for each in absent if each.benchmark not in there)
    return Summary(
        runs=tuple(page.run for page in pages),
        benchmarks=benchmarks,
        missing=missing,
        skipped=tuple(Skip(benchmark=found.name, reason=found.skipped) for found in benchmarks if found.skipped),
        score={"milabench": total(_weighted(benchmarks, missing))},
        facts=pages[0].facts,
        warnings=tuple(_warnings(pages, benchmarks)),
    )


def _configs(pages: Sequence[Page], processes: Mapping[str, Sequence[ProcessSummary]]) -> dict[str, dict[str, Any]]:
    """Return each benchmark's config: the plan's, over it what its last process was told (weights are a run's own)."""
    found = {name: dict(config) for page in pages for name, config in page.configs.items()}
    for name, several in processes.items():
        written = next((process.config for process in reversed(several) if process.config), {})
        found[name] = {**found.get(name, {}), **written}
    return found


def _benchmarks(
    pages: Sequence[Page],
    processes: Mapping[str, Sequence[ProcessSummary]],
    configs: Mapping[str, Mapping[str, Any]],
) -> tuple[BenchmarkSummary, ...]:
    """Return what was started or skipped: in the plan's order, then what no plan knows as it was found."""
    skipped = {skip.benchmark: skip.reason for page in pages for skip in page.skipped}
    planned = (name for page in pages for name in page.planned)
    names = [name for name in dict.fromkeys(planned) if name in processes or name in skipped]
    return tuple(
        summarize_benchmark(
            name, processes.get(name, ()), configs.get(name, {}), skipped=_why_skipped(name, processes, skipped)
        )
        for name in dict.fromkeys((*names, *processes, *skipped))
    )


def _why_skipped(
    name: str, processes: Mapping[str, Sequence[ProcessSummary]], skipped: Mapping[str, str]
) -> str | None:
    several = processes.get(name, ())
    if any(process.outcome != "skipped" for process in several):
        return None
    return next((process.reason for process in several if process.reason), None) or skipped.get(name) or "skipped"


def _missing(pages: Sequence[Page], there: set[str], configs: Mapping[str, Mapping[str, Any]]) -> tuple[Missing, ...]:
    outcomes = {name: outcome for page in pages for name, outcome in page.absent.items() if name not in there}
    return tuple(
        Missing(
            benchmark=name,
            outcome=outcome.kind,
            reason=f"{outcome.kind}: {outcome.reason}" if outcome.reason else outcome.kind,
            weight=weight_of(configs.get(name, {})),
            enabled=enabled_of(configs.get(name, {})),
            definition=str(configs.get(name, {}).get("definition") or ""),
        )
        for name, outcome in outcomes.items()
    )


def _weighted(benchmarks: Sequence[BenchmarkSummary], missing: Sequence[Missing]) -> Iterator[tuple[float, float]]:
    for found in benchmarks:
        if found.enabled and found.score is not None:
            yield found.weight, found.score
    for absent in missing:
        if absent.enabled:
            yield absent.weight, 0.0


def _warnings(pages: Sequence[Page], benchmarks: Sequence[BenchmarkSummary]) -> Iterator[str]:
    for page in pages:
        yield from page.warnings
        ran = {process.benchmark for process in page.processes if process.outcome != "skipped"}
        yield from (f"{skip.benchmark}: skipped {skip.reason}" for skip in page.skipped if skip.benchmark in ran)
    for name in dict.fromkeys(name for page in pages for name in page.configs):
        asked = [_asked(page.configs[name]) for page in pages if name in page.configs]
        if any(each != asked[0] for each in asked):
            yield f"{name}: the pooled runs gave it other arguments: its rate mixes different work"
    yield from _of_set_ups(pages)
    if differing := _varied(pages):
        yield f"the pooled runs differ in {', '.join(differing)}, which a multirun varied: they are no repeats"
    for found in benchmarks:
        for process in found.processes:
            yield from process.warnings
        yield from _doubts(found)


def _of_set_ups(pages: Sequence[Page]) -> Iterator[str]:
    """Say in what the set-ups of runs differ, and what of that is doubtful then."""
    names = [{*page.planned, *(process.benchmark for process in page.processes)} for page in pages]
    counted = Counter(name for several in names for name in several)
    pooled = [page for page, several in zip(pages, names, strict=True) if any(counted[name] > 1 for name in several)]
    if differing := "; ".join(set_ups([page.facts for page in pooled])):
        yield f"the pooled runs are of different set-ups ({differing}): their spread is not that of repeats"
    elif differing := "; ".join(set_ups([page.facts for page in pages])):
        yield f"the runs are of different set-ups ({differing}): so are the benchmarks that the score is of"


def _varied(pages: Sequence[Page]) -> list[str]:
    """Return the options that a multirun gave other values in some of the runs; runs outside of any are left out."""
    facts = (page.facts.get("multirun") for page in pages)
    given = [
        each["options"] for each in facts if isinstance(each, Mapping) and isinstance(each.get("options"), Mapping)
    ]
    names = dict.fromkeys(name for options in given for name in options)
    return [name for name in names if any(options.get(name) != given[0].get(name) for options in given)]


def _asked(config: Mapping[str, Any]) -> tuple[object, object]:
    return config.get("argv"), config.get("command")


def _doubts(found: BenchmarkSummary) -> Iterator[str]:
    """Say what makes a benchmark's numbers doubtful."""
    if met := sorted({name for process in found.processes for name in process.neighbours}):
        yield f"{found.name}: ran beside {', '.join(met)}, on other devices of the same machine"
    units = sorted({process.unit for process in found.processes if len(process.series)})
    if len(units) > 1:
        yield f"{found.name}: its processes count in different units ({', '.join(units)}): its rate means nothing"
    if len({weight_of(process.config) for process in found.processes if process.config}) > 1:
        yield f"{found.name}: its weight differs between processes; the last one's, {found.weight:g}, counts"
    if found.perf is None and found.n > found.failed:
        yield f"{found.name}: it ended well but no rate was measured; its score is 0"
    if found.losses and found.losses.nan:
        yield f"{found.name}: a loss was NaN or infinite"
