"""What noise forbids to say: a side that was measured under it alone is no slower for that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from benchmate.verdict import Noise
from milabench.compare.types import Side, Verdict
from milabench.summary import ProcessSummary

_UNKNOWN: Final = Noise(verdict="unknown")


def withheld(verdict: Verdict, before: Side, after: Side) -> str | None:
    """Return why noise forbids to call B better or worse; None where it does not.

    Noise makes slower: it speaks against a verdict where the side that looks slower had it and the other, as far as
    is known, had not.
    """
    if verdict not in ("better", "worse"):
        return None
    name, slower, other = ("B", after, before) if verdict == "worse" else ("A", before, after)
    if slower.noise.verdict != "noisy" or other.noise.verdict == "noisy":
        return None
    of_other = " when the other was not" if other.noise.verdict == "quiet" else "; of the other it is not known"
    return f"slower in {name}, which was measured under noise{of_other}"


def of_processes(processes: Sequence[ProcessSummary]) -> Noise:
    """Return what more than half of the processes that measured something say, with how many are noisy where they are.

    Unknown where neither noisy nor quiet ones are that many.
    """
    found = [process.surroundings.noise for process in processes if len(process.series)]
    noisy = [each for each in found if each.verdict == "noisy"]
    if 2 * len(noisy) > len(found):
        several = f"{len(noisy)} of {len(found)} processes: " if len(found) > 1 else ""
        return Noise(verdict="noisy", reasons=tuple(f"{several}{reason}" for reason in noisy[0].reasons))
    quiet = sum(each.verdict == "quiet" for each in found)
    return Noise(verdict="quiet") if 2 * quiet > len(found) else _UNKNOWN
