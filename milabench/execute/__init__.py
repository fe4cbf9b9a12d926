"""Plan → processes on hosts → a run directory."""

from milabench.execute.interrupt import Interrupt
from milabench.execute.scheduler import (
    CommandEnded,
    CommandStarted,
    Happening,
    Setting,
    TrialEnded,
    TrialStarted,
    Waiting,
    any_side_by_side,
    execute,
)

__all__ = [
    "CommandEnded",
    "CommandStarted",
    "Happening",
    "Interrupt",
    "Setting",
    "TrialEnded",
    "TrialStarted",
    "Waiting",
    "any_side_by_side",
    "execute",
]
