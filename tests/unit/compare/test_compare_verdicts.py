"""One benchmark in two runs: what is said of its ratio, of its failures, of what cannot be compared."""

from __future__ import annotations

from array import array
from dataclasses import replace

import pytest
from compare_samples import FIVE, NOISY, QUIET, benchmark, failed, of, process, summary

from benchmate.verdict import Noise
from milabench.compare import BenchmarkComparison, compare
from milabench.compare.failures import chance
from milabench.outcome import Outcome
from milabench.summary import BenchmarkSummary, Series, Summary, Surroundings
from milabench.summary.speed import speed_of


def only(before: Summary, after: Summary, tolerance: float | None = None) -> BenchmarkComparison:
    (found,) = compare(before, after, tolerance).benchmarks
    return found


def scaled(factor: float) -> list[float]:
    return [rate * factor for rate in FIVE]


@pytest.mark.parametrize(
    ("factor", "tolerance", "verdict"),
    [
        (0.9, None, "worse"),
        (1.1, None, "better"),
        (1.0, None, "same"),
        (0.985, None, "undecided"),
        (0.97, 0.05, "same"),
        (0.9, 0.05, "worse"),
        (0.955, 0.05, "undecided"),
        (1.0, 0.005, "undecided"),
    ],
)
def test_five_repeats_a_side_are_judged_by_their_spread(factor: float, tolerance: float | None, verdict: str) -> None:
    found = only(summary(benchmark("a", FIVE)), summary(benchmark("a", scaled(factor))), tolerance)
    assert found.verdict == verdict
    assert found.ratio == pytest.approx(factor)
    assert found.low is not None and found.high is not None and found.low < factor < found.high
    assert (found.before.repeats, found.after.repeats) == (
        pytest.approx(FIVE),
        pytest.approx(scaled(factor)),
    )


def test_of_one_repeat_a_side_nothing_is_known_but_the_ratio() -> None:
    found = only(summary(benchmark("a", [100])), summary(benchmark("a", [50])))
    assert (found.verdict, found.ratio, found.low, found.needed) == ("undecided", pytest.approx(0.5), None, None)
    assert found.reason == "one repeat a side: how much repeats differ is not known; run both with --repeat 5"


def test_devices_that_ran_at_the_same_time_are_one_repeat() -> None:
    before = of("a", *(process("a", 100.0 + number, device=number) for number in range(8)))
    after = of("a", *(process("a", 50.0 + number, device=number) for number in range(8)))
    found = only(summary(before), summary(after))
    assert (found.before.repeats, found.after.repeats) == ((103.5,), (53.5,))
    assert found.verdict == "undecided"


def test_repeats_of_pooled_runs_are_repeats_of_their_own() -> None:
    pooled = of("a", *(replace(process("a", rate), repeat=(number, 0)) for number, rate in enumerate(FIVE)))
    assert only(summary(pooled), summary(benchmark("a", scaled(0.9)))).verdict == "worse"


def pooled(*levels: float, repeats: int = 5) -> Summary:
    """Return runs that are as fast as these, of repeats that agree within 1 %."""
    processes = (
        replace(process("a", rate * level), repeat=(run, number))
        for run, level in enumerate(levels)
        for number, rate in enumerate(FIVE[:repeats])
    )
    return summary(of("a", *processes))


@pytest.mark.parametrize(
    ("before", "after", "verdict", "reason"),
    [
        (pooled(1.0, 1.03), pooled(0.98, 0.94), "undecided", "2 and 2 runs: how much runs differ is hardly known"),
        (pooled(1.0, 1.01), pooled(0.5, 0.51), "worse", "more than runs differ by themselves"),
        (pooled(1.0, 1.03), pooled(0.9), "undecided", "2 and 1 runs: how much runs differ is not known"),
        (pooled(1.0, 1.01, 1.02), pooled(0.9, 0.91, 0.92), "worse", "more than runs differ by themselves"),
        (pooled(1.0, 1.03, 0.97), pooled(0.97, 0.99, 0.93), "undecided", "the interval is too wide"),
        (pooled(1.0, 1.01, 1.02, 0.99), pooled(0.8), "worse", "more than runs differ by themselves"),
        (pooled(1.0, 1.0, 1.0), pooled(1.0, 1.0, 1.0), "same", "the interval lies within ±2 %"),
    ],
)
def test_repeats_of_a_run_resemble_each_other_so_runs_decide(
    before: Summary, after: Summary, verdict: str, reason: str
) -> None:
    found = only(before, after)
    assert found.verdict == verdict
    assert found.reason.startswith(reason)


def test_where_runs_differ_less_than_their_repeats_these_decide() -> None:
    """Runs of the same mean by luck are no surer than all their repeats."""
    found = only(pooled(1.0, 1.0, 1.0), pooled(1.0, 1.0, 1.0))
    assert found.low is not None and found.high is not None and found.high - found.low > 0.01
    assert found.before.low is not None and found.before.low < 99.6


def test_a_wide_interval_says_how_many_repeats_would_show_more() -> None:
    found = only(summary(benchmark("a", [95, 100, 105])), summary(benchmark("a", [96, 100, 106])))
    assert found.verdict == "undecided"
    assert found.needed is not None and 50 < found.needed < 150
    assert found.reason == f"the interval is too wide; {found.needed} repeats a side would show a change of 3 %"


def test_a_spread_beyond_all_repeats_tells_no_number() -> None:
    found = only(summary(benchmark("a", [10, 100, 1000])), summary(benchmark("a", [10, 100, 1000])))
    assert (found.needed, found.reason) == (None, "repeats differ too much to show a change of 3 %")


GOOD = benchmark("a", FIVE)
BROKEN = of("a", failed("a", outcome="timeout", reason="reached max_duration"))
LOST = of("a", failed("a", outcome="lost", reason="the run was cut off"))
SILENT = of("a", process("a", None))
ZERO = of("a", process("a", 0.0))


@pytest.mark.parametrize(
    ("before", "after", "verdict", "reason"),
    [
        (GOOD, BROKEN, "worse", "failed in B (timeout: reached max_duration)"),
        (BROKEN, GOOD, "better", "failed in A (timeout: reached max_duration)"),
        (BROKEN, BROKEN, "not comparable", "failed in both (timeout: reached max_duration)"),
        (
            BROKEN,
            of("a", failed("a", reason="exit code 3")),
            "not comparable",
            "failed in both (A: timeout: reached max_duration; B: exit code 3)",
        ),
        (GOOD, LOST, "not comparable", "cut off in B (lost: the run was cut off)"),
        (LOST, BROKEN, "not comparable", "cut off in A (lost: the run was cut off)"),
        (GOOD, SILENT, "worse", "without a rate in B (it ended well)"),
        (SILENT, SILENT, "not comparable", "without a rate in both (it ended well)"),
        (GOOD, ZERO, "worse", "without a rate in B (it ended well)"),
        (ZERO, GOOD, "better", "without a rate in A (it ended well)"),
        (
            BROKEN,
            SILENT,
            "not comparable",
            "failed in A (timeout: reached max_duration), without a rate in B (it ended well)",
        ),
        (GOOD, benchmark("a", FIVE, unit="steps/s"), "not comparable", "it counts in items/s in A and in steps/s in B"),
    ],
)
def test_what_was_not_measured_alike_on_both_sides_has_no_ratio(
    before: BenchmarkSummary, after: BenchmarkSummary, verdict: str, reason: str
) -> None:
    found = only(summary(before), summary(after))
    assert (found.verdict, found.reason) == (verdict, reason)
    assert (found.ratio, found.low, found.high) == (None, None, None)


@pytest.mark.parametrize(
    ("why", "verdict", "reason"),
    [
        (Outcome(kind="failed", reason="no environment"), "worse", "failed in B (not started: failed: no environment)"),
        (
            Outcome(kind="interrupted", reason="Ctrl-C"),
            "not comparable",
            "cut off in B (not started: interrupted: Ctrl-C)",
        ),
    ],
)
def test_what_was_never_started_failed_unless_the_run_was_cut_off(why: Outcome, verdict: str, reason: str) -> None:
    found = only(summary(GOOD), summary(missing={"a": why}))
    assert (found.verdict, found.reason) == (verdict, reason)


def eight(*broken: int, repeats: int = 5, factor: float = 1.0) -> BenchmarkSummary:
    """Return repeats on eight devices, of which some fail in every repeat; device 7 is a slow one."""
    return of(
        "a",
        *(
            failed("a", repeat=repeat, device=device)
            if device in broken
            else process("a", FIVE[repeat] * factor * (0.5 if device == 7 else 1), repeat=repeat, device=device)
            for repeat in range(repeats)
            for device in range(8)
        ),
    )


def test_a_device_that_always_fails_is_left_out_on_both_sides() -> None:
    found = only(summary(eight(7)), summary(eight(7)))
    assert (found.verdict, found.ratio) == ("same", pytest.approx(1.0))
    assert found.reason.endswith("5 of 40 processes failed in A, 5 of 40 in B")
    assert only(summary(eight()), summary(eight(7))).ratio == pytest.approx(1.0)  # not faster for want of the slow one


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        (eight(), eight(3), "worse"),
        (eight(3), eight(), "better"),
        (eight(3), eight(1, 2, 3), "worse"),
        (eight(3), eight(factor=0.9), "worse"),
        (eight(), eight(3, factor=1.1), "worse"),
    ],
)
def test_failing_more_often_is_worse_whatever_the_ratio(
    before: BenchmarkSummary, after: BenchmarkSummary, verdict: str
) -> None:
    assert only(summary(before), summary(after)).verdict == verdict


def now_and_then(*failures: tuple[int, int], factor: float = 1.0, devices: int = 8) -> BenchmarkSummary:
    """Return five repeats of which some processes failed, each told by its repeat and device."""
    return of(
        "a",
        *(
            failed("a", repeat=repeat, device=device)
            if (repeat, device) in failures
            else process("a", FIVE[repeat] * factor, repeat=repeat, device=device)
            for repeat in range(5)
            for device in range(devices)
        ),
    )


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        (now_and_then(), now_and_then((2, 0)), "undecided"),
        (now_and_then((2, 0)), now_and_then(), "same"),
        (now_and_then((2, 0)), now_and_then((4, 1)), "same"),
        (now_and_then(), now_and_then((2, 0), factor=1.1), "undecided"),
        (now_and_then(), now_and_then((2, 0), factor=0.9), "worse"),
        (now_and_then(), now_and_then(*((2, device) for device in range(8))), "undecided"),  # one cause, perhaps
        (now_and_then(), now_and_then((0, 3), (1, 5), (3, 0), (4, 6)), "worse"),
        (now_and_then((0, 3), (1, 5), (3, 0), (4, 6)), now_and_then(), "better"),
        (now_and_then(devices=1), now_and_then(*((repeat, 0) for repeat in range(3)), devices=1), "undecided"),
        (now_and_then(devices=1), now_and_then(*((repeat, 0) for repeat in range(4)), devices=1), "worse"),
    ],
)
def test_failing_more_often_is_worse_where_chance_does_not_do_it(
    before: BenchmarkSummary, after: BenchmarkSummary, verdict: str
) -> None:
    assert only(summary(before), summary(after)).verdict == verdict


def test_failures_that_may_be_chance_are_told_with_what_to_do() -> None:
    assert only(summary(now_and_then()), summary(now_and_then((2, 0)))).reason == (
        "0 of 40 processes failed in A, 1 of 40 in B, as chance may have it: more repeats would tell"
    )


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        (eight(repeats=2), eight(3, repeats=2), "worse"),
        (eight(3, repeats=2), eight(repeats=2), "better"),
        (eight(3, repeats=2), eight(4, repeats=2), "worse"),
        (eight(repeats=1), eight(3, repeats=1), "undecided"),  # whether it is broken, or failed once, nothing tells
    ],
)
def test_a_device_that_fails_each_time_and_never_did_is_broken(
    before: BenchmarkSummary, after: BenchmarkSummary, verdict: str
) -> None:
    assert only(summary(before), summary(after)).verdict == verdict


@pytest.mark.parametrize(
    ("first", "second", "share"),
    [
        ((0, 5), (5, 5), 1 / 252),
        ((0, 5), (4, 5), 5 / 210),
        ((0, 5), (1, 5), 1 / 2),
        ((0, 5), (0, 5), 1),
        ((3, 5), (0, 5), 1),
        ((1, 12), (9, 12), 2706 / 1961256),
    ],
)
def test_the_chance_of_more_failures_is_fishers(first: tuple[int, int], second: tuple[int, int], share: float) -> None:
    assert chance(first, second) == pytest.approx(share, rel=1e-4)


def test_a_repeat_in_which_a_process_failed_does_not_count() -> None:
    once = of(
        "a",
        *(process("a", rate, repeat=repeat, device=0) for repeat, rate in enumerate(FIVE)),
        *(process("a", rate, repeat=repeat, device=1) for repeat, rate in enumerate(FIVE[:4])),
        failed("a", repeat=4, device=1),
    )
    assert only(summary(once), summary(once)).before.repeats == pytest.approx(FIVE[:4])


def quiet(factor: float) -> BenchmarkSummary:
    return benchmark("a", scaled(factor), surroundings=QUIET)


def noisy(factor: float, among: int = 5) -> BenchmarkSummary:
    """Return five repeats, the first of which were measured under noise."""
    return of(
        "a",
        *(
            process("a", rate * factor, repeat=number, surroundings=NOISY if number < among else QUIET)
            for number, rate in enumerate(FIVE)
        ),
    )


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        (benchmark("a", FIVE), noisy(0.9), "undecided"),
        (quiet(1.0), noisy(0.9), "undecided"),
        (benchmark("a", FIVE), noisy(1.1), "better"),
        (noisy(1.0), benchmark("a", scaled(1.1)), "undecided"),
        (noisy(1.0), benchmark("a", scaled(0.9)), "worse"),
        (noisy(1.0), noisy(0.9), "worse"),
        (benchmark("a", FIVE), noisy(1.0), "same"),
        (benchmark("a", FIVE), noisy(0.9, among=2), "worse"),
    ],
)
def test_noise_on_the_slower_side_alone_leaves_it_undecided(
    before: BenchmarkSummary, after: BenchmarkSummary, verdict: str
) -> None:
    assert only(summary(before), summary(after)).verdict == verdict


def test_each_reason_for_noise_is_told_of_the_processes_that_have_it() -> None:
    heated = Surroundings(noise=Noise(verdict="noisy", reasons=("hot",)))
    several = [process("a", rate, repeat=number, surroundings=NOISY) for number, rate in enumerate(FIVE)]
    several[4] = process("a", FIVE[4], repeat=4, surroundings=heated)
    found = only(summary(benchmark("a", FIVE)), summary(of("a", *several)))
    assert found.after.noise.reasons == (
        "4 of 5 processes: tasks waited for a CPU 40 % of the time",
        "1 of 5 processes: hot",
    )


def test_noise_is_told_with_how_many_processes_it_is_about() -> None:
    found = only(summary(benchmark("a", FIVE)), summary(noisy(0.9, among=3)))
    assert found.after.noise.reasons == ("3 of 5 processes: tasks waited for a CPU 40 % of the time",)
    assert found.before.noise == Noise(verdict="unknown")
    assert found.reason == "slower in B, which was measured under noise; of the other it is not known"


@pytest.mark.parametrize("among", [0, 2])
def test_that_the_other_side_was_quiet_is_said_where_it_is_known(among: int) -> None:
    found = only(summary(noisy(1.0, among=among)), summary(noisy(0.9)))
    assert found.before.noise == Noise(verdict="quiet")
    assert found.reason == "slower in B, which was measured under noise when the other was not"


def test_throughput_is_all_work_over_all_time() -> None:
    """Steps at 50 and 150 items/s, each of as much work, are 75 items/s together and not 100."""
    series = Series(unit="items", printed=array("d", [50.0, 150.0] * 10))
    several = of("a", *(process("a", 1.0, repeat=number, series=series, speed=speed_of(series)) for number in range(2)))
    assert only(summary(several), summary(several)).after.throughput == pytest.approx(75.0)


def test_a_server_has_no_rate_and_is_no_failure() -> None:
    served = of(
        "a",
        *(process("a", rate, repeat=repeat, device=0) for repeat, rate in enumerate(FIVE)),
        *(process("a", None, repeat=repeat, tag=f"a.R{repeat}.server", place="server") for repeat in range(5)),
    )
    assert only(summary(served), summary(served)).verdict == "same"


def test_constant_rates_have_no_spread_and_are_judged_all_the_same() -> None:
    assert only(summary(benchmark("a", [3.2] * 3)), summary(benchmark("a", [3.2] * 3))).verdict == "same"
    assert only(summary(benchmark("a", [3.2] * 3)), summary(benchmark("a", [3.0] * 3))).verdict == "worse"
