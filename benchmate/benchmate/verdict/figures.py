"""Figures as people read them, the same in reasons and in tables: ``29 %``."""

from __future__ import annotations

from benchmate.statistics import QUANTILES, Estimate, needed


def percent(share: float | None, form: str = ".0f") -> str:
    """Return a share of 1 as a percentage, its number in the given form: ``29 %``, ``+1.3 %`` by ``+.1f``."""
    return "–" if share is None else f"{100 * share:{form}} %"


def rounded(share: float) -> str:
    """Return a share, 0 or more, as a percentage of at most two significant digits: ``0.41 %``, ``12 %``."""
    if share >= 0.0995 or share == 0:
        return percent(share)
    if share < 0.00005:
        return "<0.01 %"
    return percent(share, ".1f" if share >= 0.00995 else ".2g")


def interval(found: Estimate) -> str:
    """Return half the 95 % interval as a share of the value, to be put behind it; nothing where there is none."""
    error = found.relative_error
    if error is None:
        return ""
    return " (interval too wide)" if error >= 1 else f" ±{rounded(error)}"


def too_few(n: int, quantile: str) -> str:
    """Return why a quantile of so many samples is not told: that takes more of them, or some more unlike each other."""
    least = needed(QUANTILES[quantile])
    if n < least:
        return f"{n} are too few for {quantile}: it takes {least}"
    return f"the {n} resemble each other too much for {quantile}: it takes {least} that do not"
