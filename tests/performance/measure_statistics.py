"""How far the statistics can be trusted: on simulated series, whose truth is known, how often each answer is right.

    python tests/performance/measure_statistics.py --seed 1 --series 1000 --steps 2000

Prints the tables of docs/explanation/numbers.md. Each row says how often: of so many series, with its goal. Beside the
intervals stands the naive one, which takes the steps for independent of each other.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence

from benchmate.statistics import Estimate, estimate, mean, next_look, of_repeats, precise, std, throughput
from benchmate.verdict import percent, ratio, steadiness
from simulated import KINDS, SPREAD, STARTS, Kind

REPEATS = range(1, 9)
CHANGE = 0.03
PRECISIONS = (0.02, 0.01)
UNTIL = 3  # times the steps of a series: where a measurement ends that is not precise by then
SHORTER = (60, 200)
WIDER = 10  # times the spread, for stops that the interval decides
Series = dict[str, list[list[float]]]


def main() -> None:
    asked = _options()
    chance = random.Random(asked.seed)
    print(f"seed {asked.seed}: {asked.series} series of {asked.steps} steps of each kind, spread {percent(SPREAD)}\n")
    series = _made(chance, asked.series, asked.steps)
    for steps in (asked.steps, *SHORTER):
        _print_coverage(series, steps)
    for steps in (asked.steps, *SHORTER):
        _print_steadiness(series if steps == asked.steps else _made(chance, asked.series, steps), steps)
    _print_starts(chance, asked)
    _print_comparisons(chance, series)
    _print_repeats(chance, series)
    _print_stops(chance, asked)
    _print_uneven(chance, asked.series)
    print(f"took {time.process_time():.0f} s of CPU", file=sys.stderr)


def _made(chance: random.Random, many: int, steps: int) -> Series:
    return {name: [kind.make(chance, steps) for _ in range(many)] for name, kind in KINDS.items()}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--series", type=int, default=1000, help="of each kind")
    parser.add_argument("--steps", type=int, default=2000, help="of a series")
    return parser.parse_args()


# --- intervals -----------------------------------------------------------------------------------------------------


def _print_coverage(series: Series, steps: int) -> None:
    """Print how often intervals of the first ``steps`` of each series hold the truth."""
    rows = {}
    for name, kind in KINDS.items():
        if kind.truth:
            rows[name] = [_covered(kind, series[name], steps, what) for what in INTERVALS]
    goal = "; goal: p50 at AR(1) 0.9 90 %" if steps > max(SHORTER) else ""
    _table(f"95 % intervals that hold the truth, {steps} steps{goal}", tuple(INTERVALS), rows)


def _covered(kind: Kind, made: Sequence[list[float]], steps: int, what: str) -> str:
    """Return the share of intervals that hold the truth and, where not each series has one, how many have."""
    statistic, interval = INTERVALS[what]
    if statistic not in kind.truth:
        return "—"
    found = [bounds for samples in made if (bounds := interval(samples[:steps])) is not None]
    if not found:
        return "too few"
    truth = kind.truth[statistic]
    covered = _share(sum(low <= truth <= high for low, high in found) / len(found))
    answered = f"{100 * len(found) / len(made):.0f} %"
    return covered if answered == "100 %" else f"{covered} of {answered}"


Bounds = tuple[float, float] | None


def _bounds(found: Estimate) -> Bounds:
    return None if found.low is None or found.high is None else (found.low, found.high)


def _naive_mean(samples: Sequence[float]) -> Bounds:
    half = 1.96 * std(samples, ddof=1) / math.sqrt(len(samples))
    return mean(samples) - half, mean(samples) + half


def _naive_p50(samples: Sequence[float]) -> Bounds:
    """Return the order statistics around the median between which that of independent samples lies, 95 %."""
    ordered, n = sorted(samples), len(samples)
    reach = 1.96 * math.sqrt(n) / 2
    return ordered[max(0, math.floor(n / 2 - reach))], ordered[min(n - 1, math.ceil(n / 2 + reach))]


def _rate(samples: Sequence[float]) -> Estimate:
    return throughput([1.0] * len(samples), [1e9 * sample for sample in samples])


INTERVALS: dict[str, tuple[str, Callable[[Sequence[float]], Bounds]]] = {
    "p50": ("p50", lambda samples: _bounds(estimate(samples, "p50"))),
    "p50 naive": ("p50", _naive_p50),
    "mean": ("mean", lambda samples: _bounds(estimate(samples, "mean"))),
    "mean naive": ("mean", _naive_mean),
    "throughput": ("throughput", lambda samples: _bounds(_rate(samples))),
    "p90": ("p90", lambda samples: _bounds(estimate(samples, "p90"))),
    "p99": ("p99", lambda samples: _bounds(estimate(samples, "p99"))),
}


# --- steadiness ----------------------------------------------------------------------------------------------------


def _print_steadiness(series: Series, steps: int) -> None:
    rows = {}
    for name in KINDS:
        found = [steadiness(samples) for samples in series[name]]
        counts = Counter(one.kind for one in found)
        counts["warm-up"] = sum(one.warmup > 0 for one in found)
        rows[name] = [_share(counts[what] / len(found)) for what in ("steady", "drifting", "bimodal", "warm-up")]
    goal = "; goal: drift and bimodal 95 %, steady kinds at most 5 % either" if steps > max(SHORTER) else ""
    _table(f"what series are called, {steps} steps{goal}", ("steady", "drifting", "bimodal", "a warm-up found"), rows)


def _print_starts(chance: random.Random, asked: argparse.Namespace) -> None:
    """Print how often a start that is not steady is told, and how long it is said to be (the middle 80 %)."""
    rows: dict[str, list[str]] = {}
    for name, make in STARTS.items():
        rows[name] = []
        for steps in (*SHORTER, asked.steps):
            found = [steadiness(make(chance, steps)) for _ in range(asked.series // 4)]
            lengths = sorted(one.warmup for one in found)
            told = sum(one.kind == "steady" and one.warmup > 0 for one in found) / len(found)
            rows[name] += [_share(told), f"{lengths[len(found) // 10]}–{lengths[-1 - len(found) // 10]}"]
    headers = [what for steps in (*SHORTER, asked.steps) for what in (f"{steps} steps: told", "its length")]
    _table(f"series with a warm-up that are called steady after it, {asked.series // 4} of each", headers, rows)


# --- comparisons ---------------------------------------------------------------------------------------------------


def _print_comparisons(chance: random.Random, series: Series) -> None:
    """Compare repeats, drawn from the series without putting back, with a spread between processes and without."""
    headers = [f"{repeats}" for repeats in REPEATS]
    alarms, found, same = {}, {}, {}
    for name, kind in KINDS.items():
        if not kind.steady:
            continue
        rates = [1 / mean(samples) for samples in series[name]]
        for spread in (0.0, SPREAD):
            row = f"{name}, {percent(spread)} between processes"
            alike = [_verdicts(chance, rates, repeats, spread, 1.0) for repeats in REPEATS]
            alarms[row] = [_share(_part(counts, "better", "worse")) for counts in alike]
            same[row] = [_share(_part(counts, "same")) for counts in alike]
        changed = [_verdicts(chance, rates, repeats, SPREAD, 1 - CHANGE) for repeats in REPEATS]
        found[f"{name}, {percent(SPREAD)} between processes"] = [_share(_part(counts, "worse")) for counts in changed]
    _table("A/A comparisons that alarm, by repeats a side; goal: at most 5 %", headers, alarms)
    _table("A/A comparisons called the same, by repeats a side", headers, same)
    _table(f"a change of −{percent(CHANGE)} found, by repeats a side; goal: 80 % with at most 8", headers, found)


def _verdicts(chance: random.Random, rates: list[float], repeats: int, spread: float, factor: float) -> Counter[str]:
    counts: Counter[str] = Counter()
    for _ in range(len(rates)):
        drawn = [rate * math.exp(chance.gauss(0, spread)) for rate in chance.sample(rates, 2 * repeats)]
        counts[ratio(drawn[:repeats], [factor * rate for rate in drawn[repeats:]]).verdict] += 1
    return counts


def _part(counts: Counter[str], *verdicts: str) -> float:
    return sum(counts[verdict] for verdict in verdicts) / counts.total()


def _print_repeats(chance: random.Random, series: Series) -> None:
    """Print how often intervals of several processes hold the truth, when processes differ by the spread of steps."""
    rows: dict[str, list[str]] = {"by the spread between them": [], "as if one process had made all": []}
    short = [samples[: max(SHORTER)] for samples in series["AR(1) 0.5"]]
    for repeats in REPEATS:
        covered, pooled = 0, 0
        for _ in range(len(short)):
            levels = _levels(chance, repeats, SPREAD)
            drawn = [[level * x for x in one] for level, one in zip(levels, chance.sample(short, repeats), strict=True)]
            covered += _holds(of_repeats([estimate(one) for one in drawn]), 1.0)
            pooled += _holds(estimate([x for one in drawn for x in one]), 1.0)
        rows["by the spread between them"].append(_share(covered / len(short)))
        rows["as if one process had made all"].append(_share(pooled / len(short)))
    title = f"intervals of the mean that hold the truth, by repeats; AR(1) 0.5, {percent(SPREAD)} between processes"
    _table(title, [f"{repeats}" for repeats in REPEATS], rows)


def _holds(found: Estimate, truth: float) -> bool:
    return found.low is not None and found.high is not None and found.low <= truth <= found.high


def _print_uneven(chance: random.Random, many: int) -> None:
    """Print how often equals alarm where one side has more repeats, and where it varies less, too."""
    rows: dict[str, list[str]] = {}
    for times in (1, 3):
        counts = []
        for repeats in REPEATS:
            before = [_levels(chance, max(REPEATS), SPREAD) for _ in range(many)]
            after = [_levels(chance, repeats, times * SPREAD) for _ in range(many)]
            counts.append(Counter(ratio(*sides).verdict for sides in zip(before, after, strict=True)))
        row = f"{max(REPEATS)} before, {percent(times * SPREAD)} between those after"
        rows[row] = [_share(_part(count, "better", "worse")) for count in counts]
    title = f"A/A comparisons that alarm, by repeats after; {percent(SPREAD)} between processes before"
    _table(title, [f"{repeats}" for repeats in REPEATS], rows)


def _levels(chance: random.Random, repeats: int, spread: float) -> list[float]:
    return [math.exp(chance.gauss(0, spread)) for _ in range(repeats)]


# --- stopping at a precision ---------------------------------------------------------------------------------------


def _print_stops(chance: random.Random, asked: argparse.Namespace) -> None:
    """Look as a measurement does that stops when its rate is precise; what is not by the end of the series is none."""
    rows, many, steps = {}, asked.series // 4, UNTIL * asked.steps
    for name, kind in KINDS.items():
        if not kind.steady:
            continue
        made = [kind.make(chance, steps) for _ in range(many)]
        for precision in PRECISIONS:
            rows[f"{name}, to ±{percent(precision)}"] = _stops(made, precision, kind.truth["throughput"])
        if name != "outliers":
            wider = [[1 + WIDER * (sample - 1) for sample in samples] for samples in made]
            rows[f"{name}, spread {percent(WIDER * SPREAD)}, to ±3 %"] = _stops(wider, 0.03, None)
    headers = ("stopped", "median steps", "range", "interval holds the truth", "value within the precision")
    _table(f"throughput measured until it is precise, {many} series of {steps} steps at most", headers, rows)


def _stops(made: Sequence[list[float]], precision: float, truth: float | None) -> list[str]:
    """Return the cells of a row; without a truth the mean step is what is stopped by, whose truth is 1."""
    measured = _rate if truth is not None else estimate
    stops = [stop for samples in made if (stop := _stop(samples, precision, measured)) is not None]
    if not stops:
        return ["0.0 %", *["—"] * 4]
    truth, many = truth or 1.0, len(stops)
    steps = sorted(found.n for found in stops)
    covered = sum(_holds(found, truth) for found in stops) / many
    near = sum(abs((found.value or 0) / truth - 1) <= precision for found in stops) / many
    spanned = f"{steps[0]}–{steps[-1]}"
    return [_share(many / len(made)), str(steps[many // 2]), spanned, _share(covered), _share(near)]


def _stop(
    samples: Sequence[float], precision: float, measured: Callable[[Sequence[float]], Estimate]
) -> Estimate | None:
    looked = next_look(0)
    while looked <= len(samples):
        found = measured(samples[:looked])
        if precise(found, precision):
            return found
        looked = next_look(looked)
    return None


# --- tables --------------------------------------------------------------------------------------------------------


def _share(share: float) -> str:
    return f"{100 * share:.1f} %"


def _table(title: str, headers: Sequence[str], rows: dict[str, list[str]]) -> None:
    """Print a table as Markdown, so that the page shows what was printed."""
    lines = [["", *headers], *([name, *cells] for name, cells in rows.items())]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headers) + 1)]
    print(f"{title}:\n")
    for index, line in enumerate(lines):
        first, *others = (cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        print("| " + " | ".join([first.strip().ljust(widths[0]), *others]) + " |")
        if index == 0:
            print("|" + "|".join(["-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:])]) + "|")
    print(flush=True)


main()
