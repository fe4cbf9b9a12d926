"""What noise forbids to say: a side that was measured under it alone is no slower for that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from benchmate.verdict import Noise, pooled
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
    """Return what more than half of the processes that measured something say; how many have each reason for noise.

    Unknown where neither noisy nor quiet ones are that many.
    """
    found = [process.surroundings.noise for process in processes if len(process.series)]
    if 2 * sum(each.verdict == "noisy" for each in found) > len(found):
        return pooled(found)
    quiet = sum(each.verdict == "quiet" for each in found)
    return Noise(verdict="quiet") if 2 * quiet > len(found) else _UNKNOWN
