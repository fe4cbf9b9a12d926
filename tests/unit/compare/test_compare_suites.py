"""Whole suites in two runs: what is judged together, the score, what only one has, the verdict on all of it."""

from __future__ import annotations

import random

import pytest
from compare_samples import FIVE, NOISY, QUIET, benchmark, failed, of, process, summary

from milabench.compare import Absent, compare
from milabench.compare.alarms import confidence, judge, needed
from milabench.outcome import Outcome
from milabench.summary import Summary


def suite(*changes: float, name: str = "b") -> Summary:
    """Return benchmarks whose rates are changed by these factors."""
    return summary(
        *(benchmark(f"{name}{number}", [rate * change for rate in FIVE]) for number, change in enumerate(changes))
    )


def test_more_comparisons_take_more_to_alarm() -> None:
    alone, among = suite(0.975), suite(0.975, *[1.0] * 99)
    assert compare(suite(1.0), alone).benchmarks[0].verdict == "worse"
    assert compare(suite(*[1.0] * 100), among).benchmarks[0].verdict == "undecided"
    assert confidence(1) == confidence(5) == 0.99
    assert confidence(100) == pytest.approx(0.9995)


def test_a_clear_alarm_makes_the_next_one_easier() -> None:
    """By step down: 25 ratios take another confidence than the 5 that are left when 20 of them are alarms."""
    pairs = {f"clear{number}": ([FIVE], [[rate * 0.8 for rate in FIVE]]) for number in range(40)}
    fainter = [FIVE], [[rate * 0.98 for rate in FIVE]]
    assert judge({**pairs, "faint": fainter}).ratios["faint"].verdict == "worse"
    quiet = {f"quiet{number}": ([FIVE], [FIVE]) for number in range(40)}
    assert judge({**quiet, "faint": fainter}).ratios["faint"].verdict == "undecided"


def test_what_has_one_repeat_takes_no_part_in_what_is_judged_together() -> None:
    pairs = {f"one{number}": ([[1.0]], [[1.0]]) for number in range(99)}
    assert judge({**pairs, "five": ([FIVE], [FIVE])}).comparisons == 1


def test_as_many_repeats_as_are_said_to_be_needed_find_the_change_four_times_in_five() -> None:
    generator = random.Random(5)

    def rates(level: float, n: int) -> list[float]:
        return [generator.gauss(level, 1.0) for _ in range(n)]

    n = needed(([rates(100, 500)], [rates(100, 500)]), 54, 0.03)
    assert n is not None
    pairs = {f"same{number}": ([FIVE], [FIVE]) for number in range(53)}
    found = [judge({**pairs, "a": ([rates(100, n)], [rates(97, n)])}).ratios["a"].verdict for _ in range(100)]
    assert 0.7 < found.count("worse") / 100 < 0.97


@pytest.mark.parametrize(("runs", "repeats"), [(2, 5), (3, 5), (5, 1), (5, 3)])
def test_repeats_of_pooled_runs_that_differ_alarm_no_more_often_than_is_said(runs: int, repeats: int) -> None:
    generator = random.Random(3)

    def side() -> list[list[float]]:
        """Return runs that differ by 1 %, of repeats that differ by half of that."""
        levels = [generator.gauss(100, 1.0) for _ in range(runs)]
        return [[generator.gauss(level, 0.5) for _ in range(repeats)] for level in levels]

    found = [judge({"a": (side(), side())}).ratios["a"].verdict for _ in range(300)]
    assert sum(verdict in ("better", "worse") for verdict in found) < 0.03 * len(found)


def test_of_pooled_runs_it_is_told_how_many_of_them_would_show_more() -> None:
    """Runs that differ by 3 % take some, however many repeats each has, and however well these agree."""
    moved = [100.0, 103.0, 97.0, 101.5, 98.5]
    few, many = ([[rate] * repeats for rate in moved] for repeats in (1, 20))
    n = needed((few, few), 1, 0.03)
    assert n is not None and n > 10
    assert needed((many, many), 1, 0.03) == n


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        (suite(1, 1), suite(1, 1), "same"),
        (suite(1, 1), suite(1, 1.2), "better"),
        (suite(1, 1), suite(1.2, 0.8), "worse"),
        (suite(1, 1), suite(1.2, 0.985), "undecided"),
        (suite(1), summary(of("b0", failed("b0"))), "worse"),
        (summary(of("b0", failed("b0"))), summary(of("b0", failed("b0"))), "not comparable"),
        (suite(1), suite(1, name="c"), "not comparable"),
        (summary(), summary(), "not comparable"),
    ],
)
def test_the_whole_is_as_good_as_its_worst_part(before: Summary, after: Summary, verdict: str) -> None:
    assert compare(before, after).verdict == verdict


def test_what_only_one_run_has_changes_no_verdict_and_is_told() -> None:
    skipped = of("big", skipped="needs 2 nodes")
    found = compare(
        summary(benchmark("a", FIVE), benchmark("old", FIVE), skipped),
        summary(
            benchmark("a", FIVE),
            of("big", process("big", 1.0)),
            missing={"new": Outcome(kind="failed", reason="no environment")},
        ),
    )
    assert found.absent == (
        Absent(benchmark="old", reason="only in A"),
        Absent(benchmark="big", reason="skipped in A: needs 2 nodes"),
        Absent(benchmark="new", reason="only in B"),
    )
    assert found.verdict == "same"


# The score ---------------------------------------------------------------------------------------------------------


def test_the_score_is_the_weighted_geometric_mean_of_the_ratios() -> None:
    heavy = {"weight": 3.0}
    before = summary(benchmark("a", FIVE, heavy), benchmark("b", FIVE), benchmark("off", FIVE, {"weight": 0}))
    after = summary(
        benchmark("a", [rate * 1.1 for rate in FIVE], heavy),
        benchmark("b", [rate * 0.9 for rate in FIVE]),
        benchmark("off", [rate * 9 for rate in FIVE], {"weight": 0}),
    )
    found = compare(before, after).overall
    assert found.ratio == pytest.approx((1.1**3 * 0.9) ** (1 / 4))
    assert (found.verdict, found.benchmarks, found.left_out, found.n) == ("better", ("a", "b"), (), (5, 5))


def test_a_small_loss_everywhere_shows_in_the_score_alone() -> None:
    """Twenty benchmarks that are slower by less than any of them can show."""
    generator = random.Random(11)

    def noisy(factor: float) -> Summary:
        return summary(
            *(benchmark(f"b{number}", [100 * factor * generator.gauss(1, 0.02) for _ in FIVE]) for number in range(20))
        )

    found = compare(noisy(1.0), noisy(0.975))
    assert found.counts["worse"] == 0
    assert (found.overall.verdict, found.verdict) == ("worse", "worse")


def test_benchmarks_of_one_repeat_move_together_so_their_number_makes_no_score_surer() -> None:
    moves = [1.0, 1.1, 0.9, 1.05, 0.95]

    def together(*repeats: float) -> Summary:
        return summary(*(benchmark(f"b{number}", [100 * move for move in repeats]) for number in range(50)))

    found = compare(together(*moves), together(*reversed(moves)))
    assert found.overall.low is not None and found.overall.high is not None
    assert found.overall.high - found.overall.low > 0.15


@pytest.mark.parametrize(
    ("after", "left_out", "n"),
    [
        (summary(benchmark("a", FIVE), benchmark("b", FIVE), of("c", failed("c"))), ("c",), (5, 5)),
        (summary(benchmark("a", FIVE), benchmark("b", FIVE), benchmark("c", FIVE[:4])), ("c",), (5, 5)),
        (summary(benchmark("a", FIVE), benchmark("b", FIVE[:4]), benchmark("c", FIVE[:4])), (), (5, 4)),
        (summary(benchmark("a", FIVE), benchmark("b", FIVE)), (), (5, 5)),
    ],
)
def test_a_benchmark_that_lacks_a_repeat_is_not_in_the_score_nor_a_repeat_that_most_lack(
    after: Summary, left_out: tuple[str, ...], n: tuple[int, int]
) -> None:
    found = compare(summary(*(benchmark(name, FIVE) for name in "abc")), after).overall
    assert (found.left_out, found.n) == (left_out, n)
    assert found.ratio == pytest.approx(1.0, abs=0.002)


def under_noise(count: int, factor: float, quiet: float | None = None) -> Summary:
    """Return benchmarks that were measured under noise, all changed alike, and perhaps a quiet one."""
    noisy = [benchmark(f"b{each}", [rate * factor for rate in FIVE], surroundings=NOISY) for each in range(count)]
    others = [] if quiet is None else [benchmark("quiet", [rate * quiet for rate in FIVE], surroundings=QUIET)]
    return summary(*noisy, *others)


def test_noise_that_withholds_the_verdict_on_benchmarks_withholds_that_on_their_score() -> None:
    found = compare(suite(1, 1, 1), under_noise(3, 0.8))
    assert found.overall.ratio == pytest.approx(0.8)
    assert (found.overall.verdict, found.verdict) == ("undecided", "undecided")
    assert "3 of 3 benchmarks were measured under noise" in found.overall.reason
    back = compare(under_noise(3, 0.8), suite(1, 1, 1))
    assert (back.overall.verdict, back.verdict) == ("undecided", "undecided")


def test_a_small_loss_everywhere_under_noise_is_no_worse_score() -> None:
    found = compare(suite(1, 1, 1), under_noise(3, 0.985))
    assert (found.overall.verdict, found.verdict) == ("undecided", "undecided")


@pytest.mark.parametrize(("quiet", "verdict"), [(0.9, "worse"), (1.0, "undecided"), (1.1, "undecided")])
def test_a_score_is_worse_where_it_is_without_what_was_measured_under_noise(quiet: float, verdict: str) -> None:
    before = summary(*(benchmark(name, FIVE) for name in ("b0", "b1", "b2", "quiet")))
    assert compare(before, under_noise(3, 0.8, quiet)).overall.verdict == verdict


def test_noise_on_the_faster_side_withholds_nothing_of_the_score() -> None:
    assert compare(suite(1, 1, 1), under_noise(3, 1.2)).verdict == "better"
    assert compare(under_noise(3, 1.0), under_noise(3, 0.8)).verdict == "worse"


def test_without_weights_there_is_no_score_and_the_benchmarks_decide() -> None:
    found = compare(*[summary(benchmark("a", FIVE, {"weight": 0}))] * 2)
    assert (found.overall.verdict, found.overall.ratio, found.verdict) == ("not comparable", None, "same")


def test_other_weights_are_told() -> None:
    found = compare(summary(benchmark("a", FIVE)), summary(benchmark("a", FIVE, {"weight": 2.0})))
    assert found.warnings == ("a: its weight is 1 in A and 2 in B, which counts",)


def test_warnings_say_of_which_run_they_are() -> None:
    assert compare(summary(warnings=["odd"]), summary(warnings=["even"])).warnings == ("A: odd", "B: even")
