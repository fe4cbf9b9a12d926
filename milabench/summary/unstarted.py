"""Processes of the plan that have no file: what came of them, by the journal's word on their trial."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

from milabench.outcome import GOOD, Outcome
from milabench.summary.process import Context, Place, parts_of, without_repeat
from milabench.summary.series import Series
from milabench.summary.types import ProcessSummary, Surroundings

_GONE = Outcome(kind="lost", reason="its .data file is gone; the journal says it went well")
_LEFT = Outcome(kind="interrupted", reason="the run ended before its turn")


def without_file(journal: Outcome | None) -> Outcome:
    """Return what came of something that has no file, by the journal's word where it has one."""
    if journal is None:
        return _LEFT
    return _GONE if journal.kind in GOOD else journal


def never_started(context: Context, begun: Collection[str], there: Collection[str]) -> Iterator[ProcessSummary]:
    """Yield the planned processes that are not ``there``, of the benchmarks that have ``begun``; they failed."""
    for tag, place in context.planned.items():
        if place.benchmark in begun and tag not in there:
            came = _outcome(tag, place, context)
            yield ProcessSummary(
                tag=tag,
                benchmark=place.benchmark,
                repeat=(context.index, place.repeat),
                place=without_repeat(parts_of({}, tag, place.benchmark)),
                slot=None,
                outcome=came.kind,
                reason=came.reason,
                series=Series(),
                losses=None,
                memory=None,
                seconds=None,
                devices=place.devices,
                ngpu=place.ngpu,
                config={},
                neighbours=context.neighbours.get(place.trial, ()),
                surroundings=Surroundings(node=place.node),
            )


def _outcome(tag: str, place: Place, context: Context) -> Outcome:
    """Return what came of a process; of a trial the journal has one word, which may be of another of its jobs."""
    journal = context.outcomes.get(place.trial)
    if journal is None or journal.kind in GOOD:
        return without_file(journal)
    named = context.planned.get(journal.tag)
    own = journal.tag in ("", tag, place.job, place.trial)
    if own or (named is not None and named.in_job == place.in_job):
        of = "" if own else f"{journal.tag}: "
        return replace(journal, reason=f"never started: {of}{journal.reason}".removesuffix(": "))
    told = f"{journal.tag}: {journal.kind}: {journal.reason}".removesuffix(": ")
    return Outcome(kind="lost", reason=f"never started; of its trial the journal says {told}")
