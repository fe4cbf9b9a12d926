"""Hosts: a pipe to an agent on a node. One Protocol, the pipes there are, and a fake for tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from milabench.execute.travel import SoFar
from milabench.outcome import Cause, Exit
from milabench.plan.types import Command, Job, Phase
from milabench.rundir import Files

# How long a process gets between SIGTERM and SIGKILL, by why it is ended (s).
GRACE_S: Mapping[Cause, float] = MappingProxyType(
    {"interrupt": 5.0, "sibling": 5.0, "lost": 5.0, "deadline": 5.0, "silent": 5.0, "limit": 2.0}
)
MONITOR_S = 10.0  # so long a node's first process waits for the first sample, and the last word for the last


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """A command with all that is only known when it starts: its files, its configuration, secrets.

    ``group`` are the files that the metrics of its ranks stand beside: its own, or those of the command that leads
    their group; None where it has no metrics. ``limited_by`` is what sets the deadline, as its user knows it. ``full``
    is called when it says, as the leader of a group, that enough is measured; it waits to be ended then.
    """

    phase: Phase
    job: Job
    command: Command
    files: Files
    env: Mapping[str, str]
    first_seq: int
    deadline_s: float | None
    group: Files | None = None
    limited_by: str = "max_duration"
    full: Callable[[], object] = lambda: None


class Process(Protocol):
    """One started process."""

    async def stop(self, cause: Cause, grace_s: float | None = None, why: str | None = None) -> None:
        """End it: SIGTERM, and SIGKILL after a grace, that of the cause where none is given.

        ``why`` is what its log says of that, where there is more to say than the cause.
        """

    async def gone(self) -> Exit:
        """Return how it ended, as soon as its whole tree is gone; what it wrote may be on its way."""

    async def wait(self) -> Exit:
        """Return how it ended, when all that it wrote is in the run as well."""


class Host(Protocol):
    """A node's agent. ``request`` returns the reply; raises HostLost when the agent is gone, PreflightError on a no."""

    async def start(self, launch: Launch) -> Process: ...

    async def request(self, op: str, **fields: Any) -> dict[str, Any]: ...

    async def stage(self, staged: Sequence[Mapping[str, Any]], so_far: SoFar | None = None) -> None:
        """Have folders and files (``source``, ``target``, ``fresh``) be there, as far as it lacks them.

        ``so_far`` is kept up with what of it another machine is known to have.
        """

    async def send(self, source: Path, target: str, names: Sequence[str], told: Callable[[int, int], object]) -> None:
        """Make a folder there hold some files of one here, as they are: what it lacks of them is sent.

        ``told`` gets the bytes that are known to be there, and how many of those were sent, as it goes on.
        """

    @property
    def remote(self) -> bool:
        """Whether the node is another machine, so that files have to travel."""

    async def hello(self) -> Mapping[str, Any]:
        """Return what the agent said of itself: as in ``docs/reference/formats.md``, ``hello``."""

    def give_up(self) -> None:
        """Connect the node no more once it is lost, and break off where that is being done: nobody waits for it."""

    async def close(self) -> None: ...
