"""``milabench resume``: what is left of a run that was cut off, by the run's own plan."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import milabench
from milabench import options as system_options
from milabench import plan as planning
from milabench.app import preflight
from milabench.app.facts import made_of, nodes
from milabench.app.fleet import Survey
from milabench.app.options import Options
from milabench.app.phases import Operation, nodes_of, operation
from milabench.app.report import find_run
from milabench.app.run import fill
from milabench.console import Console
from milabench.errors import ExitCode, PreflightError
from milabench.outcome import GOOD
from milabench.plan import Plan
from milabench.record import Record
from milabench.rundir import RunDir
from milabench.system import allocation
from milabench.system.file import NodeEntry, SystemFile
from milabench.system.types import Allocation, System

# What makes two numbers of one run those of two machines.
_OF_THE_MACHINE = ("hostname", "platform", "cpus", "cpu_name", "memory_bytes", "arch", "devices", "driver")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """Which run is gone on with, the newest without a ``name``. ``failed``: what failed is run again too.

    ``force``: though the machine or an environment is no longer what it was, or something stands in the way; the run
    says so then.
    """

    name: str | None = None
    failed: bool = False
    force: bool = False


async def resume(asked: Resumed, options: Options, console: Console, ended: Callable[[RunDir], None]) -> ExitCode:
    """Go on with a run and hand it to ``ended``; return the exit code of the whole run.

    Raises PreflightError where it is being written, where something stands in the way of it, or where the machine or an
    environment has changed.
    """
    run = find_run(asked.name, options.base)
    plan = run.plan()
    if not run.is_being_written() and not _left(run, plan, asked).trials and run.journal().state == "complete":
        console.note(f"{run.path.name}: nothing is left to run")
        ended(run)
        return ExitCode.OK if all(each.kind in GOOD for each in run.outcomes().values()) else ExitCode.FAILED
    async with operation(options, console) as work:
        record = Record.reopen(run.path)
        try:
            described = await _joined(work, record)
            await work.hold(record)
            left = _left(record, plan, asked)
            now = await _now(work, record, described)
            if left.trials:
                there = replace(work, options=_options_of(record, options, run))
                side_by_side = record.facts().get("side_by_side") is True
                begun = preflight.begun(options, left, described, side_by_side=side_by_side)
                found = await preflight.check(there, [begun], force=asked.force)
                record.add_facts(preflight=preflight.recorded(found, record.facts().get("preflight", ())))
            changes = dict(_changes(record.facts(), now))
            if changes and left.trials:
                _tell(changes, console, force=asked.force)
                record.add_facts(changed=[*record.facts().get("changed", ()), changes])
        except BaseException:
            record.release()
            raise
        return await fill(work, left, record, ended)


def _options_of(record: RunDir, options: Options, run: RunDir) -> Options:
    """Return the options with what the run was begun with: what is told to type is about the same nodes."""
    file = record.facts().get("system_file")
    return replace(options, run_name=str(run.path), system=Path(file) if file else options.system)


def _left(run: RunDir, plan: Plan, asked: Resumed) -> Plan:
    """Return what is to be run: first what the run was cut off from, then what failed: it may do so again."""
    left, ended = planning.remaining(plan, run.decided(plan, failed=not asked.failed)), run.decided(plan)
    return replace(left, trials=tuple(sorted(left.trials, key=lambda trial: trial.id in ended)))


async def _joined(work: Operation, record: RunDir) -> System:
    """Connect the nodes of a run and return them as they are now. Raises Unreachable with those that are not there."""
    before = record.facts()
    arch = before.get("system", {}).get("arch")
    given = {name: value for name, value in before.get("ssh", {}).items() if value is not None}
    said = SystemFile(arch=arch, nodes=tuple(_entries(before, record.plan())), options=system_options.Options(given))
    within = _within(before, said.nodes, work.options)
    return await work.recorded(said, Survey(base=str(before.get("base")), arch=arch), within)


def _entries(before: Mapping[str, Any], plan: Plan) -> Iterator[NodeEntry]:
    """Yield the nodes of a run as they were reached, the main one first; older runs were of this machine alone."""
    names = ("address", "port", "user", "main", "hostkey", "local")
    nodes = before.get("nodes", {})
    for name, each in nodes.items():
        python = None if each["local"] else each["python"]
        yield NodeEntry(name=name, python=python, **{key: each[key] for key in names})
    for name in sorted(nodes_of(plan) - nodes.keys()):
        yield NodeEntry(name=name, address="localhost", local=True)


def _within(before: Mapping[str, Any], entries: Sequence[NodeEntry], asked: Options) -> Allocation | None:
    """Return the allocation that a run goes on in. Raises PreflightError where it has not the nodes of the run."""
    if "allocation" not in before:
        return None
    names = [each.name for each in entries]
    here = allocation.read(asked.environ)
    if here is None or not {*names} <= {*here.nodes}:
        have = f"this one has {', '.join(here.nodes)}" if here else "milabench runs in none"
        raise PreflightError(
            f"the run was begun in a Slurm allocation of {', '.join(names)}, and {have}: resume it in one of the same"
            f" nodes (--nodelist={','.join(names)})"
        )
    return here


async def _now(work: Operation, record: RunDir, described: System) -> Mapping[str, Any]:
    """Return the facts that a run recorded, as they are now."""
    before = record.facts()
    groups: dict[str, Collection[str]] = {
        name: each["environments"] for name, each in before.get("nodes", {}).items() if "environments" in each
    }
    groups[planning.keeper(described, described.main).name] = before.get("environments", {})
    made = await made_of(work, described, groups, str(before.get("base")), record.plan())
    return {
        "milabench": milabench.__version__,
        "system": {**described.facts, "arch": described.arch},
        "nodes": nodes(described, made),
        "environments": made.environments,
        "code": made.code,
    }


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what differs from what a run recorded, each with both values."""
    known = {"milabench": before.get("milabench"), **_machines(before)}
    for name, value in {"milabench": now["milabench"], **_machines(now)}.items():
        if known.get(name) is not None and known[name] != value:
            yield name, f"{known[name]} → {value}"
    there = dict(_environments(now))
    for name, packages in _environments(before):
        found = there.get(name, [])
        if sorted(packages) != sorted(found):
            gone, new = sorted({*packages} - {*found}), sorted({*found} - {*packages})
            yield name, f"{', '.join(gone) or 'nothing'} → {', '.join(new) or 'nothing'}"
    for source, digest in before.get("code", {}).items():
        now_digest = now["code"].get(source)
        if now_digest != digest:
            yield f"code {source}", f"{_short(digest)} → {_short(now_digest)}"


def _environments(facts: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """Yield the packages of every environment: those of the main node's base, and those of others."""
    usual = facts.get("environments", {})
    for group, packages in usual.items():
        yield f"environment {group}", packages
    for name, node in facts.get("nodes", {}).items():
        for group, packages in node.get("environments", {}).items():
            yield f"environment {group} on {name}", usual.get(group, []) if packages is None else packages


def _short(digest: str | None) -> str:
    return digest[:12] if digest else "nothing that can be read"


def _machines(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return what tells machines apart: of the main node by itself, of others by their names."""
    found = _machine(facts.get("system", {}))
    for name, node in facts.get("nodes", {}).items():
        if not node["main"]:
            found |= {f"{key} of {name}": value for key, value in _machine(node).items()}
    return found


def _machine(told: Mapping[str, Any]) -> dict[str, Any]:
    devices = [each.get("uuid") or each.get("name") for each in told.get("devices") or ()]
    return {**{name: told.get(name) for name in _OF_THE_MACHINE}, "devices": devices}


def _tell(changes: Mapping[str, str], console: Console, *, force: bool) -> None:
    told = "; ".join(f"{name}: {change}" for name, change in changes.items())
    if not force:
        raise PreflightError(
            f"since the run was begun this has changed: {told}. Its numbers would be of two set-ups: restore it,"
            " start a new run, or give --force (the report then says so)"
        )
    console.note(f"warning: since the run was begun this has changed: {told}")
