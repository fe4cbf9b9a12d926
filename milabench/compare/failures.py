"""Whether a benchmark fails more often in B than in A: what broke for good, and what chance may do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, Literal

from milabench.compare.repeats import broken
from milabench.outcome import GOOD, UNDECIDED
from milabench.summary import ProcessSummary

Failing = Literal["worse", "better", "undecided"]

# By Fisher's exact test (one side). Of counts as small as those of repeats that is rarer than it says: what fails once
# in twenty times does so in 4 or 5 of 5 repeats of one run and in none of the other's in 5 of 100,000 comparisons.
_CHANCE: Final = 0.025
_FOR_GOOD: Final = 2  # times that a place has to fail, and never to go well, to be called broken
_OFTEN: Final = 2.0  # how many times as often as in A: what is less and may be chance is passed over


def failing(before: Sequence[ProcessSummary], after: Sequence[ProcessSummary]) -> Failing | None:
    """Return worse where B fails more often than chance has it, better where A does; undecided where B only seems to.

    A place (a device, a copy) that failed each time, and twice or more, where the other run had no failure is broken.
    Else repeats in which anything failed are counted, since what fails at the same time may have one cause; without
    the places that never went well in either run.
    """
    one, other = _started(before), _started(after)
    for_good = [_broken_places(each) for each in (one, other)]
    if for_good[1] & _sound_places(one):
        return "worse"
    lost = _never_well(one) & _never_well(other)
    first, second = (_failed_repeats([each for each in side if each.place not in lost]) for side in (one, other))
    if chance(first, second) <= _CHANCE:
        return "worse"
    if for_good[0] & _sound_places(other) or chance(second, first) <= _CHANCE:
        return "better"
    return "undecided" if second[0] and _share(second) >= _OFTEN * _share(first) else None


def chance(first: tuple[int, int], second: tuple[int, int]) -> float:
    """Return how often the second would have as many failures or more, if both failed equally often.

    Each is how many failed of how many. By Fisher's exact test, one-sided: a hypergeometric distribution's tail.
    """
    failed, of_all = first[0] + second[0], first[1] + second[1]
    most = min(failed, second[1])
    ways = sum(math.comb(second[1], k) * math.comb(first[1], failed - k) for k in range(second[0], most + 1))
    return ways / math.comb(of_all, failed)


def _started(processes: Sequence[ProcessSummary]) -> list[ProcessSummary]:
    """Return what ended well or failed; what was skipped or cut off says nothing of that."""
    return [each for each in processes if each.outcome not in UNDECIDED | {"skipped"}]


def _broken_places(processes: Sequence[ProcessSummary]) -> set[str]:
    failures = [each.place for each in broken(processes)]
    return {place for place in _never_well(processes) if failures.count(place) >= _FOR_GOOD}


def _sound_places(processes: Sequence[ProcessSummary]) -> set[str]:
    return {each.place for each in processes} - {each.place for each in broken(processes)}


def _never_well(processes: Sequence[ProcessSummary]) -> set[str]:
    return {each.place for each in processes} - {each.place for each in processes if each.outcome in GOOD}


def _failed_repeats(processes: Sequence[ProcessSummary]) -> tuple[int, int]:
    """Return in how many repeats anything failed, and how many there are."""
    return len({each.repeat for each in broken(processes)}), len({each.repeat for each in processes})


def _share(counts: tuple[int, int]) -> float:
    return counts[0] / max(counts[1], 1)
