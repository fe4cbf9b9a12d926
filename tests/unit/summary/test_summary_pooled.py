"""Groups, devices and repeats of a benchmark put together: rates, intervals, precision."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest
from monitor_lines import at
from summary_fakes import FakeRun, MakeRun, end, plan, rates, steps
from watched_runs import ALONE, CPU, GPU, QUIET, made, measured, of_devices, one, only, watched_run

from benchmate.wire import encode_event
from milabench.compare import compare
from milabench.render import FORMATS, text, units
from milabench.summary import Memory, Precision, summarize


def rank_file(run: FakeRun, rank: int, *events: tuple[str, object]) -> None:
    with (run.path / f"net.D0.rank{rank}.jsonl").open("wb") as file:
        for seq, (event, data) in enumerate(events):
            file.write(encode_event(event, data, time_ns=at(seq), seq=seq))


def test_what_further_ranks_say_belongs_to_their_group(make_run: MakeRun) -> None:
    run = watched_run(make_run, QUIET)
    peak = ("data", {"task": "main", "memory_peak_bytes": 2**31, "source": "torch"})
    rank_file(run, 1, ("data", {"task": "train", "loss": float("nan")}), measured(5, 15, wait_s=4.0))
    rank_file(run, 2, peak, measured(5, 15))
    with (run.path / "net.D0.rank2.jsonl").open("ab") as file:
        file.write(b"torn")
    found = one(run)
    assert found.memory == Memory(peak_bytes=2**31, source="device")
    assert found.losses is not None
    assert (found.losses.nan, found.losses.n) == (True, 1)
    assert found.surroundings.evidence.wait_share == pytest.approx(0.4)  # of the rank that waited most
    assert found.warnings == ("net.D0.rank2.jsonl: 1 lines are no events and were left out",)
    assert only(run).trust.noise.verdict == "noisy"


def test_devices_that_run_at_the_same_time_are_added_up(make_run: MakeRun) -> None:
    found = only(of_devices(make_run, 1))
    assert {slot: each.value for slot, each in found.by_slot.items()} == {"D0": 200.0, "D1": 100.0}
    assert (found.speed.throughput.value, found.speed.throughput.n) == (300.0, 200)
    assert len(found.repeats) == 1
    assert found.speed.times is not None
    assert found.speed.times.n == 200


def test_between_repeats_their_spread_is_the_interval(make_run: MakeRun) -> None:
    found = only(of_devices(make_run, 3))
    expected = [300.0, 300 / 1.01, 300 / 1.02]
    assert [each.value for each in found.repeats] == [pytest.approx(value) for value in expected]
    assert (found.speed.throughput.method, found.speed.throughput.n) == ("repeats", 3)
    assert found.speed.throughput.value == pytest.approx(sum(expected) / 3)
    assert found.by_slot["D0"].method == "repeats"
    assert found.speed.times is not None
    assert found.speed.times.quantiles["p50"].method == "repeats"
    assert found.speed.first_s == pytest.approx(0.102)


@pytest.mark.parametrize(("repeats", "failed", "counted"), [(3, "net.R1.D1", 2), (1, "net.D1", 1)])
def test_a_repeat_of_which_a_part_failed_is_none_of_the_whole(
    make_run: MakeRun, repeats: int, failed: str, counted: int
) -> None:
    assert len(only(of_devices(make_run, repeats, failed=failed)).repeats) == counted


def test_overhead_is_the_largest_share_of_a_step_of_any_process(make_run: MakeRun) -> None:
    run = of_devices(make_run, 1)
    for tag, cost_ns in (("net.D0", 1000), ("net.D1", 5_000_000)):
        run.write(tag, measured(5, 15, overhead_ns=cost_ns), end())
    assert only(run).trust.overhead == pytest.approx(0.05)


def test_series_that_are_not_steady_are_counted_and_named(make_run: MakeRun) -> None:
    rows = [(0, 0, 10, 0)]
    for index in range(200):
        rows.append((rows[-1][1], rows[-1][1] + 100 + index, 10, 1))
    run = make_run(columns={"net.D0": steps(*rows[1:])})
    run.write("net.D0", end())
    found = only(run)
    assert found.trust.steadiness == {"drifting": 1}
    assert found.trust.grade.word == "drifting"
    assert found.processes[0].steadiness is not None


def of_repeats(make_run: MakeRun, *lengths: tuple[float, int], failed: int | None = None, name: str = "run") -> FakeRun:
    """Return a run of repeats that each took so many seconds for so many steps of 10."""
    tags = ["net.D0" if number == 0 else f"net.R{number}.D0" for number in range(len(lengths))]
    jobs = {tag.removesuffix(".D0"): [[(tag, "local", (0,))]] for tag in tags}
    columns = {
        tag: made(5 + 30 * number, seconds, n=n)
        for number, (tag, (seconds, n)) in enumerate(zip(tags, lengths, strict=True))
    }
    run = make_run(name, recorded=CPU, planned=plan(jobs), columns=columns)
    for number, tag in enumerate(tags):
        run.write(tag, end("failed" if number == failed else "ok"))
    return run


def test_the_interval_of_repeats_that_differ_in_length_is_around_their_rate(make_run: MakeRun) -> None:
    found = only(of_repeats(make_run, (10, 1000), (10, 100), (10.1, 100)))
    assert found.perf is not None
    assert (found.interval.value, found.interval.n, found.interval.method) == (found.perf, 3, "repeats")
    assert found.interval.low is not None
    assert found.interval.high is not None
    assert found.interval.low == 0
    spread = 4.303 * 520.15 * (1000**2 + 2 * 100**2) ** 0.5 / 1200  # of a mean in which one repeat is ten others
    assert found.interval.high - found.perf == pytest.approx(spread, rel=0.01)


def test_a_repeat_that_failed_makes_the_interval_no_wider(make_run: MakeRun) -> None:
    found = only(of_repeats(make_run, (10, 100), (10, 100), (10.1, 100), (1, 5), failed=3))
    assert found.perf is not None
    assert found.perf < 99.5  # its steps are in the rate, as in milabench's own
    assert (found.interval.value, found.interval.n) == (found.perf, 3)
    assert found.interval.relative_error == pytest.approx(0.0143, abs=0.001)
    assert found.trust.grade.word == "ok"


def test_beside_failed_repeats_the_interval_of_the_one_that_is_whole_is_that_of_its_steps(make_run: MakeRun) -> None:
    found = only(of_repeats(make_run, (10, 100), (1, 5), failed=1))
    assert (found.interval.value, found.interval.n, found.interval.method) == (found.perf, 98, "batch means")


def test_the_rate_shown_is_what_a_process_did_over_its_time_and_the_grade_is_of_it(make_run: MakeRun) -> None:
    """Two devices at once: each does as much, and every tenth step takes ten times as long."""
    rows = [(each * 10, each * 10 + (10 if each % 10 else 100), 5, 1) for each in range(0, 2000, 2)]
    took_s = sum(stop - start for start, stop, *_ in rows) / 1000
    columns = {tag: replace(steps(*rows), zero_ns=at(5)) for tag in ("net.D0", "net.D1")}
    jobs = {"net": [[(tag, "local", (number,))] for number, tag in enumerate(columns)]}
    run = make_run(recorded=GPU, planned=plan(jobs), columns=columns)
    for tag in columns:
        run.write(tag, end())
    found = only(run)
    assert found.rate.value == pytest.approx(5 * len(rows) / took_s)
    assert found.speed.throughput.value == pytest.approx(2 * found.rate.value)
    assert found.rate.relative_error == pytest.approx(found.speed.throughput.relative_error)
    assert found.perf is not None
    assert found.perf > 1.3 * found.rate.value


def test_without_times_of_steps_the_rate_shown_is_the_mean_of_rates(make_run: MakeRun) -> None:
    run = make_run(recorded=CPU, planned=plan(ALONE))
    run.write("net.D0", *rates(*range(10, 40)), end())
    found = only(run)
    assert found.rate == found.interval
    assert found.rate.value == found.perf


@pytest.mark.parametrize(
    ("events", "ended_by", "told"),
    [
        ([("stop", {"reason": "seconds"})], "seconds", " by its seconds (voir.options.stop.seconds)"),
        ([("stop", {"reason": "observations"})], "observations", " by its number of steps"),
        ([], "", ": its program, or max_duration, ended it before"),
    ],
)
def test_a_precision_that_was_asked_for_and_not_reached_is_told(
    make_run: MakeRun, events: list[tuple[str, object]], ended_by: str, told: str
) -> None:
    rows = [(each * 50, each * 50 + (10 if each // 10 % 2 else 40), 5, 1) for each in range(200)]
    run = make_run(recorded=CPU, planned=plan(ALONE), columns={"net.D0": replace(steps(*rows), zero_ns=at(5))})
    config = {"voir": {"options": {"skip": 0, "stop": {"precision": 0.02, "seconds": 10.0}}}}
    run.write("net.D0", *events, end(), config=config)
    found = only(run)
    assert found.trust.precision is not None
    assert (found.trust.precision.asked, found.trust.precision.ended_by) == (0.02, ended_by)
    assert found.trust.precision.reached == found.rate.relative_error
    shown = " ".join(text.render(summarize(run), 200).split())
    assert f"precision: asked for ±2.0 %, ended at ±{units.share(found.rate.relative_error)}{told}" in shown
    document = json.loads(FORMATS["json"](summarize(run)))["benchmarks"][0]
    assert document["precision"]["reached"] == document["processes"][0]["precision"]["reached"] > 0.02


def test_a_precision_that_was_reached_is_not_told(make_run: MakeRun) -> None:
    run = make_run(recorded=CPU, planned=plan(ALONE), columns={"net.D0": made(5, 10)})
    run.write("net.D0", end(), config={"voir": {"options": {"stop": {"precision": 0.02}}}})
    assert only(run).trust.precision == Precision(asked=0.02, reached=0.0, ended_by="")
    assert "precision:" not in text.render(summarize(run), 200)


@pytest.mark.parametrize("stop", [None, 60, {"seconds": 3}, {"precision": "2%"}, {"precision": -1}, {"precision": []}])
def test_without_a_precision_none_was_asked_for(make_run: MakeRun, stop: object) -> None:
    run = make_run(recorded=CPU, planned=plan(ALONE), columns={"net.D0": made(5, 10)})
    run.write("net.D0", end(), config={"voir": {"options": {"stop": stop}}})
    assert only(run).trust.precision is None


def test_the_interval_of_pooled_runs_is_by_how_much_the_runs_differ_as_in_a_comparison(make_run: MakeRun) -> None:
    """Many repeats in few runs are no more than so many runs: what differs from run to run they share."""
    once = of_repeats(make_run, (10, 100), (11, 100), (12, 100), name="once")
    again = of_repeats(make_run, (20, 100), (21, 100), (22, 100), name="again")
    found = only([once, again])
    assert (found.rate.n, found.rate.method) == (6, "repeats")
    of_one, of_other = ([1000 / each for each in times] for times in ((10, 11, 12), (20, 21, 22)))
    means = [sum(run) / 3 for run in (of_one, of_other)]
    half = 12.706 * abs(means[0] - means[1]) / 2  # Student's factor for two
    assert found.rate.value == pytest.approx(sum(means) / 2)
    assert found.rate.high == pytest.approx(sum(means) / 2 + half, rel=1e-3)
    assert found.speed.throughput.high == pytest.approx(found.rate.high)
    assert found.by_slot["D0"].high == pytest.approx(found.rate.high)
    (compared,) = compare(summarize([once, again]), summarize([once])).benchmarks  # type: ignore[list-item]
    assert (compared.before.throughput, compared.before.high) == (found.rate.value, found.rate.high)


def of_nodes(make_run: MakeRun, times_s: dict[str, float]) -> FakeRun:
    """Return a run of a benchmark on every node, which took so many seconds there for the same."""
    run = make_run(
        recorded=CPU,
        planned=plan({"net": [[(f"net.{node}", node, (0,))] for node in times_s]}),
        columns={f"net.{node}": made(5, seconds) for node, seconds in times_s.items()},
    )
    for node in times_s:
        run.write(f"net.{node}", end(), config={"plan": {"method": "per_node"}})
    return run


def test_a_node_that_is_slower_than_the_others_is_told_in_every_form(make_run: MakeRun) -> None:
    summary = summarize(of_nodes(make_run, {"n1": 10, "n2": 20, "n3": 10.1}))
    (found,) = summary.benchmarks
    assert found.trust.grade.word == "uneven"
    assert found.perf == pytest.approx(1000 * (1 / 10 + 1 / 20 + 1 / 10.1) / 3, rel=0.02)  # as it always was
    told = "uneven: n2 at 50.00 items/s (50 % slower); the median of 3 is 99.01 items/s"
    for written in (text.render(summary, 200), FORMATS["markdown"](summary)):
        assert told in written
        assert "n2 is" not in written
    document = json.loads(FORMATS["json"](summary))["benchmarks"][0]
    assert document["verdict"]["reasons"] == ["n2 is 50 % slower than the median of 3"]
    assert document["uneven"] == {
        "median": pytest.approx(99.01, rel=1e-4),
        "of": 3,
        "apart": {"n2": pytest.approx(-0.495)},
    }
    (row,) = csv.DictReader(io.StringIO(FORMATS["csv"](summary)))
    assert row["verdict"] == "uneven"
    rates = dict(each.split("=") for each in row["throughput_by_device"].split("; "))
    assert {node: round(float(rate), 2) for node, rate in rates.items()} == {"n1": 100.0, "n2": 50.0, "n3": 99.01}
    assert row["uneven"] == "n2=-0.495"


def test_nodes_that_are_about_as_fast_are_not_told_apart(make_run: MakeRun) -> None:
    found = only(of_nodes(make_run, {"n1": 10, "n2": 10.4, "n3": 10.1}))
    assert (found.trust.grade.word, found.trust.evenness.apart) == ("ok", ())


def test_of_devices_too_the_slow_one_is_told(make_run: MakeRun) -> None:
    assert [each.name for each in only(of_devices(make_run, 1)).trust.evenness.apart] == ["D1"]
