"""One run: its processes in the plan's order, and the benchmarks of which there are none, with why."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any

from milabench.amounts import many
from milabench.errors import AbsentFileError, RunDirError
from milabench.outcome import Outcome
from milabench.plan.types import Plan, Skip
from milabench.summary.process import Context, Place, places, summarize_process
from milabench.summary.reading import Reading
from milabench.summary.surroundings import Site, seen_from
from milabench.summary.types import ProcessSummary, Run, RunFacts
from milabench.summary.unstarted import never_started, without_file
from milabench.summary.watched import uncovered, watched
from milabench.untrusted import mappings

_DIGITS = re.compile(r"(\d+)")
_SKIPPED = re.compile(r"Skip (?P<benchmark>\S+) because (?P<reason>.+)", re.DOTALL)  # as milabench writes it


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What one run holds. ``planned`` and ``configs`` are empty for a run of another tool, which has no plan.

    ``absent``: the plan's benchmarks of which no process was started, each with its trial's outcome.
    """

    run: RunFacts
    facts: Mapping[str, Any]
    planned: tuple[str, ...]
    configs: Mapping[str, Mapping[str, Any]]
    processes: tuple[ProcessSummary, ...]
    skipped: tuple[Skip, ...]
    absent: Mapping[str, Outcome]
    warnings: tuple[str, ...]


def read_page(run: Run, index: int) -> Page:
    """Read the ``index``-th of the runs that are pooled. Raises OSError where a file cannot be read."""
    warnings: list[str] = []
    facts = _facts(run, warnings)
    outcomes, plan = _outcomes(run), _plan(run, warnings if facts or warnings else [])
    cpu = _is_cpu(facts)
    planned = places(plan, cpu=cpu) if plan else {}
    seen = watched(run, facts, {place.node for place in planned.values() if place.node})
    context = Context(
        index=index,
        planned=planned,
        outcomes=outcomes,
        neighbours=run.neighbours(),
        cpu=cpu,
        watched=seen,
    )
    found = {tag: summarize_process(run, tag, context) for tag in _in_order(run, planned)}
    started = list(_with_beside([each for each in found.values() if isinstance(each, ProcessSummary)], context))
    others = {tag: each for tag, each in found.items() if isinstance(each, Reading)}
    begun = {process.benchmark for process in started}
    unstarted = _unstarted(plan, begun, outcomes) if plan else {}
    processes = _in_plan(planned, [*started, *never_started(context, begun, found.keys())])
    skipped = [*(plan.skipped if plan else ()), *_skipped(others.values())]
    skipped.extend(Skip(benchmark=name, reason=why.reason) for name, why in unstarted.items() if why.kind == "skipped")
    warnings.extend(
        (*_of_none(others), *seen.warnings, *uncovered(started), *_replaced(facts), *_changed(facts), *_attempts(run))
    )
    return Page(
        run=_name(run, facts, started),
        facts=facts,
        planned=tuple(dict.fromkeys(trial.benchmark for trial in plan.trials)) if plan else (),
        configs=plan.configs if plan else {},
        processes=tuple(processes),
        skipped=tuple(skipped),
        absent={name: outcome for name, outcome in unstarted.items() if outcome.kind != "skipped"},
        warnings=tuple(warnings),
    )


def _skipped(others: Iterable[Reading]) -> Iterator[Skip]:
    """Yield what was skipped by what stands in a file instead of a process's lines."""
    for match in (_SKIPPED.match(found.message) for found in others):
        if match:
            yield Skip(benchmark=match["benchmark"], reason=match["reason"])


def _of_none(others: Mapping[str, Reading]) -> Iterator[str]:
    """Tell of files that are of no process."""
    for tag, found in others.items():
        if not found.lines or _SKIPPED.match(found.message):
            continue
        if not found.config:
            yield f"{tag}: its .data file holds nothing of a process and was left out{_said(found)}"
        elif found.end and found.end.get("return_code"):
            yield f"{tag}: a command of milabench itself ended with exit code {found.end['return_code']}"
    if empty := [tag for tag, found in others.items() if not found.lines]:
        yield f"{', '.join(empty)}: nothing stands in the .data file: it was never started"


def _attempts(run: Run) -> Iterator[str]:
    for trial, count in run.failed_before().items():
        yield f"{trial}: {many(count, 'attempt')} before this one failed, and may be looked at in attempts/"


def _replaced(facts: Mapping[str, Any]) -> Iterator[str]:
    """Say which nodes took the place of others, and when."""
    for each in mappings(facts.get("replaced")):
        when = f" on {text}" if (text := _time(each.get("time"))) else ""
        yield f"{each.get('by')} took the place of {each.get('node')}{when}: jobs begun after that ran there"


def _changed(facts: Mapping[str, Any]) -> Iterator[str]:
    """Say what had changed when the run was gone on with by force."""
    changed = facts.get("changed")
    for each in changed if isinstance(changed, list) else ():
        if isinstance(each, Mapping):
            told = "; ".join(f"{name}: {change}" for name, change in each.items())
            yield f"the run was resumed although this had changed: {told}"


def _said(found: Reading) -> str:
    """Return what else a file says that is of no process."""
    told = found.error or found.message or (f"{found.bad} damaged lines" if found.bad else "")
    return f" ({told})" if told else ""


def _facts(run: Run, warnings: list[str]) -> Mapping[str, Any]:
    try:
        facts = run.facts()
    except AbsentFileError:  # releases before this one wrote none
        return {}
    except (RunDirError, RecursionError) as error:
        told = "its facts are nested too deeply" if isinstance(error, RecursionError) else str(error)
        warnings.append(f"{told}: on what the run was, and when, is not known")
        return {}
    return facts if isinstance(facts, Mapping) else {}


def _outcomes(run: Run) -> Mapping[str, Outcome]:
    try:
        return run.outcomes()
    except RunDirError:
        return {}


def _with_beside(processes: Sequence[ProcessSummary], context: Context) -> Iterator[ProcessSummary]:
    """Yield the processes, those that measure nothing themselves (servers, nodes of a group) with what was seen.

    That is of their devices in the time in which the others of their job measured: what it took was taken for them.
    """
    spans: dict[tuple[str, str], tuple[int, int]] = {}
    for process in processes:
        place, span = context.planned.get(process.tag), process.surroundings.window_ns
        if place is not None and span is not None:
            known = spans.get(place.in_job, span)
            spans[place.in_job] = min(known[0], span[0]), max(known[1], span[1])
    for process in processes:
        place, found = context.planned.get(process.tag), process.surroundings
        others = None if place is None else spans.get(place.in_job)
        if found.window_ns is None and found.shown and others is not None:
            seen, node = context.watched, found.node or ""
            site = Site(
                node=found.node,
                shown=found.shown,
                stretches=seen.stretches.get(node, ()),
                unseen=seen.unseen.get(node, ""),
                ahead_ns=seen.ahead_ns.get(node, 0),
            )
            yield replace(process, surroundings=seen_from(site, others))
        else:
            yield process


def _plan(run: Run, warnings: list[str]) -> Plan | None:
    try:
        return run.plan()
    except RunDirError as error:
        warnings.append(f"without its plan what is missing cannot be told: {error}")
        return None


def _name(run: Run, facts: Mapping[str, Any], processes: Sequence[ProcessSummary]) -> RunFacts:
    """Return which run it is; one without facts began with the first of its processes."""
    first = min((each.started for each in processes if each.started is not None), default=None)
    return RunFacts(
        name=str(facts.get("name") or run.path.name), started=_time(facts.get("started", first)), path=str(run.path)
    )


def _time(value: object) -> str:
    """Return a time as text; a number counts seconds since 1970."""
    if isinstance(value, (int, float)):
        with contextlib.suppress(ValueError, OverflowError, OSError):  # no time at all
            return datetime.fromtimestamp(value, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
    return str(value or "")


def _is_cpu(facts: Mapping[str, Any]) -> bool:
    system = facts.get("system")
    return isinstance(system, Mapping) and system.get("arch") == "cpu"


def _in_order(run: Run, planned: Mapping[str, Place]) -> list[str]:
    """Return the tags in the plan's order, others after them with D2 before D10."""
    order = {tag: number for number, tag in enumerate(planned)}
    return sorted(run.tags(), key=lambda tag: (order.get(tag, len(order)), _natural(tag)))


def _in_plan(planned: Mapping[str, Place], processes: Sequence[ProcessSummary]) -> list[ProcessSummary]:
    """Return processes in the plan's order, others after them as they are."""
    order = {tag: number for number, tag in enumerate(planned)}
    return sorted(processes, key=lambda process: order.get(process.tag, len(order)))


def _natural(tag: str) -> tuple[tuple[bool, int, str], ...]:
    parts = (part for part in _DIGITS.split(tag) if part)
    return tuple((part.isdigit(), int(part) if part.isdigit() else 0, part) for part in parts)


def _unstarted(plan: Plan, started: set[str], outcomes: Mapping[str, Outcome]) -> dict[str, Outcome]:
    """Return the plan's benchmarks of which no process was started, each with the journal's word on it."""
    found: dict[str, Outcome] = {}
    for trial in plan.trials:
        if trial.benchmark not in started and trial.benchmark not in found:
            found[trial.benchmark] = without_file(outcomes.get(trial.id))
    return found
