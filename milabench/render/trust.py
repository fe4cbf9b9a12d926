"""How far numbers are to be trusted and what energy they took, in sentences: what matters, a line each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from milabench.render import units
from milabench.summary import BenchmarkSummary, Summary
from milabench.summary.types import OVERHEAD

EXPLAINED: Final = "docs/explanation/numbers.md"
_MOST_NAMES: Final = 5
_MOST_REASONS: Final = 2  # of a benchmark are shown; all are in the JSON
_UNKNOWN = "whether the machine was busy with other things is not known"
_TIMED = "measuring itself took {share} of a step's time ({cost} of {step}): steps are too short to be timed one by one"
_SOURCES: Final = {
    "device counter": "by the devices' own counters",
    "power samples": "added up from samples of the devices' power",
    "RAPL of the whole machine": "processors and memory of the whole machine, by RAPL",
    "IPMI of the whole machine": "the whole machine, added up from samples of its power (IPMI)",
}


def doubts(summary: Summary) -> list[tuple[str, ...]]:
    """Return (benchmark, what there is to know of its numbers); nothing where nothing was measured."""
    measured = [found for found in summary.benchmarks if found.perf is not None]
    told = [(found.name, line) for found in measured for line in _of(found)]
    if not measured:
        return []
    named = {name for name, _ in told}
    fine = sum(found.name not in named for found in measured)
    if fine:
        many = "all of them" if fine == len(measured) else f"{fine} other{'s' * (fine > 1)}"
        told.append((many, "ok: nothing that was looked at speaks against the numbers"))
    return [*told, *_unknown(measured), ("more", f"what these words mean and how they are found: {EXPLAINED}")]


def _of(found: BenchmarkSummary) -> Iterator[str]:
    trust = found.trust
    if trust.ecc is not None and trust.ecc.uncorrected:
        errors = f"{trust.ecc.uncorrected} memory error{'s' * (trust.ecc.uncorrected != 1)}"
        yield f"memory: the devices could not correct {errors} (ECC) while measuring: results may be wrong"
    if trust.grade.word != "ok":
        shown = trust.grade.reasons[:_MOST_REASONS]
        more = len(trust.grade.reasons) - len(shown)
        rest = f"; and {more} more, in --json" if more else ""
        yield f"{trust.grade.word}: {'; '.join(shown)}{rest}"
    if trust.noise.verdict == "unknown" and trust.noise.reasons:
        yield f"{_UNKNOWN}: {trust.noise.reasons[0]}"
    elif trust.noise.reasons and trust.grade.word == "ok":
        yield f"all the same: {trust.noise.reasons[0]}"
    if trust.overhead is not None and trust.overhead > OVERHEAD:
        yield _overhead(found)
    if trust.unsteady:
        yield (
            f"warm-up: the first {trust.unsteady} measured steps were not steady yet and are in the rate;"
            " voir.options.skip leaves steps out"
        )
    if trust.ecc is not None and trust.ecc.corrected:
        yield f"memory: the devices corrected {trust.ecc.corrected} errors (ECC) while measuring"


def _overhead(found: BenchmarkSummary) -> str:
    """Return what measuring cost the process of which it took the largest share."""
    worst = max(found.processes, key=lambda process: process.overhead or 0.0)
    cost_ns, times = worst.surroundings.overhead_ns or 0.0, worst.speed.times
    step = units.seconds(times.quantiles["p50"].value if times else None)
    return "overhead: " + _TIMED.format(share=units.share(worst.overhead), cost=units.seconds(cost_ns / 1e9), step=step)


def _unknown(measured: Sequence[BenchmarkSummary]) -> Iterator[tuple[str, ...]]:
    """Say of which benchmarks nothing tells whether the machine was busy with other things."""
    unknown = (found for found in measured if found.trust.noise.verdict == "unknown")
    names = [found.name for found in unknown if not found.trust.noise.reasons]
    if names:
        yield "all of them" if len(names) == len(measured) else _named(names), f"{_UNKNOWN}: the run does not say"


def _named(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_MOST_NAMES])
    return shown if len(names) <= _MOST_NAMES else f"{shown} and {len(names) - _MOST_NAMES} others"


def energies(summary: Summary) -> list[tuple[str, ...]]:
    """Return (benchmark, energy for a unit of work, and mean power, with how it is known), where it is."""
    return [
        (found.name, f"{_energy(found)}, {units.plain(found.energy.watts)} W: {_SOURCES[found.energy.source]}")
        for found in summary.benchmarks
        if found.energy is not None
    ]


def _energy(found: BenchmarkSummary) -> str:
    if found.energy_per_unit is None:
        return f"{units.symbol(found.energy.joules if found.energy else None, 'J')} in all"
    return f"{units.symbol(found.energy_per_unit, 'J')} per {units.single(found.unit)}"
