"""``milabench doctor``: the look that ``milabench run`` takes before anything starts, by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from milabench.app import preflight
from milabench.app.multirun import asked
from milabench.app.options import Options
from milabench.app.phases import Operation, operation
from milabench.app.preflight import Look, Subject
from milabench.app.run import subject, with_plan
from milabench.app.workspace import resolve_system
from milabench.console import Console
from milabench.errors import PreflightError
from milabench.plan.environ import redacted, secrets
from milabench.preflight import Finding


async def doctor(options: Options, console: Console) -> Look:
    """Return what is found of the machine, and where a suite is named also of a run of it.

    What keeps the run from being planned (a device or a definition that is not there) is a finding.
    """
    async with operation(options, console) as work:
        if options.config is None:
            return await preflight.look(work, [await _machine(work, options)])
        try:
            subjects = await _runs(work)
        except PreflightError as error:
            found = await preflight.look(work, [await _machine(work, replace(options, system=None))])
            return replace(found, findings=(_no_plan(str(error), options.environ), *found.findings))
        return await preflight.look(work, subjects)


async def _machine(work: Operation, options: Options) -> Subject:
    """Return the system that options name on this machine, without a run."""
    facts = (await work.host.request("probe", arch=options.arch, reach={}))["facts"]
    return resolve_system(options, facts), None


async def _runs(work: Operation) -> list[Subject]:
    several = asked(work.options)
    spaces = await work.workspaces(several)
    return [subject(with_plan(each, ready)) for each, ready in zip(several, spaces, strict=True)]


def _no_plan(message: str, environ: Mapping[str, Any]) -> Finding:
    return Finding(
        code="no-plan",
        severity="blocking",
        subject="suite",
        what=redacted(message, secrets(environ)),
        consequence="no run can begin, and what it needs cannot be looked at",
        remedy="mend that first, and look again",
    )
