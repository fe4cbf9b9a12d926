"""Plan → processes on hosts → a run directory."""

from milabench.execute.happenings import (
    CommandEnded,
    CommandStarted,
    Happening,
    Travelling,
    TrialEnded,
    TrialStarted,
    Waiting,
)
from milabench.execute.interrupt import Interrupt
from milabench.execute.scheduler import execute
from milabench.execute.setting import Setting
from milabench.execute.uses import any_side_by_side

__all__ = [
    "CommandEnded",
    "CommandStarted",
    "Happening",
    "Interrupt",
    "Setting",
    "Travelling",
    "TrialEnded",
    "TrialStarted",
    "Waiting",
    "any_side_by_side",
    "execute",
]
