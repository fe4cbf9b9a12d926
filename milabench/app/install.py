"""``milabench install``: what definitions name by git, then an environment for every install group of the suite."""

from __future__ import annotations

from collections.abc import Mapping

from milabench import plan as planning
from milabench.app import preflight
from milabench.app.multirun import asked
from milabench.app.options import Options
from milabench.app.phases import Outcomes, operation
from milabench.app.unbundle import unpacked
from milabench.app.workspace import resolve_suite
from milabench.console import Console
from milabench.errors import ExitCode


async def install(options: Options, console: Console, *, fetch_only: bool = False) -> ExitCode:
    """Make what is missing or out of date; exit code 4 when something cannot be fetched or made.

    ``fetch_only``: only what is fetched by git, which is also what a plan for another machine needs.
    """
    options = unpacked(options, console)
    runs = asked(options)
    async with operation(options, console) as work:
        if fetch_only:
            unfetched: Mapping[str, str] = await work.fetch(resolve_suite(options))
            outcomes: Outcomes = {}
        else:
            several = await work.workspaces(runs, installing=True)
            for ready in several:
                if ready.system.container is not None:
                    plan = planning.plan(ready, "install")
                    await preflight.require(work, ready, plan, preflight.OF_CONTAINERS)
            unfetched, outcomes = several[0].unfetched, await work.set_up_all("install", several)
        code = work.exit_code(outcomes, ExitCode.ENVIRONMENT)
        return ExitCode.ENVIRONMENT if unfetched and code == ExitCode.OK else code
