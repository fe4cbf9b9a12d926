"""What became of a benchmark in A and in B, its failures and its ratio → one verdict with its reason."""

from __future__ import annotations

from typing import Final

from benchmate.verdict import Ratio, Rule
from milabench.compare.alarms import Needs
from milabench.compare.failures import Failing
from milabench.compare.noise import withheld
from milabench.compare.sides import State
from milabench.compare.types import Side, Verdict

# Where there are too few to tell.
_ADVICE: Final = {"repeats": "run both with --repeat 5", "runs": "pool 5 a side, of one repeat each, made in turns"}


def without_ratio(before: tuple[State, str], after: tuple[State, str]) -> tuple[Verdict, str]:
    """Return the verdict of a benchmark that was not measured on both sides."""
    (first, why_first), (second, why_second) = before, after
    for side, (state, why) in (("A", before), ("B", after)):
        if state == "cut off":
            return "not comparable", f"cut off in {side} ({why})"
    if first == "measured":
        return "worse", f"{second} in B ({why_second})"
    if second == "measured":
        return "better", f"{first} in A ({why_first})"
    if first == second:
        why = why_first if why_first == why_second else f"A: {why_first}; B: {why_second}"
        return "not comparable", f"{first} in both ({why})"
    return "not comparable", f"{first} in A ({why_first}), {second} in B ({why_second})"


def with_ratio(found: tuple[Verdict, str], before: Side, after: Side, failures: Failing | None) -> tuple[Verdict, str]:
    """Return the verdict of a benchmark that has one by its ratio: worse where it fails more often, whatever it is."""
    verdict, reason = found
    if (doubt := withheld(verdict, before, after)) is not None:
        verdict, reason = "undecided", doubt
    if not (before.failed or after.failed):
        return verdict, reason
    told = f"{before.failed} of {before.processes} processes failed in A, {after.failed} of {after.processes} in B"
    if failures == "worse" or (failures == "better" and verdict != "worse"):
        return failures, told
    if failures == "undecided" and verdict in ("same", "better"):
        return "undecided", f"{told}, as chance may have it: more repeats would tell"
    return verdict, f"{reason}; {told}"


def by_ratio(ratio: Ratio, rule: Rule, needs: Needs) -> tuple[Verdict, str]:
    """Return the verdict of a ratio; its figures stand beside the reason."""
    match ratio.verdict:
        case "better" | "worse":
            what = "repeats" if max(ratio.runs) == 1 else "runs"
            return ratio.verdict, f"more than {what} differ by themselves"
        case "same":
            return "same", f"the interval lies within ±{100 * rule.same:g} %"
        case "undecided":
            return "undecided", _why_undecided(ratio, rule, needs)


def _why_undecided(ratio: Ratio, rule: Rule, needs: Needs) -> str:
    what, many = ("repeats", ratio.n) if max(ratio.runs) == 1 else ("runs", ratio.runs)
    if ratio.low is None or ratio.high is None:
        several = f"one {what[:-1]} a side" if many == (1, 1) else f"{many[0]} and {many[1]} {what}"
        return f"{several}: how much {what} differ is not known; {_ADVICE[what]}"
    if what == "runs" and max(many) == 2:
        return f"{many[0]} and {many[1]} runs: how much runs differ is hardly known; {_ADVICE[what]}"
    change = f"a change of {100 * needs.change:g} %"
    if needs.repeats is None:
        return f"{what} differ too much to show {change}"
    if needs.repeats > max(many):
        return f"the interval is too wide; {needs.repeats} {what} a side would show {change}"
    return f"no change beyond doubt, but the interval reaches over ±{100 * rule.same:g} %"
