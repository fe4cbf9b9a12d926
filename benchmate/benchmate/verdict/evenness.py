"""Whether devices, or nodes, that did the same each on its own were equally fast."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from benchmate.statistics import Estimate
from benchmate.verdict.figures import percent

# Share of the median from which on one is told apart. Devices of one kind differ by some percent: silicon, cooling.
UNEVEN: Final = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Apart:
    """One that was slower or faster than the median: ``share`` of it by how much, below 0 where it was slower."""

    name: str
    rate: float
    share: float

    @property
    def told(self) -> str:
        """By how much, in words."""
        return f"{percent(abs(self.share))} {'slower' if self.share < 0 else 'faster'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evenness:
    """How equal ``of`` rates are: those ``apart`` from their ``median``, the slowest first."""

    of: int = 0
    median: float | None = None
    apart: tuple[Apart, ...] = ()


def evenness(rates: Mapping[str, Estimate]) -> Evenness:
    """Return which rates are more than ``UNEVEN`` off their median, with an interval that does not meet its own.

    Those without an interval are not judged. Of an even number the median is the upper one of the two in the middle:
    a rate that was measured, and of two the faster, beside which the other is slow.
    """
    known = sorted((each.value, name) for name, each in rates.items() if each.value and each.low is not None)
    if len(known) < 2:
        return Evenness(of=len(known))
    median, name = known[len(known) // 2]
    apart = (Apart(name=each, rate=rate, share=rate / median - 1) for rate, each in known)
    return Evenness(
        of=len(known),
        median=median,
        apart=tuple(each for each in apart if abs(each.share) > UNEVEN and not _meet(rates[each.name], rates[name])),
    )


def _meet(one: Estimate, other: Estimate) -> bool:
    """Say whether two intervals have anything in common; one that is not known may have."""
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return True
    return one.low <= other.high and other.low <= one.high
