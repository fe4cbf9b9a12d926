"""From what a process says and its node's monitor saw to how far its numbers are to be trusted."""

from __future__ import annotations

from typing import Any

import pytest
from monitor_lines import Line, at, cpu, header
from summary_fakes import MakeRun, end, plan, rates
from watched_runs import ALONE, CPU, NOISY, QUIET, made, measured, one, only, watched_run

from benchmate.wire import encode_event


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


@pytest.mark.parametrize(
    ("task", "step"), [("infer", "inference"), ("train", "step"), (None, "step"), (["infer"], "step")]
)
def test_what_a_step_is_the_process_says(make_run: MakeRun, task: Any, step: str) -> None:
    run = make_run(recorded=CPU, planned=plan(ALONE), columns={"net.D0": made(5, 10)})
    run.write("net.D0", measured(5, 15, task=task), end())
    found = only(run)
    assert found.step == step
    assert found.processes[0].steadiness is not None


def test_a_process_that_was_killed_before_it_said_what_it_measured_has_said_so_when_it_began(make_run: MakeRun) -> None:
    run = make_run(recorded=CPU, planned=plan(ALONE), columns={"net.D0": made(5, 10)})
    run.write("net.D0", ("hello", None), ("hello", {"rank": 0}), ("hello", {"task": "infer"}), end("timeout"))
    found = only(run)
    assert (found.processes[0].task, found.step) == ("infer", "inference")
