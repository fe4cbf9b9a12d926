"""How far numbers are to be trusted and what energy they took, in sentences: what matters, a line each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from benchmate.verdict import OVERHEAD, Evenness, Grade
from milabench.amounts import many
from milabench.outcome import INFERENCE
from milabench.render import units
from milabench.summary import BenchmarkSummary, Precision, Summary

EXPLAINED: Final = "docs/explanation/numbers.md"
_MOST_NAMES: Final = 5
_MOST_REASONS: Final = 2  # of a benchmark are shown, more where more speak of different things; all are in the JSON
_APART: Final = 0.01  # from which share on the mean of rates is told to be another number than the rate
_UNKNOWN = "whether the machine was busy with other things is not known"
_MOSTLY: Final = 0.5  # of a step's time; from there on it is more measuring than anything else
_MOSTLY_TIMED = (
    "measuring {what} costs {cost} by itself, and {what} took {took}: the rate is more that of measuring than of the"
    " program; let {what} do more"
)
_TIMED = (
    "measuring itself took {share} of {what}'s time ({cost} of {took}): {step}s are too short to be timed one by one"
)
_TIMED_APART = (  # stamps before and after each: what lies between one's end and the next one's begin is in neither
    "the loop that times {what} takes {cost} beside it, a part of which is in the {took} that {what} is said to take"
    ": {step}s are too short to be timed one by one"
)
_ENDED: Final = {
    "seconds": " by its seconds (voir.options.stop.seconds)",
    "observations": " by its number of steps (voir.options.stop.observations)",
    "": ": its program, or max_duration, ended it before",
}
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
        who = "all of them" if fine == len(measured) else many(fine, "other")
        told.append((who, "ok: nothing that was looked at speaks against the numbers"))
    return [*told, *_unknown(measured), ("more", f"what these words mean and how they are found: {EXPLAINED}")]


def _of(found: BenchmarkSummary) -> Iterator[str]:
    trust = found.trust
    if trust.ecc is not None and trust.ecc.uncorrected:
        errors = many(trust.ecc.uncorrected, "memory error")
        yield f"memory: the devices could not correct {errors} (ECC) while measuring: results may be wrong"
    if trust.evenness.apart:
        yield _uneven(trust.evenness, found.unit)
    if (graded := _but_for_uneven(trust.grade)).word != "ok":
        shown = _shown(graded)
        more = len(graded.reasons) - len(shown)
        rest = f"; and {more} more, in --json" if more else ""
        yield f"{graded.word}: {'; '.join(shown)}{rest}"
    if apart := _apart(found):
        yield apart
    if trust.noise.verdict == "unknown" and trust.noise.reasons:
        yield f"{_UNKNOWN}: {trust.noise.reasons[0]}"
    elif trust.noise.reasons and trust.grade.word == "ok":
        yield f"all the same: {trust.noise.reasons[0]}"
    if trust.precision is not None and trust.precision.is_missed:
        yield _imprecise(trust.precision)
    if trust.overhead is not None and trust.overhead > OVERHEAD:
        yield _overhead(found)
    if trust.unsteady:
        yield (
            f"warm-up: the first {trust.unsteady} measured {found.step}s were not steady yet and are in the rate;"
            f" voir.options.skip leaves {found.step}s out"
        )
    if trust.ecc is not None and trust.ecc.corrected:
        yield f"memory: the devices corrected {trust.ecc.corrected} errors (ECC) while measuring"


def _uneven(even: Evenness, unit: str) -> str:
    """Return which devices, or nodes, are slow or fast, the slowest first; of many how many others."""
    told = [f"{each.name} at {units.rate(each.rate, unit)} ({each.told})" for each in even.apart[:_MOST_NAMES]]
    more = len(even.apart) - len(told)
    rest = f" and {many(more, 'other')}, in --json" if more else ""
    return f"uneven: {', '.join(told)}{rest}; the median of {even.of} is {units.rate(even.median, unit)}"


def _but_for_uneven(grade: Grade) -> Grade:
    """Return a grade without what is told of slow and fast devices with their rates."""
    left = [(reason, word) for reason, word in zip(grade.reasons, grade.words, strict=False) if word != "uneven"]
    if len(left) == len(grade.words):
        return grade
    reasons, words = tuple(reason for reason, _ in left), tuple(word for _, word in left)
    return Grade(word=next(iter(words), "ok"), reasons=reasons, words=words)


def _shown(grade: Grade) -> list[str]:
    """Return the reasons that are shown, in their order: the first of each word, and others up to so many in all."""
    words = grade.words or (grade.word,) * len(grade.reasons)
    first = {words.index(word) for word in words}
    others = [index for index in range(len(words)) if index not in first][: max(_MOST_REASONS - len(first), 0)]
    return [grade.reasons[index] for index in sorted([*first, *others])]


def _apart(found: BenchmarkSummary) -> str | None:
    """Return how the mean of steps' rates, which the score counts, is something else than the rate; None if it is not.

    Its steps weigh alike however long they took: it is far above where a few took long.
    """
    rate, perf = found.rate, found.perf
    if perf is None or not rate.value or abs(perf / rate.value - 1) <= _APART:
        return None
    if rate.low is not None and rate.high is not None and rate.low <= perf <= rate.high:
        return None
    of_steps, over_time = units.rate(perf, found.unit), units.rate(rate.value, found.unit)
    return (
        f"score: it counts the mean of its {found.step}s' rates, {of_steps}, as milabench does;"
        f" over the whole time it was {over_time}"
    )


def _imprecise(precision: Precision) -> str:
    """Return how far a rate is from the precision that was asked for, and which limit ended it before."""
    reached = precision.reached
    if reached is None:
        at = "with too few steps to tell"
    else:
        at = f"at ±{units.share(reached)}" if reached < 1 else "with an interval too wide to tell"
    return f"precision: asked for ±{units.share(precision.asked)}, ended {at}{_ENDED.get(precision.ended_by, '')}"


def _overhead(found: BenchmarkSummary) -> str:
    """Return what measuring cost the process of which it took the largest share."""
    worst = max(found.processes, key=lambda process: process.overhead or 0.0)
    cost_ns, times = worst.surroundings.overhead_ns or 0.0, worst.speed.times
    took = units.seconds(times.quantiles["p50"].value if times else None)
    wording = _MOSTLY_TIMED if (worst.overhead or 0.0) >= _MOSTLY else _TIMED
    wording = _TIMED_APART if worst.task == INFERENCE else wording
    return "overhead: " + wording.format(
        share=units.share(worst.overhead),
        cost=units.seconds(cost_ns / 1e9),
        took=took,
        step=found.step,
        what=units.one(found.step),
    )


def _unknown(measured: Sequence[BenchmarkSummary]) -> Iterator[tuple[str, ...]]:
    """Say of which benchmarks nothing tells whether the machine was busy with other things."""
    unknown = (found for found in measured if found.trust.noise.verdict == "unknown")
    names = [found.name for found in unknown if not found.trust.noise.reasons]
    if names:
        yield "all of them" if len(names) == len(measured) else named(names), f"{_UNKNOWN}: the run does not say"


def named(names: Sequence[str]) -> str:
    """Return names in a row, of many how many others there are."""
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
