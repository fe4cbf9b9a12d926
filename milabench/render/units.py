"""Numbers as people read them: SI prefixes, GiB, shares, ranges of devices, durations."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, Final

from benchmate import verdict
from milabench.amounts import GIB
from milabench.summary import BenchmarkSummary, Failure, Memory
from milabench.summary.areas import nodes

DASH: Final = "–"
_PREFIXES: Final = ("n", "µ", "m", "", "k", "M", "G", "T", "P", "E")
_ONE: Final = _PREFIXES.index("")
_SHORTEST: Final = 2  # letters of a name that is no plural: ms
# How English plurals end, and how what there is many of does; the first that fits counts.
_ENDS: Final = (
    *(("movies", "movie"), ("caches", "cache"), ("series", "series"), ("ies", "y")),
    *(("ches", "ch"), ("shes", "sh"), ("sses", "ss"), ("xes", "x")),
    *(("ss", "ss"), ("us", "us"), ("is", "is"), ("s", "")),
)
_SYMBOLS: Final = frozenset({"FLOP", "OP", "B", "b", "bit", "Hz", "W", "J"})  # units that take a prefix themselves


def scaled(value: float, digits: int = 4) -> tuple[str, str]:
    """Return a number of so many significant digits and its SI prefix: 187 654 321 → ``187.7``, ``M``."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}", ""
    rounded = float(f"{value:.{digits - 1}e}")
    index = min(max(_ONE + math.floor(math.log10(abs(rounded)) / 3 + 1e-12), 0), len(_PREFIXES) - 1)
    return _significant(rounded / 10 ** (3 * (index - _ONE)), digits), _PREFIXES[index]


def _significant(value: float, digits: int) -> str:
    before = math.floor(math.log10(abs(value)) + 1e-12) + 1
    return f"{value:.{max(digits - before, 0)}f}"


def rate(value: float | None, unit: str) -> str:
    """Return a rate with its unit: ``188.2 GFLOP/s``, ``1 204 items/s``, ``1.204 M items/s``."""
    if value is None:
        return DASH
    base = unit.split("/", 1)[0]
    if base in _SYMBOLS:
        number, prefix = scaled(value)
        return f"{number} {prefix}{unit}"
    return f"{plain(value)} {unit}".rstrip()


def symbol(value: float | None, unit: str) -> str:
    """Return a number with a unit that takes a prefix: ``12.3 mJ``."""
    if value is None:
        return DASH
    number, prefix = scaled(value, 3)
    return f"{number} {prefix}{unit}"


def seconds(value: float | None) -> str:
    """Return a short time: ``850 ns``, ``12.3 ms``, ``4.20 s``."""
    return symbol(value, "s")


def one(word: str) -> str:
    """Return a word with its article."""
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"


def single(unit: str) -> str:
    """Return what a rate counts, one of it: ``images/s`` → ``image``, ``queries/s`` → ``query``."""
    base = unit.split("/", 1)[0]
    if not base.islower() or len(base) <= _SHORTEST:
        return base or "unit"
    return next((base[: -len(end)] + one for end, one in _ENDS if base.endswith(end)), base)


def plain(value: float | None) -> str:
    """Return a number without unit: as it is between 0.01 and a million (``1 204``, ``85.31``), else with a prefix."""
    if value is None:
        return DASH
    if value == 0:
        return "0"
    if 0.01 <= abs(value) < 999_950:
        digits = f"{value:,.0f}" if abs(value) >= 9_999.5 else _significant(float(f"{value:.3e}"), 4)
        return digits.replace(",", " ")
    return " ".join(scaled(value))


def share(value: float | None) -> str:
    """Return a share as a percentage of two significant digits: ``0.41 %``, ``12 %``."""
    return DASH if value is None else verdict.rounded(value)


def gib(memory: Memory | None) -> str:
    """Return a peak in GiB, with ``host`` where it is the process's own memory and not a device's."""
    if memory is None:
        return DASH
    size = memory.peak_bytes / GIB
    number = f"{size:.2f}" if size < 99.995 else f"{size:.0f}"
    return f"{number} host" if memory.source == "host" else number


def devices(found: Sequence[int | str]) -> str:
    """Return device ids in short: ``0-3,6``; of several nodes how many on how many: ``16/2 nodes``; of none nothing."""
    named = [device for device in found if isinstance(device, str)]
    if named:
        return f"{len(found)}/{len({device.rpartition(':')[0] for device in named})} nodes"
    return ",".join(_ranges(sorted(device for device in found if isinstance(device, int))))


def _ranges(ids: Iterable[int]) -> Iterable[str]:
    for _, group in groupby(enumerate(ids), key=lambda pair: pair[1] - pair[0]):
        run = [device for _, device in group]
        yield str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}"


def duration(seconds: float) -> str:
    """Return a time in its two largest units: ``42 s``, ``3 min 20 s``, ``2 h 05 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s" if seconds >= 9.95 else f"{seconds:.1f} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def reason(found: Failure, facts: Mapping[str, Any]) -> str:
    """Return why a process failed, with its node where its tag does not have it and the run is on several."""
    if found.node in (None, *found.tag.split(".")) or len(nodes(facts)) < 2:
        return found.reason
    return f"{found.reason} (on {found.node})".lstrip()


def spread(found: BenchmarkSummary) -> str:
    """Return the half-width of the rate's 95 % interval as a share, or why there is none that says something."""
    if found.perf is None:
        return DASH
    error = found.rate.relative_error
    if found.rate.verdict == "too few" and found.rate.low is None:
        return "too few"
    return "too wide" if error is not None and error >= 1 else f"±{share(error)}"


def deviation(found: BenchmarkSummary) -> str:
    """Return the standard deviation of the steps' rates as a share of their mean."""
    return share(found.std / found.perf) if found.std is not None and found.perf else DASH
