"""``milabench resume``: what is left of a run that was cut off, by the run's own plan."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import milabench
from milabench import plan as planning
from milabench.app import preflight
from milabench.app.facts import made_of
from milabench.app.options import Options
from milabench.app.phases import Operation, operation
from milabench.app.report import find_run
from milabench.app.run import fill
from milabench.console import Console
from milabench.errors import ExitCode, PreflightError
from milabench.outcome import GOOD
from milabench.plan import Plan
from milabench.record import Record
from milabench.rundir import RunDir

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
            await work.hold(record)
            left = _left(record, plan, asked)
            now = await _now(work, record)
            if left.trials:
                there = replace(work, options=replace(options, run_name=str(run.path)))
                side_by_side = record.facts().get("side_by_side") is True
                begun = preflight.begun(options, left, now["system"], side_by_side=side_by_side)
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


def _left(run: RunDir, plan: Plan, asked: Resumed) -> Plan:
    """Return what is to be run: first what the run was cut off from, then what failed: it may do so again."""
    left, ended = planning.remaining(plan, run.decided(plan, failed=not asked.failed)), run.decided(plan)
    return replace(left, trials=tuple(sorted(left.trials, key=lambda trial: trial.id in ended)))


async def _now(work: Operation, record: RunDir) -> Mapping[str, Any]:
    """Return the facts that a run recorded, as they are now."""
    before = record.facts()
    system = before.get("system", {})
    facts = (await work.host.request("probe", arch=system.get("arch"), reach={}))["facts"]
    return {
        "milabench": milabench.__version__,
        "system": {**facts, "arch": system.get("arch")},
        **await made_of(work, before.get("environments", {}), str(before.get("base")), record.plan()),
    }


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what differs from what a run recorded, each with both values."""
    known = {"milabench": before.get("milabench"), **_machine(before)}
    for name, value in {"milabench": now["milabench"], **_machine(now)}.items():
        if known.get(name) is not None and known[name] != value:
            yield name, f"{known[name]} → {value}"
    for group, packages in before.get("environments", {}).items():
        there = now["environments"].get(group, [])
        if sorted(packages) != sorted(there):
            gone, new = sorted({*packages} - {*there}), sorted({*there} - {*packages})
            yield f"environment {group}", f"{', '.join(gone) or 'nothing'} → {', '.join(new) or 'nothing'}"
    for source, digest in before.get("code", {}).items():
        there = now["code"].get(source)
        if there != digest:
            yield f"code {source}", f"{_short(digest)} → {_short(there)}"


def _short(digest: str | None) -> str:
    return digest[:12] if digest else "nothing that can be read"


def _machine(facts: Mapping[str, Any]) -> dict[str, Any]:
    system = facts.get("system", {})
    devices = [each.get("uuid") or each.get("name") for each in system.get("devices") or ()]
    return {**{name: system.get(name) for name in _OF_THE_MACHINE}, "devices": devices}


def _tell(changes: Mapping[str, str], console: Console, *, force: bool) -> None:
    told = "; ".join(f"{name}: {change}" for name, change in changes.items())
    if not force:
        raise PreflightError(
            f"since the run was begun this has changed: {told}. Its numbers would be of two set-ups: restore it,"
            " start a new run, or give --force (the report then says so)"
        )
    console.note(f"warning: since the run was begun this has changed: {told}")
