"""How far one process is, as its files say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from milabench.outcome import Outcome
from milabench.suite.types import Limit

Stage = Literal["waiting", "starting", "warm-up", "measuring", "stopping", "ended"]
STAGES: tuple[Stage, ...] = ("waiting", "starting", "warm-up", "measuring", "stopping", "ended")


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What a process has done so far; ``rate_now`` is of the last few seconds, ``rate`` of all that is measured.

    ``steps`` counts the warm-up too, as ``wanted`` does; rates in ``unit``, times in s (wall clock).
    What nothing says is None; ``events`` counts the lines that say something, ``bad_lines`` those that say nothing.
    """

    tag: str
    stage: Stage = "waiting"
    steps: int = 0
    measured: int = 0
    measured_s: float = 0.0
    limit: Limit | None = None
    rate_now: float | None = None
    rate: float | None = None
    unit: str = ""
    loss: float | None = None
    memory_peak_bytes: int | None = None
    pid: int | None = None
    started: float | None = None
    last_step: float | None = None
    ended: float | None = None
    outcome: Outcome | None = None
    events: int = 0
    bad_lines: int = 0

    @property
    def wanted(self) -> int | None:
        """Return the number of steps after which the process has measured enough; None where no number says."""
        limit = self.limit
        return None if limit is None or limit.observations is None else limit.skip + limit.observations

    @property
    def share(self) -> float | None:
        """Return how much of what is wanted is done, from 0 to 1: the limit that is nearer counts."""
        shares = [self.steps / self.wanted] if self.wanted else []
        if self.limit is not None and self.limit.seconds:
            shares.append(self.measured_s / self.limit.seconds)
        return min(max(shares), 1.0) if shares else None

    def seconds(self, now: float) -> float | None:
        """Return how long the process has run, or ran."""
        return None if self.started is None else max((self.ended or now) - self.started, 0.0)
