"""What devices took and counted is told once, however many processes of a benchmark used them at a time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from monitor_lines import device, gpus, header, sample
from summary_fakes import FakeRun, MakeRun, end, plan
from watched_runs import GPU, made, only, watched

from milabench.plan.types import Plan

COPIES = {"net": [[("net.0", "local", (0,))], [("net.1", "local", (0,))]]}
TOGETHER = {"net": [[("net.0", "local", (0,)), ("net.1", "local", (0,))]]}


def using(make_run: MakeRun, jobs: Any, *begun_s: float) -> FakeRun:
    """Return a run of two processes, of which those measure that have a time to begin at: for 10 s each."""
    columns = {f"net.{index}": made(begin_s, 10) for index, begin_s in enumerate(begun_s)}
    run = make_run(recorded=GPU, planned=plan(jobs), columns=columns)
    run.write("net.0", end())
    run.write("net.1", end())
    watched(run, [header(), *gpus(range(61), 0, 1)])
    return run


@pytest.mark.parametrize(
    ("jobs", "begun_s", "seconds", "per_unit"),
    [
        pytest.param(COPIES, (5, 5), 10.0, 0.5, id="two copies of a job"),
        pytest.param(COPIES, (5, 10), 15.0, 0.75, id="copies that overlap in part"),
        pytest.param(COPIES, (5, 30), 20.0, 1.0, id="copies one after the other"),
        pytest.param(TOGETHER, (5,), 10.0, 1.0, id="a client and its server, or a sequence"),
    ],
)
def test_the_energy_of_a_device_that_several_use_counts_once(
    make_run: MakeRun, jobs: Any, begun_s: tuple[float, ...], seconds: float, per_unit: float
) -> None:
    found = only(using(make_run, jobs, *begun_s))
    assert found.energy is not None
    assert found.energy.parts == {"0": pytest.approx(100.0 * seconds)}
    assert [found.energy.joules, found.energy.seconds] == pytest.approx([100.0 * seconds, seconds])
    assert found.energy_per_unit == pytest.approx(per_unit)


def test_a_device_of_its_own_beside_one_that_is_shared_counts_too(make_run: MakeRun) -> None:
    jobs = {"net": [[("net.0", "local", (0, 1)), ("net.1", "local", (0,))]]}
    energy = only(using(make_run, jobs, 5, 5)).energy
    assert energy is not None
    assert energy.parts == {"0": pytest.approx(1000.0), "1": pytest.approx(1000.0)}


@pytest.mark.parametrize(
    ("jobs", "begun_s", "corrected", "uncorrected"),
    [
        (COPIES, (5, 5), 10, 1),
        (COPIES, (5, 10), 10, 1),
        (COPIES, (5, 30), 20, 1),
        (TOGETHER, (5,), 10, 1),
    ],
)
def test_an_error_of_a_device_that_several_use_is_one(
    make_run: MakeRun, jobs: Any, begun_s: tuple[float, ...], corrected: int, uncorrected: int
) -> None:
    run = using(make_run, jobs, *begun_s)
    lines = [header()]
    for t in range(61):
        lines.append(sample(t, devices=[device(0, t, ecc={"corrected": t, "uncorrected": int(t > 12)})]))
    watched(run, lines)
    ecc = only(run).trust.ecc
    assert ecc is not None
    assert (ecc.corrected, ecc.uncorrected) == (corrected, uncorrected)


def test_errors_of_several_devices_are_added_up(make_run: MakeRun) -> None:
    run = using(make_run, {"net": [[("net.0", "local", (0, 1))], [("net.1", "local", (1,))]]}, 5, 5)
    lines = [header()]
    for t in range(61):
        several = [device(each, t, ecc={"corrected": t, "uncorrected": each * t}) for each in (0, 1)]
        lines.append(sample(t, devices=several))
    watched(run, lines)
    ecc = only(run).trust.ecc
    assert ecc is not None
    assert (ecc.corrected, ecc.uncorrected) == (20, 10)


def test_a_process_that_is_shown_no_device_has_none(make_run: MakeRun) -> None:
    """Its variable is there and empty; what counts is what its server's device takes."""
    jobs = {"net": [[("net.0", "local", ()), ("net.1", "local", (0,))]]}
    run = using(make_run, jobs, 5)
    assert run.planned is not None
    run.planned = _selected(run.planned)
    found = only(run)
    assert [process.surroundings.shown for process in found.processes] == [frozenset(), {"0"}]
    assert found.energy is not None
    assert found.energy.joules == pytest.approx(1000.0)


def _selected(planned: Plan) -> Plan:
    """Return a plan whose commands are shown their devices by the variable for it."""
    (trial,) = planned.trials
    (job,) = trial.jobs
    commands = tuple(
        replace(command, env={"CUDA_VISIBLE_DEVICES": ",".join(map(str, command.devices))}) for command in job.commands
    )
    return replace(planned, trials=(replace(trial, jobs=(replace(job, commands=commands),)),))
