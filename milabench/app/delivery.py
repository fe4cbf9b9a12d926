"""The data of a bundle on nodes that have a base of their own: sent there before they prepare, as far as it lacks."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from milabench import bundle
from milabench import plan as planning
from milabench.bundle import Packed
from milabench.console import Console
from milabench.errors import HostLost, PreflightError
from milabench.execute import Interrupt
from milabench.execute.hosts import Host
from milabench.execute.travel import Travel
from milabench.plan import Once, Plan, Workspace

AT_ONCE: Final = 32  # nodes: they share this machine's disk and network
_LOOK_S: Final = 0.2  # for the wish to stop
_LOCK_POLL_S: Final = 0.5
_TARGET: Final = "delivery"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """Files below a base of this machine that the same base of other nodes is to have; ``total`` in bytes.

    ``record`` says there that it has them: not while they are on their way, nor when others came since.
    """

    base: Path
    names: Sequence[str]
    total: int
    record: Once
    console: Console
    interrupt: Interrupt

    async def to(self, hosts: Mapping[str, Host]) -> dict[str, str]:
        """Send it to nodes, at the same time, and return why it did not come, by node; an interrupt ends it."""
        few, why = asyncio.Semaphore(AT_ONCE), dict[str, str]()

        async def one(name: str, host: Host) -> None:
            async with few:
                try:
                    await self._send(name, host, travel)
                except PreflightError as error:
                    why[name] = str(error)

        async with Travel("data of the bundle", self.console.note, always=True) as travel:
            tasks = [asyncio.ensure_future(one(name, host)) for name, host in hosts.items()]
            try:
                await self._ended(tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)
        for task in tasks:
            with suppress(asyncio.CancelledError):
                task.result()
        return why

    async def _ended(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        left = set(tasks)
        while left and not self.interrupt.asked:
            _, left = await asyncio.wait(left, timeout=_LOOK_S)

    async def _send(self, name: str, host: Host, travel: Travel) -> None:
        """Send it to one node; what is lost with the agent is sent once more, and what has come by then is not."""
        try:
            await self._recorded(name, host, travel)
        except HostLost as error:
            self.console.note(f"data for node {name} was cut off and goes on: {error}")
            await self._recorded(name, host, travel)

    async def _recorded(self, name: str, host: Host, travel: Travel) -> None:
        once, waits = asdict(self.record), False
        while (await host.request("begin", target=_TARGET, once=once))["state"] == "locked":
            if not waits:
                self.console.note(f"data for node {name} waits: another milabench sends something to the same base")
            waits = True
            await asyncio.sleep(_LOCK_POLL_S)
        try:
            with travel.to(name, self.total) as so_far:
                await host.send(self.base, str(self.base), self.names, so_far.told)
        except PreflightError as error:
            if not isinstance(error, HostLost):
                await host.request("end", target=_TARGET, done=False)
            raise
        await host.request("end", target=_TARGET, done=True)


async def deliver(
    ready: Workspace, plan: Plan, hosts: Mapping[str, Host], console: Console, interrupt: Interrupt
) -> dict[str, str]:
    """Have the data of a bundle on each base that a plan prepares and that is not this machine's.

    Return why it is not there, by the benchmarks that are to be prepared there. Raises PreflightError where the bundle
    cannot be read.
    """
    if ready.site.bundle is None:
        return {}
    asked = {trial.benchmark: {command.node for command in trial.commands} for trial in plan.trials}
    nodes = [node.name for node in planning.apart(ready.system) if any(node.name in each for each in asked.values())]
    files = _there(ready, ready.site.bundle, console) if nodes else []
    if not files:
        return {}
    delivery = Delivery(
        base=Path(ready.site.base),
        names=[each.name for each in files],
        total=sum(each.size for each in files),
        record=planning.delivered(ready.site),
        console=console,
        interrupt=interrupt,
    )
    failed = await delivery.to({name: hosts[name] for name in nodes})
    return {
        benchmark: "; ".join(f"the data of the bundle did not come to node {name}: {why}" for name, why in found)
        for benchmark, there in asked.items()
        if (found := [(name, why) for name, why in failed.items() if name in there])
    }


def _there(ready: Workspace, folder: str, console: Console) -> list[Packed]:
    """Return the files of a bundle's data; what has been removed from this machine's base since is told."""
    asked = bundle.data_of(Path(folder), {each.group for each in ready.suite.benchmarks})
    found = [each for each in asked if os.path.lexists(Path(ready.site.base) / each.name)]
    there = {each.name for each in found}
    if absent := [each.name for each in asked if each.name not in there]:
        many = f"{len(absent)} files of the bundle's data are" if len(absent) > 1 else "a file of the bundle's data is"
        again = f"to have it back, remove {folder} and give the bundle's file again"
        gone = f"{many} not in {ready.site.base} any more ({absent[0]}): nodes do without"
        console.note(f"warning: {gone}; {again}")
    return found
