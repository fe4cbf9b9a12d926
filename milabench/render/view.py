"""What a report for people says, as plain strings: the same in text and in markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from milabench import amounts
from milabench.render import latency, trust, units
from milabench.summary import BenchmarkSummary, Missing, Summary
from milabench.summary.areas import at_once, container
from milabench.untrusted import mappings, one_line

State = Literal["ok", "failed", "skipped", "missing"]
_Measured = Literal["rate", "spread", "std", "warmup", "steps", "verdict"]
Key = Literal["name", "n", "fail", "devices", _Measured, "memory", "score", "weight"]

HEADERS: Final[dict[Key, str]] = {
    "name": "benchmark",
    "n": "n",
    "fail": "fail",
    "devices": "dev",
    "rate": "rate",
    "spread": "±95 %",
    "std": "std",
    "warmup": "warm-up",
    "steps": "steps",
    "verdict": "verdict",
    "memory": "peak GiB",
    "score": "score",
    "weight": "weight",
}
WIDE: Final[tuple[Key, ...]] = tuple(HEADERS)
# The columns that are left out where not all fit, the first one first.
LEFT_OUT: Final[tuple[Key, ...]] = (
    *("std", "warmup", "weight", "devices", "memory", "n"),
    *("steps", "score", "fail", "verdict", "spread"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table; ``doubtful`` where the verdict is one to look at."""

    state: State
    doubtful: bool
    cells: Mapping[Key, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Lines under a title below the table, each of one or more cells."""

    title: str
    lines: tuple[tuple[str, ...], ...]


def heading(summary: Summary) -> Iterator[str]:
    """Yield the lines above the table: which run, of what, on what."""
    if len(summary.runs) == 1:
        run = summary.runs[0]
        yield " · ".join(part for part in (run.name, run.started, _version(summary.facts)) if part)
    else:
        how = " pooled as repeats" if _is_pooled(summary) else ", each of other benchmarks"
        yield f"{len(summary.runs)} runs{how}: {', '.join(run.name for run in summary.runs)}"
    if system := " · ".join(_system(summary.facts)):
        yield system


def _is_pooled(summary: Summary) -> bool:
    """Say whether several runs are not each of benchmarks of their own."""
    owners = [{each.repeat[0] for each in found.processes} for found in summary.benchmarks]
    return any(len(runs) > 1 for runs in owners) or len({run for runs in owners for run in runs}) < len(summary.runs)


def _version(facts: Mapping[str, Any]) -> str:
    written = facts.get("milabench")
    version = written.get("version") if isinstance(written, Mapping) else written
    return f"milabench {version}" if version else ""


def _system(facts: Mapping[str, Any]) -> Iterator[str]:
    system = facts.get("system")
    if not isinstance(system, Mapping):
        return
    arch = system.get("arch")
    if arch:
        yield str(arch)
    several = at_once(facts)
    if len(several) > 1:
        yield f"{len(several)} nodes"
    names = Counter(str(device.get("name")) for node in several for device in mappings(node.get("devices")))
    if arch != "cpu":
        yield from (name if count == 1 else f"{count} × {name}" for name, count in names.items())
    elif name := system.get("cpu_name") or next(iter(names), None):
        yield str(name)
    cpus = sum(node["cpus"] for node in several if isinstance(node.get("cpus"), int))
    if cpus:
        yield f"{cpus} CPUs"
    if inside := container(facts):
        yield one_line(f"in {inside['image']}")


def rows(summary: Summary) -> Iterator[Row]:
    """Yield a row for each benchmark, missing ones last."""
    system = summary.facts.get("system")
    none = "cpu" if isinstance(system, Mapping) and system.get("arch") == "cpu" else units.DASH
    for found in summary.benchmarks:
        yield _row(found, none)
    for absent in summary.missing:
        yield _missing(absent)


def _row(found: BenchmarkSummary, no_device: str) -> Row:
    if found.skipped:
        return Row(state="skipped", doubtful=False, cells=_empty(found.name, "skipped", found.weight, found.enabled))
    doubtful = found.trust.grade.word != "ok" and found.perf is not None
    return Row(
        state="failed" if found.failed else "ok",
        doubtful=doubtful,
        cells={
            "name": found.name,
            "n": str(found.n),
            "fail": str(found.failed),
            "devices": units.devices(found.devices) or no_device,
            "rate": units.rate(found.rate.value if found.perf is not None else None, found.unit),
            "spread": units.spread(found),
            "std": units.deviation(found),
            "warmup": str(found.warmup_steps),
            "steps": str(found.measured_steps),
            "verdict": found.trust.grade.word if found.perf is not None else units.DASH,
            "memory": units.gib(found.memory),
            "score": units.plain(found.score),
            "weight": _weight(found.weight, found.enabled),
        },
    )


def _missing(absent: Missing) -> Row:
    cells = _empty(absent.benchmark, "missing", absent.weight, absent.enabled)
    return Row(state="missing", doubtful=False, cells={**cells, "score": "0"})


def _empty(name: str, what: str, weight: float, enabled: bool) -> dict[Key, str]:
    cells = dict.fromkeys(HEADERS, units.DASH)
    return {**cells, "name": name, "n": "0", "fail": "0", "rate": what, "weight": _weight(weight, enabled)}


def _weight(weight: float, enabled: bool) -> str:
    return f"{weight:g}" if enabled else "off"


def score(summary: Summary) -> tuple[str, str]:
    """Return the total score and what it is made of."""
    total = summary.score.get("milabench")
    if total is None:
        return units.DASH, "no benchmark has a weight above 0"
    counted = [found for found in summary.benchmarks if found.enabled and found.score is not None and found.weight > 0]
    absent = [missing for missing in summary.missing if missing.enabled and missing.weight > 0]
    weight = sum(found.weight for found in counted) + sum(missing.weight for missing in absent)
    what = f"exp(mean ln(score+1)) of {amounts.many(len(counted) + len(absent), 'benchmark')}, weights {weight:g}"
    return f"{total:,.2f}".replace(",", " ") if total < 1e9 else units.plain(total), what


def processes(summary: Summary) -> str:
    """Return how many processes failed, of how many, and how long they took."""
    if not summary.n:
        return "nothing ran"
    many = f"{summary.n} process{'es' * (summary.n != 1)}"
    seconds = units.duration(sum(found.seconds for found in summary.benchmarks))
    return f"{summary.failed} of {many} failed, {seconds}" if summary.failed else f"{many}, none failed, {seconds}"


def sections(summary: Summary) -> Iterator[Section]:
    """Yield what stands below the table: every failure, what did not run, and what to know about the numbers."""
    failures = [
        (fail.tag, fail.outcome, units.reason(fail, summary.facts))
        for found in summary.benchmarks
        for fail in found.failures
    ]
    missing = [(absent.benchmark, absent.reason) for absent in summary.missing]
    skipped = [(skip.benchmark, skip.reason) for skip in summary.skipped]
    titled = (
        ("failed", failures),
        ("missing (each scores 0)", missing),
        ("skipped (do not count)", skipped),
        ("warnings", [(warning,) for warning in summary.warnings]),
        ("how far to trust these numbers", trust.doubts(summary)),
        ("latency of an inference", latency.latencies(summary)),
        ("energy", trust.energies(summary)),
        ("notes", [(note,) for note in _notes(summary)]),
    )
    for title, lines in titled:
        if lines:
            yield Section(title=title, lines=tuple(tuple(one_line(cell) for cell in line) for line in lines))


def _notes(summary: Summary) -> Iterator[str]:
    measured = [found for found in summary.benchmarks if found.perf is not None]
    if measured:
        warm = any(found.warmup_steps for found in measured)
        apart = "warm-up steps are not in it" if warm else "no step is marked as warm-up"
        yield f"rate: what one process did over all the time that its measured steps took; {apart}"
        if untimed := [found.name for found in measured if found.speed.times is None]:
            of = "all of them" if len(untimed) == len(measured) else trust.named(untimed)
            yield f"steps without times ({of}): the rate is the mean of their rates, without the lowest and the highest"
        yield "±95 %: half the 95 % interval of the rate, by batches of steps or, of repeats, by these"
        if any(found.rate.low is None for found in measured):
            yield "too few: no interval can be told; raise voir.options.stop or max_duration, or repeat the run"
        if any((found.rate.relative_error or 0.0) >= 1 for found in measured):
            yield "too wide: the interval reaches down to 0, so that nothing is known of the rate; measure longer"
    if any(found.memory and found.memory.source == "host" for found in summary.benchmarks):
        yield "host: the largest resident memory of the process, where no device's memory was read"


def places(summary: Summary) -> tuple[str, ...]:
    """Return where the runs are."""
    return tuple(run.path for run in summary.runs)
