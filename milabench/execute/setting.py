"""What a plan is run with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from milabench.execute.hosts import Host
from milabench.execute.interrupt import Interrupt
from milabench.outcome import Exit, Outcome
from milabench.plan.types import Command, Trial
from milabench.rundir import Files


class Records(Protocol):
    """Where a phase keeps what its processes write and what came of them: a run directory, or a folder of logs."""

    def files(self, tag: str) -> Files: ...

    def started(self, trial: Trial) -> None: ...

    def begin(self, command: Command, config: Mapping[str, Any]) -> int: ...

    def seal(self, command: Command, ended: Exit) -> Outcome: ...

    def note(self, trial: Trial, outcome: Outcome, neighbours: Sequence[str] = ()) -> None: ...

    def log_tail(self, tag: str, lines: int) -> list[str]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a plan is executed with: hosts by node name, where results go, the values of secrets that jobs name.

    ``bases``: the node that folders are staged on for another, of nodes that have the same base.
    ``side_by_side``: trials that share no device may run at the same time.
    """

    hosts: Mapping[str, Host]
    records: Records
    interrupt: Interrupt
    secrets: Mapping[str, str] = field(default_factory=dict)
    bases: Mapping[str, str] = field(default_factory=dict)
    side_by_side: bool = False
