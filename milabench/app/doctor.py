"""``milabench doctor``: the look that ``milabench run`` takes before anything starts, by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from milabench.app import preflight
from milabench.app.fleet import Unreachable, line
from milabench.app.multirun import asked
from milabench.app.options import Options
from milabench.app.phases import Operation, operation
from milabench.app.preflight import Look, Subject
from milabench.app.run import subject, with_plan
from milabench.app.unbundle import there
from milabench.console import Console
from milabench.errors import PreflightError
from milabench.plan.environ import redacted, secrets
from milabench.preflight import Finding
from milabench.system import allocation
from milabench.system.types import System


async def doctor(options: Options, console: Console) -> Look:
    """Return what is found of the nodes, and where a suite is named also of a run of it.

    What keeps the run from being planned (a device or a definition that is not there), and nodes that cannot be used,
    are findings.
    """
    options = there(options)
    async with operation(options, console) as work:
        try:
            if options.config is None:
                return await preflight.look(work, [(each, None) for each in await _machines(work)])
            return await preflight.look(work, await _runs(work))
        except Unreachable as error:
            lost: Mapping[str, str] = error.why
            found = [_unreachable(node, why, options.environ) for node, why in lost.items()]
        except PreflightError as error:
            lost, found = {}, [_no_plan(str(error), options.environ)]
        rest = await _rest(work, lost)
        names = {node.name for each in rest for node in each.nodes}
        several = lost and any(not node.local for each in rest for node in each.nodes)
        total = len(names | {*filter(None, lost)}) if several else None
        looked = await preflight.look(work, [(each, None) for each in rest], total)
        return replace(looked, findings=(*found, *looked.findings))


async def _machines(work: Operation) -> list[System]:
    """Return the system that options name, without a run."""
    return await work.systems(asked(work.options), absent="check")


async def _rest(work: Operation, lost: Mapping[str, str]) -> list[System]:
    """Return the nodes that can be used as systems without a run; where there is no other, this machine alone."""
    found = await work.systems(asked(work.options), absent="check", without=lost)
    others = [each for each in found if any(not node.local for node in each.nodes)]
    if others:
        return others
    options = work.options  # this machine alone is looked at, be it in an allocation
    alone = replace(options, system=None, environ=allocation.outside(options.environ))
    return await _machines(replace(work, options=alone))


async def _runs(work: Operation) -> list[Subject]:
    several = asked(work.options)
    spaces = await work.workspaces(several, absent="check")
    return [subject(with_plan(each, ready)) for each, ready in zip(several, spaces, strict=True)]


def _unreachable(node: str, why: str, environ: Mapping[str, Any]) -> Finding:
    """Return that a node cannot be used; without a name it is this machine, which is none, and has to keep the run."""
    return Finding(
        code="node-unreachable",
        severity="blocking",
        subject=node or "this machine",
        what=redacted(line(node, why), secrets(environ)),
        consequence="no run can begin on this node, and what it needs cannot be looked at"
        if node
        else "no run can begin from here, and what it needs cannot be looked at",
        remedy="mend that, or leave the node out of the system file" if node else "mend that",
        nodes=(node,) if node else (),
    )


def _no_plan(message: str, environ: Mapping[str, Any]) -> Finding:
    return Finding(
        code="no-plan",
        severity="blocking",
        subject="suite",
        what=redacted(message, secrets(environ)),
        consequence="no run can begin, and what it needs cannot be looked at",
        remedy="mend that first, and look again",
    )
