"""What devices took and told while processes measured: energy, errors, throttling, each of its own window."""

from __future__ import annotations

from typing import Any

import pytest
from monitor_lines import device, gpus, header, sample
from summary_fakes import MakeRun, end, plan
from watched_runs import ALONE, CPU, GPU, made, of_devices, only, watched, watched_run


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


def clocks(ahead_s: Any) -> dict[str, Any]:
    """Return facts of nodes a, whose clock is right, and b."""
    offsets = {"a": None, "b": ahead_s if isinstance(ahead_s, str) else ahead_s * 10**9}
    return {**GPU, "nodes": {name: {"clock_offset_ns": offset} for name, offset in offsets.items()}}


@pytest.mark.parametrize("ahead_s", [0, 3600, -7])
def test_a_group_takes_what_devices_of_a_node_with_another_clock_took_meanwhile(
    make_run: MakeRun, ahead_s: int
) -> None:
    jobs = {"net": [[("net.a", "a", (0,)), ("net.b", "b", (0,))]]}
    run = make_run(recorded=clocks(ahead_s), planned=plan(jobs), columns={"net.a": made(5, 10)})
    run.write("net.a", end())
    run.write("net.b", end())
    watched(run, [header(), *gpus(range(31), 0, power_w=100.0)], "a")
    grows = (sample(t + ahead_s, devices=[device(0, t, power_w=100.0 + t)]) for t in range(31))
    watched(run, [header(time_s=ahead_s), *grows], "b")
    energy = only(run).energy
    assert energy is not None
    assert energy.parts == {"a:0": pytest.approx(1000.0), "b:0": pytest.approx(1100.0)}


def test_nodes_that_measure_at_the_same_time_by_clocks_that_differ_take_that_time_once(make_run: MakeRun) -> None:
    jobs = {"net": [[("net.a", "a", (0,))], [("net.b", "b", (0,))]]}
    columns = {"net.a": made(5, 10), "net.b": made(3605, 10)}
    run = make_run(recorded=clocks(3600), planned=plan(jobs), columns=columns)
    for name, ahead_s in (("a", 0), ("b", 3600)):
        run.write(f"net.{name}", end())
        watched(run, [header(time_s=ahead_s), *gpus(range(ahead_s, ahead_s + 31), 0)], name)
    energy = only(run).energy
    assert energy is not None
    assert (energy.joules, energy.seconds) == (pytest.approx(2000.0), pytest.approx(10.0))


def test_a_clock_that_is_no_number_counts_as_right(make_run: MakeRun) -> None:
    jobs = {"net": [[("net.a", "a", (0,))], [("net.b", "b", (0,))]]}
    run = make_run(recorded=clocks("late"), planned=plan(jobs), columns={"net.b": made(5, 10)})
    run.write("net.b", end())
    watched(run, [header(), *gpus(range(31), 0)], "b")
    energy = only(run).energy
    assert energy is not None
    assert energy.joules == pytest.approx(1000.0)


def test_devices_that_measure_at_the_same_time_take_their_power_together(make_run: MakeRun) -> None:
    run = of_devices(make_run, 2)
    watched(run, [header(), *gpus(range(61), 0, 1)])
    energy = only(run).energy
    assert energy is not None
    assert (energy.watts, energy.seconds) == (pytest.approx(200.0), pytest.approx(20.1))
    assert energy.parts == {"0": pytest.approx(2010.0), "1": pytest.approx(2010.0)}
