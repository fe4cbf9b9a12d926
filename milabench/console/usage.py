"""From what an agent says of processes and devices to what each process takes of them now."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from milabench.console.words import Usage
from milabench.errors import PreflightError
from milabench.plan.types import Command

EVERY_S = 5.0  # looking at the processes of a node costs it more than a frame does
Ask = Callable[[Collection[str]], Awaitable[Mapping[str, Any]]]  # the agents of some nodes


class Meter:
    """Turn answers into what each process takes; cores are those of the time between two of them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._cpu_s: dict[str, float] = {}
        self._answered = 0.0
        self.known: dict[str, Usage] = {}

    async def read(self, ask: Ask, commands: Sequence[Command]) -> None:
        """Ask the agents of the nodes that processes run on; where nobody answers, nothing is known."""
        try:
            answer = await ask(sorted({command.node for command in commands}))
        except PreflightError:
            answer = {}
        self.take(answer.get("processes", {}), answer.get("devices", []), commands)

    def take(
        self,
        processes: Mapping[str, Mapping[str, float]],
        devices: Sequence[Mapping[str, Any]],
        commands: Iterable[Command],
    ) -> None:
        """Take what processes (by tag) and devices are said to do now."""
        now = self._clock()
        passed_s, self._answered = now - self._answered, now
        before, self._cpu_s = self._cpu_s, {tag: each["cpu_s"] for tag, each in processes.items()}
        self.known = {}
        for command in commands:
            own = processes.get(command.tag)
            cores = None
            if own is not None and command.tag in before and passed_s > 0:
                cores = max(own["cpu_s"] - before[command.tag], 0.0) / passed_s
            load, held = _of_devices(_own(command, devices))
            resident = None if own is None else int(own["rss_bytes"])
            self.known[command.tag] = Usage(rss_bytes=resident, cores=cores, load=load, device_bytes=held)


def _own(command: Command, devices: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return those of the devices that a process was given; a whole GPU that is divided has no number of the plan."""
    there = (each for each in devices if each.get("node", command.node) == command.node)
    return [each for each in there if each.get("id") in command.devices]


def _of_devices(found: Sequence[Mapping[str, Any]]) -> tuple[float | None, int | None]:
    """Return the mean load of devices and the memory held on all of them; None where that is not known."""
    loads = [each["load"] for each in found if "load" in each]
    held = [each["memory_bytes"] for each in found if "memory_bytes" in each]
    return sum(loads) / len(loads) if loads else None, sum(held) if held else None
