"""``milabench clean --system``: bases of nodes that this machine does not have, measured and removed by their agents.

Between both the operator is asked, for as long as that takes: each connects the nodes for itself.
"""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Mapping, Sequence

from milabench import plan as planning
from milabench.app.clean import Amount, question, read, removal
from milabench.app.multirun import asked
from milabench.app.options import Options
from milabench.app.phases import Operation, operation
from milabench.app.workspace import resolve_system
from milabench.console import Console
from milabench.errors import PreflightError


async def amounts_on_nodes(options: Options, console: Console, kinds: Sequence[str]) -> dict[str, list[Amount]]:
    """Return what is there on nodes with a base that this machine does not have, by the first node that has it.

    Raises Unreachable for nodes that cannot be used.
    """
    async with operation(options, console) as work:
        (system, *_) = await work.systems(asked(options), absent="leave")
        own = [node.name for node in planning.apart(system)]
        with work.interrupt.losing_nothing():
            told = await work.fleet.ask(dict.fromkeys(own, question(options.base, kinds)), "sizes")
    return {name: found for name, reply in told.items() if (found := read(reply))}


async def clean_nodes(
    options: Options, console: Console, found: Mapping[str, Sequence[Amount]]
) -> dict[str, str | None]:
    """Remove what was found on nodes; return of each why nothing, or not all, was removed, None where all was."""
    system = resolve_system(options, {"hostname": platform.node()})
    async with operation(options, console) as work:
        with work.interrupt.losing_nothing():
            await work.fleet.connect(system, [node for node in system.nodes if node.name in found])
            ends = await asyncio.gather(*(_removed(work, name, each) for name, each in found.items()))
    return dict(zip(found, ends, strict=True))


async def _removed(work: Operation, name: str, found: Sequence[Amount]) -> str | None:
    try:
        reply = await work.hosts[name].request("remove", **removal(work.options.base, found, elsewhere=True))
    except PreflightError as error:
        return str(error).removeprefix("remove failed: ")
    return None if reply["kept"] is None else str(reply["kept"])
