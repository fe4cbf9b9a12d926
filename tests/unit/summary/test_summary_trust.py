"""From what a process says and its node's monitor saw to how far its numbers are to be trusted."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from monitor_lines import Line, at, cpu, device, gpus, header, sample
from summary_fakes import FakeRun, MakeRun, end, plan, rates, steps

from benchmate.wire import Steps, encode_event
from milabench.plan.types import Plan
from milabench.render import FORMATS, text, units
from milabench.summary import BenchmarkSummary, Memory, Precision, ProcessSummary, summarize

CPU = {"system": {"arch": "cpu"}}
GPU = {"system": {"arch": "cuda"}}
ALONE = {"net": [[("net.D0", "local", (0,))]]}
QUIET = [header(), *(cpu(t, busy=1.0, ours=0.95, pressure=0.002) for t in range(31))]
NOISY = [header(), *(cpu(t, busy=4.0, ours=1.0, pressure=0.6) for t in range(31))]


def made(begin_s: float, seconds: float, *, n: int = 100, count: int = 10, unit: str = "items") -> Steps:
    """Return steps that were made from a moment on; the first one is warm-up, and takes as long as the others."""
    each_ms = round(seconds * 1000 / n)
    rows = [(i * each_ms, (i + 1) * each_ms, count, 1) for i in range(n)]
    return replace(steps((-each_ms, 0, count, 0), *rows, unit=unit), zero_ns=at(begin_s))


def watched(run: FakeRun, lines: Iterable[Line], node: str = "local") -> None:
    """Write what the monitor of a node saw."""
    (run.path / f"{node}.monitor.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def measured(begin_s: float, end_s: float, **used: Any) -> tuple[str, object]:
    told = {"task": "train", "begin_ns": at(begin_s), "end_ns": at(end_s), "steps": 100, "cpu_s": 9.0, "wait_s": 0.01}
    return ("measured", {**told, "involuntary": 5, "overhead_ns": 300, **used})


def only(run: FakeRun | Sequence[FakeRun]) -> BenchmarkSummary:
    (found,) = summarize(run).benchmarks  # type: ignore[arg-type]
    return found


def one(run: FakeRun) -> ProcessSummary:
    return only(run).processes[0]


def watched_run(make_run: MakeRun, lines: Iterable[Line], facts: Any = CPU, jobs: Any = ALONE) -> FakeRun:
    """Return a run of a process that measured from second 5 to second 15."""
    run = make_run(recorded=facts, planned=plan(jobs), columns={"net.D0": made(5, 10)})
    run.write("net.D0", measured(5, 15), end())
    watched(run, lines)
    return run


def test_evidence_is_of_the_window_in_which_steps_were_measured(make_run: MakeRun) -> None:
    lines = [header(), *(cpu(t, busy=1.0, ours=0.5, pressure=0.002, steal=0.04) for t in range(31))]
    found = one(watched_run(make_run, lines)).surroundings
    evidence = found.evidence
    assert found.window_ns == (at(5), at(15))
    assert (evidence.window_s, evidence.cpu_share) == (10.0, 0.9)
    assert (evidence.wait_share, evidence.involuntary_per_s) == (0.001, 0.5)
    assert evidence.others_share == pytest.approx((1.0 - 0.5 - 0.01) / 4)  # the monitor's own share is nobody's
    assert evidence.pressure_share == pytest.approx(0.002)
    assert evidence.steal_share == pytest.approx(0.01)
    assert (evidence.clock_share, evidence.throttled, evidence.ecc_errors, evidence.neighbours) == (None, (), None, 0)
    assert found.overhead_ns == 300.0


@pytest.mark.parametrize(("lines", "verdict"), [(QUIET, "quiet"), (NOISY, "noisy")])
def test_a_busy_neighbour_makes_a_number_noisy(make_run: MakeRun, lines: list[Line], verdict: str) -> None:
    found = only(watched_run(make_run, lines))
    assert found.trust.noise.verdict == verdict
    assert found.trust.grade.word == ("noisy" if verdict == "noisy" else "ok")
    assert all(any(character.isdigit() for character in reason) for reason in found.trust.noise.reasons)


def test_a_run_without_a_monitor_that_says_nothing_is_unknown_and_not_wrong(make_run: MakeRun) -> None:
    run = make_run()
    run.write("net.D0", *rates(*[10.0] * 20, *[10.001] * 20), end())
    found = only(run)
    assert (found.trust.noise.verdict, found.energy, found.trust.overhead, found.trust.ecc) == (
        "unknown",
        None,
        None,
        None,
    )
    assert found.trust.grade.word == "ok"
    assert found.speed.times is None
    assert found.speed.throughput.value == pytest.approx(2 / (1 / 10 + 1 / 10.001))


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"\n\n",
        b"\xff\xfe{",
        b'{"event": "monitor"',
        b'{"event": "sample", "time_ns": 5, "data": {"cpu": 3}}\n' * 3,
    ],
)
def test_a_damaged_monitor_file_says_nothing(make_run: MakeRun, damage: bytes) -> None:
    run = watched_run(make_run, [])
    (run.path / "local.monitor.jsonl").write_bytes(damage)
    assert one(run).surroundings.evidence.pressure_share is None


def test_without_steps_the_window_is_that_which_the_process_tells_else_that_of_its_rates(make_run: MakeRun) -> None:
    told, printed = make_run("told", recorded=CPU), make_run("printed", recorded=CPU)
    told.write("net.D0", *rates(10.0), measured(7, 9), end())
    assert one(told).surroundings.window_ns == (at(7), at(9))
    printed.write("net.D0", end())
    with printed.files("net.D0").events.open("ab") as file:
        for seq, time_s in enumerate((5, 6, 8), 3):
            data = {"task": "train", "rate": 10.0, "units": "items/s"}
            file.write(encode_event("data", data, time_ns=at(time_s), seq=seq))
    assert one(printed).surroundings.window_ns == (at(5), at(8))


@pytest.mark.parametrize(
    "odd",
    [
        {"begin_ns": None},
        {"cpu_s": "9"},
        {"wait_s": None, "involuntary": -3},
        {"overhead_ns": "much"},
        {"begin_ns": at(9), "end_ns": at(7)},
        {"wall_s": -3.0},
        {"begin_ns": 1, "end_ns": 10**400},
        {"cpu_s": 10**400, "wait_s": 1e308, "involuntary": True, "overhead_ns": 10**400},
    ],
)
def test_odd_words_of_a_process_on_itself_are_not_known(make_run: MakeRun, odd: dict[str, Any]) -> None:
    run = make_run(recorded=CPU, columns={"net.D0": made(5, 10)})
    run.write("net.D0", measured(5, 15, **odd), end())
    found = one(run)
    assert found.outcome == "ok"
    assert found.surroundings.window_ns == (at(5), at(15))


@pytest.mark.parametrize("set_s", [-58, 3600])
def test_a_wall_clock_that_was_set_meanwhile_changes_no_share(make_run: MakeRun, set_s: float) -> None:
    run = make_run(recorded=CPU, columns={"net.D0": made(5, 10)})
    run.write("net.D0", measured(5, 15 + set_s, wall_s=10.0, wait_s=3.0), end())
    evidence = one(run).surroundings.evidence
    assert (evidence.cpu_share, evidence.wait_share, evidence.involuntary_per_s) == (0.9, 0.3, 0.5)


def test_neighbours_count_as_noise(make_run: MakeRun) -> None:
    run = watched_run(make_run, QUIET)
    run.met = {"net": ("other",)}
    assert one(run).surroundings.evidence.neighbours == 1
    assert only(run).trust.noise.verdict == "noisy"


@pytest.mark.parametrize(
    "odd",
    [
        {"time_ns": 10**400},
        {"time_ns": -(10**30)},
        {"time_ns": True},
        {"data": {"cpu": {"busy_s": 10**400}, "devices": [{"id": 10**400, "late_s": 1e300, "energy_j": 1}]}},
        {"data": {"devices": [{"id": [], "uuid": {}}, 3, None], "power": {"rapl_j": [1]}}},
    ],
)
def test_odd_values_of_a_monitor_are_passed_over(make_run: MakeRun, odd: dict[str, Any]) -> None:
    lines = [*QUIET[:10], {**QUIET[10], **odd}, *QUIET[11:]]
    found = one(watched_run(make_run, lines))
    assert found.surroundings.evidence.pressure_share == pytest.approx(0.002)


@pytest.mark.parametrize("times_ns", [(1, 10**400), (-5, 5), (10**30, 10**31)])
def test_rates_of_no_time_have_no_window(make_run: MakeRun, times_ns: tuple[int, int]) -> None:
    run = make_run(recorded=CPU)
    run.write("net.D0", end())
    with run.files("net.D0").events.open("ab") as file:
        for time_ns in times_ns:
            data = {"task": "train", "rate": 10.0, "units": "items/s"}
            file.write(encode_event("data", data, time_ns=time_ns, seq=9))
    assert one(run).surroundings.window_ns is None


# Devices and energy ----------------------------------------------------------------------------------------------


def test_energy_is_that_of_a_processs_devices_over_its_window(make_run: MakeRun) -> None:
    run = watched_run(make_run, [header(), *gpus(range(31), 0, 1)], GPU)
    found = only(run)
    assert found.energy is not None
    assert (found.energy.joules, found.energy.watts) == (pytest.approx(1000.0), pytest.approx(100.0))
    assert (found.energy.source, found.energy.parts) == ("device counter", {"0": pytest.approx(1000.0)})
    assert found.energy_per_unit == pytest.approx(1.0)  # of 100 steps of 10


def test_without_a_counter_the_power_is_added_up(make_run: MakeRun) -> None:
    lines = [header(), *(sample(t, devices=[device(0, t, power_w=100.0 + t)]) for t in range(31))]
    energy = only(watched_run(make_run, lines, GPU)).energy
    assert energy is not None
    assert (energy.joules, energy.source) == (pytest.approx(1100.0), "power samples")


@pytest.mark.parametrize(
    ("devices", "why"),
    [
        ([{"id": 1, "energy_j": 5.0}], "it is of another device"),
        ([{"id": 0, "load": 1.0}], "the device does not tell"),
        ([], "no device tells"),
    ],
)
def test_energy_that_nobody_told_is_not_known(make_run: MakeRun, devices: list[Any], why: str) -> None:
    lines = [header(), *(sample(t, devices=devices, power={"rapl_j": {"package-0": 10.0 * t}}) for t in range(31))]
    assert only(watched_run(make_run, lines, GPU)).energy is None, why


@pytest.mark.parametrize(("ids", "joules"), [((0,), None), ((0, 1), 2000.0)])
def test_one_of_two_devices_is_not_taken_for_both(make_run: MakeRun, ids: tuple[int, ...], joules: float) -> None:
    jobs = {"net": [[("net.D0", "local", (0, 1))]]}
    energy = only(watched_run(make_run, [header(), *gpus(range(31), *ids)], GPU, jobs)).energy
    assert (energy.joules if energy else None) == (joules and pytest.approx(joules))


def test_in_a_window_too_short_for_samples_energy_is_not_known(make_run: MakeRun) -> None:
    run = make_run(recorded=GPU, planned=plan(ALONE), columns={"net.D0": made(5.2, 0.6)})
    run.write("net.D0", end())
    watched(run, [header(), *gpus(range(31), 0)])
    assert only(run).energy is None


def test_on_a_cpu_energy_is_that_of_the_machine_once_for_all_that_ran_on_it(make_run: MakeRun) -> None:
    jobs = {"net": [[("net.0", "local", (0,))], [("net.1", "local", (0,))]]}
    run = make_run(recorded=CPU, planned=plan(jobs), columns={"net.0": made(5, 10), "net.1": made(7, 10)})
    for tag in run.columns:
        run.write(tag, end())
    power = {"package-0": 40.0, "package-0/dram": 10.0}
    watched(
        run,
        [header()]
        + [sample(t, power={"rapl_j": {name: watts * t for name, watts in power.items()}}) for t in range(31)],
    )
    energy = only(run).energy
    assert energy is not None
    assert (energy.joules, energy.seconds) == (pytest.approx(600.0), pytest.approx(12.0))
    assert energy.source == "RAPL of the whole machine"
    assert only(run).energy_per_unit == pytest.approx(600 / 2000)


def test_throttling_errors_and_clocks_of_the_processs_own_devices_are_told(make_run: MakeRun) -> None:
    lines = [
        header(),
        *(
            sample(
                t,
                devices=[
                    device(
                        0, t, clock_mhz=1000 if t < 10 else 800, ecc={"corrected": t, "uncorrected": 1 if t > 9 else 0}
                    ),
                    device(1, t, clock_mhz=100 + t, throttle=["thermal"], ecc={"corrected": 0, "uncorrected": t}),
                ],
            )
            for t in range(31)
        ),
    ]
    lines[12]["data"]["devices"][0]["throttle"] = ["power cap"]
    found = only(watched_run(make_run, lines, GPU))
    evidence = found.processes[0].surroundings.evidence
    assert (evidence.clock_share, evidence.throttled, evidence.ecc_errors) == (0.8, ("power cap",), 1)
    assert found.trust.throttled == ("power cap",)
    assert found.trust.ecc is not None
    assert (found.trust.ecc.corrected, found.trust.ecc.uncorrected) == (10, 1)


def test_what_a_server_takes_is_taken_for_its_clients(make_run: MakeRun) -> None:
    """The client has no device; the server's counts, and the other job's does not, which measured nothing."""
    jobs = {"net": [[("net.client", "local", ()), ("net.server", "local", (0,))], [("net.idle", "local", (1,))]]}
    run = make_run(recorded=GPU, planned=plan(jobs), columns={"net.client": made(5, 10)})
    for tag in ("net.client", "net.server", "net.idle"):
        run.write(tag, end())
    rapl = {"rapl_j": {"package-0": 7.0}}
    watched(run, [header(), *({**line, "data": {**line["data"], "power": rapl}} for line in gpus(range(31), 0, 1))])
    found = only(run)
    assert found.energy is not None
    assert (found.energy.joules, found.energy.parts) == (pytest.approx(1000.0), {"0": pytest.approx(1000.0)})
    assert found.energy_per_unit == pytest.approx(1.0)


def test_a_group_on_two_nodes_takes_what_the_devices_of_both_take(make_run: MakeRun) -> None:
    jobs = {"net": [[("net.a", "a", (0,)), ("net.b", "b", (0,))]]}
    run = make_run(recorded=GPU, planned=plan(jobs), columns={"net.a": made(5, 10)})
    run.write("net.a", end())
    run.write("net.b", end())
    watched(run, [header(), *gpus(range(31), 0)], "a")
    assert only(run).energy is None  # what b took nobody knows
    watched(run, [header(), *gpus(range(31), 0)], "b")
    energy = only(run).energy
    assert energy is not None
    assert energy.parts == {"a:0": pytest.approx(1000.0), "b:0": pytest.approx(1000.0)}


def test_devices_that_measure_at_the_same_time_take_their_power_together(make_run: MakeRun) -> None:
    run = of_devices(make_run, 2)
    watched(run, [header(), *gpus(range(61), 0, 1)])
    energy = only(run).energy
    assert energy is not None
    assert (energy.watts, energy.seconds) == (pytest.approx(200.0), pytest.approx(20.1))
    assert energy.parts == {"0": pytest.approx(2010.0), "1": pytest.approx(2010.0)}


# Groups ----------------------------------------------------------------------------------------------------------


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


# Repeats and devices ---------------------------------------------------------------------------------------------


def of_devices(make_run: MakeRun, repeats: int, *, failed: str = "") -> FakeRun:
    """Return a run of two devices, of which the second does half of what the first does."""
    names = ["net" if repeat == 0 else f"net.R{repeat}" for repeat in range(repeats)]
    jobs: dict[str, Any] = {name: [[(f"{name}.D{each}", "local", (each,))] for each in (0, 1)] for name in names}
    planned: Plan = plan(jobs)
    run = make_run(recorded=GPU, planned=planned)
    for number, name in enumerate(names):
        for each in (0, 1):
            tag = f"{name}.D{each}"
            run.columns[tag] = made(5 + 20 * number, 10 + number * 0.1, count=20 // (each + 1))
            run.write(tag, end("failed" if tag == failed else "ok"))
    return run


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


def of_repeats(make_run: MakeRun, *lengths: tuple[float, int], failed: int | None = None) -> FakeRun:
    """Return a run of repeats that each took so many seconds for so many steps of 10."""
    tags = ["net.D0" if number == 0 else f"net.R{number}.D0" for number in range(len(lengths))]
    jobs = {tag.removesuffix(".D0"): [[(tag, "local", (0,))]] for tag in tags}
    columns = {
        tag: made(5 + 30 * number, seconds, n=n)
        for number, (tag, (seconds, n)) in enumerate(zip(tags, lengths, strict=True))
    }
    run = make_run(recorded=CPU, planned=plan(jobs), columns=columns)
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
