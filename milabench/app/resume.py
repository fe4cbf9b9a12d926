"""``milabench resume``: what is left of a run that was cut off, by the run's own plan."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from milabench import options as system_options
from milabench import plan as planning
from milabench import system as systems
from milabench.app import changes, places, preflight
from milabench.app.facts import SSH_OPTIONS, setting_up
from milabench.app.fleet import Survey, Unreachable
from milabench.app.options import Options
from milabench.app.phases import Operation, nodes_of, operation
from milabench.app.places import Place
from milabench.app.report import find_run
from milabench.app.run import fill
from milabench.console import Console
from milabench.errors import ExitCode, PreflightError, UsageError
from milabench.outcome import all_good
from milabench.plan import Plan
from milabench.plan.standins import Kept, with_standins
from milabench.record import Record
from milabench.rundir import RunDir
from milabench.slurm import records
from milabench.system import allocation
from milabench.system.file import NodeEntry, SystemFile
from milabench.system.types import Allocation, System
from milabench.untrusted import mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """Which run is gone on with, the newest without a ``name``. ``failed``: what failed is run again too.

    ``force``: though the machine or an environment is no longer what it was, or something stands in the way; the run
    says so then. ``other_nodes``: nodes that are not there are replaced by others, of the allocation that milabench is
    in, or of the system file of the options.
    """

    name: str | None = None
    failed: bool = False
    force: bool = False
    other_nodes: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ways:
    """How the nodes of a run are reached now, in its places; ``within``: in which allocation.

    ``facts`` are what run.json says of that, where it is another way than before.
    """

    places: Sequence[Place]
    system: SystemFile
    within: Allocation | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


async def resume(asked: Resumed, options: Options, console: Console, ended: Callable[[RunDir], None]) -> ExitCode:
    """Go on with a run and hand it to ``ended``; return the exit code of the whole run.

    Raises PreflightError where it is being written, where something stands in the way of it, or where the machine or an
    environment has changed.
    """
    run = find_run(asked.name, options.base)
    if not run.is_being_written() and not _left(run, run.plan(), asked).trials and run.journal().state == "complete":
        console.note(f"{run.path.name}: nothing is left to run")
        ended(run)
        return ExitCode.OK if all_good(run.outcomes().values()) else ExitCode.FAILED
    async with operation(options, console) as work:
        record = Record.reopen(run.path)
        try:
            ways = _ways(asked, record, options)
            described = await _joined(work, record, ways)
            await work.hold(record)
            left = await _checked(work, asked, record, ways, described)
        except BaseException:
            record.release()
            raise
        return await fill(work, left, record, ended)


async def _checked(work: Operation, asked: Resumed, record: Record, ways: _Ways, described: System) -> Plan:
    """Return what is left, for the nodes that have the places now, once nothing stands in the way of it."""
    before, plan = record.facts(), record.plan()
    names = [trial.id for trial in _left(record, plan, asked).trials]
    pairs = list(places.standins(ways.places, before, described))
    whole = with_standins(plan, names, pairs, _kept(record, before)) if pairs else plan
    trials = {trial.id: trial for trial in whole.trials}
    left = replace(whole, trials=tuple(trials[name] for name in names))
    run = changes.Continuation(before=before, places=ways.places, described=described, left=left)
    places.check_devices(left, described, run.new)
    now = await changes.facts_now(work, run, plan)
    if not left.trials:
        record.sit_down()
        return left
    known_now = {**before, **ways.facts}
    changes.check_installed(run, now, setting_up(known_now, work.options))
    there = replace(work, options=_options_of(record, known_now, work.options))
    begun = preflight.begun(work.options, left, described, side_by_side=before.get("side_by_side") is True)
    found = await preflight.check(there, [begun], force=asked.force)
    known: dict[str, Any] = {"preflight": preflight.recorded(found, before.get("preflight", ()))}
    if changed := dict(changes.changes(run, now)):
        changes.tell(changed, work.console, force=asked.force)
        known["changed"] = [*before.get("changed", ()), changed]
    replacing = _replacing(run, now)
    record.sit_down()  # what is refused stays as it was
    record.add_facts(**known, **replacing, **ways.facts)
    for each in replacing.get("replaced", ())[len(before.get("replaced", ())) :]:
        work.console.note(f"node {each['by']} takes the place of {each['node']}")
    if whole != plan:
        record.replan(whole)
    return left


def _kept(record: RunDir, before: Mapping[str, Any]) -> Kept:
    """Return what names no node, whatever it looks like: paths of the run, and what its suite has word for word."""
    return Kept.of([str(before.get("base")), *before.get("code", {})], mapping(record.suite().get("benchmarks")))


def _replacing(run: changes.Continuation, now: Mapping[str, Any]) -> dict[str, Any]:
    """Return what run.json says of nodes that took the place of others by now: it has them all, and when they did."""
    before = run.before
    moves = places.newly(places.of_run(before, [place.names[0] for place in run.places]), run.places, time.time())
    if not moves:
        return {}
    came = {name: now["nodes"][name] for name in run.new}
    return {"nodes": {**before["nodes"], **came}, "replaced": [*before.get("replaced", ()), *moves]}


def _options_of(record: RunDir, known: Mapping[str, Any], options: Options) -> Options:
    """Return the options with what the run was begun with: what is told to type is about the same nodes."""
    file = known.get("system_file")
    return replace(options, run_name=str(record.path), system=Path(file) if file else options.system)


def _left(run: RunDir, plan: Plan, asked: Resumed) -> Plan:
    """Return what is to be run: first what the run was cut off from, then what failed: it may do so again."""
    left, ended = planning.remaining(plan, run.decided(plan, failed=not asked.failed)), run.decided(plan)
    return replace(left, trials=tuple(sorted(left.trials, key=lambda trial: trial.id in ended)))


# Nodes ---------------------------------------------------------------------------------------------------------------


async def _joined(work: Operation, record: RunDir, ways: _Ways) -> System:
    """Connect the nodes of a run and return them as they are now. Raises PreflightError with those that are not."""
    survey = Survey(base=str(record.facts().get("base")), arch=ways.system.arch)
    try:
        return await work.recorded(ways.system, survey, ways.within)
    except Unreachable as error:
        if ways.within is not None or len(ways.places) == 1:
            raise
        others = f"milabench resume {shlex.quote(str(record.path))} --other-nodes --system FILE"
        raise PreflightError(f"{error}\nnodes that a file names instead can take their places: {others}") from None


def _ways(asked: Resumed, record: RunDir, options: Options) -> _Ways:
    """Return the nodes that a run goes on on. Raises PreflightError and UsageError where these cannot be."""
    before = record.facts()
    seats = places.of_run(before, nodes_of(record.plan()))
    if "allocation" in before:
        return _in_allocation(seats, before, record, options, other_nodes=asked.other_nodes)
    if asked.other_nodes:
        return _of_file(seats, before, options)
    given = {name: value for name, value in before.get("ssh", {}).items() if value is not None}
    return _Ways(places=seats, system=_system(before, [_entry(each, before) for each in seats], given))


def _in_allocation(
    seats: Sequence[Place], before: Mapping[str, Any], record: RunDir, options: Options, *, other_nodes: bool
) -> _Ways:
    """Return the nodes of the allocation that milabench is in. Raises PreflightError where it lacks some."""
    here, names = allocation.read(options.environ), [place.node for place in seats]
    submit = f"{records.resuming(record.path)} --other-nodes"
    if here is None or not (other_nodes or {*names} <= {*here.nodes}):
        have = f"this allocation has {', '.join(here.nodes)}" if here else "milabench runs in no allocation"
        raise PreflightError(
            f"the run is on {', '.join(names)} of a Slurm cluster, and {have}: resume it in one that has them"
            f" (--nodelist={','.join(names)}), or on others: {submit}"
        )
    if other_nodes:
        try:
            seats = places.assigned(seats, here.nodes)
        except PreflightError as error:
            raise PreflightError(f"{error}: ask for --nodes={len(seats)}, as {submit} does") from None
    entries = [replace(_entry(each, before), local=each.node == here.here) for each in seats]
    return _Ways(places=seats, system=_system(before, entries), within=here)


def _of_file(seats: Sequence[Place], before: Mapping[str, Any], options: Options) -> _Ways:
    """Return the nodes of the system file that is given; those that the run has had are reached as before.

    Raises PreflightError where they are too few.
    """
    if "ssh" not in before:
        raise UsageError("--other-nodes: the run was begun on one machine alone: start a new one on another")
    if options.system is None:
        raise UsageError("--other-nodes: give --system with a file of the nodes that the run is to go on on")
    said = systems.written(options.system, options.operator)
    known = {entry.name: entry for entry in said.nodes}
    try:
        seats = places.assigned(seats, [*known])
    except PreflightError as error:
        raise PreflightError(f"{error}: name {len(seats)} in {options.system}") from None
    ssh = {name: said.options[name] for name in SSH_OPTIONS}
    given = {name: value for name, value in ssh.items() if value is not None}
    new = {name: replace(entry, gpu_count=None, gpu_capacity_bytes=None, cpus=None) for name, entry in known.items()}
    entries = [_entry(each, before) if each.node in before["nodes"] else new[each.node] for each in seats]
    facts = {"ssh": ssh, "system_file": str(options.system.absolute())}
    return _Ways(places=seats, system=_system(before, entries, given), facts=facts)


def _system(
    before: Mapping[str, Any], entries: Iterable[NodeEntry], given: Mapping[str, Any] = MappingProxyType({})
) -> SystemFile:
    """Return the system of nodes in the places of a run; ``given`` are options of how they are reached."""
    arch = before.get("system", {}).get("arch")
    return SystemFile(arch=arch, nodes=tuple(entries), options=system_options.Options(dict(given)))


def _entry(place: Place, before: Mapping[str, Any]) -> NodeEntry:
    """Return the node of a place as it was reached, a new one by its name; older runs were of this machine alone."""
    told, nodes = before.get("nodes", {}).get(place.node), before.get("nodes", {})
    if told is None:
        return NodeEntry(name=place.node, address=place.node if nodes else "localhost", local=not nodes)
    names = ("address", "port", "user", "main", "hostkey", "local")
    python = None if told["local"] else told["python"]
    return NodeEntry(name=place.node, python=python, **{key: told[key] for key in names})
