"""``milabench prepare``: data and models for every benchmark of the suite."""

from __future__ import annotations

from milabench import plan as planning
from milabench.app import preflight
from milabench.app.multirun import asked
from milabench.app.options import Options
from milabench.app.phases import operation
from milabench.app.unbundle import unpacked
from milabench.console import Console
from milabench.errors import ExitCode


async def prepare(options: Options, console: Console) -> ExitCode:
    """Run the preparation scripts; exit code 4 when one fails or an environment is missing."""
    options = unpacked(options, console)
    runs = asked(options)
    async with operation(options, console) as work:
        several = await work.workspaces(runs)
        for ready in several:
            plan = planning.plan(ready, "prepare")
            await preflight.require(work, ready, plan, preflight.OF_PREPARE, *preflight.TOLD_BY_PREPARE)
        return work.exit_code(await work.set_up_all("prepare", several), ExitCode.ENVIRONMENT)
