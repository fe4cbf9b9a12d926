"""Plan → processes on hosts → a run directory."""

from milabench.execute.happenings import CommandEnded, CommandStarted, Happening, TrialEnded, TrialStarted, Waiting
from milabench.execute.interrupt import Interrupt
from milabench.execute.places import any_side_by_side
from milabench.execute.scheduler import execute
from milabench.execute.setting import Setting

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
