"""``milabench install``: an environment for every install group of the suite."""

from __future__ import annotations

from milabench.app.options import Options
from milabench.app.phases import operation
from milabench.console import Console
from milabench.errors import ExitCode


async def install(options: Options, console: Console) -> ExitCode:
    """Make the environments that are missing or out of date; exit code 4 when one cannot be made."""
    async with operation(options, console) as work:
        ready = await work.workspace(installing=True)
        return work.exit_code(await work.set_up("install", ready), ExitCode.ENVIRONMENT)
