"""From the files of a run to its summary: what is counted, pooled, missing, skipped."""

from __future__ import annotations

import math
from typing import Any

import pytest
from summary_fakes import MakeRun, end, plan, rates, steps

from milabench.errors import RunDirError
from milabench.outcome import Outcome
from milabench.summary import BenchmarkSummary, Losses, Memory, Missing, Summary, summarize

GPU = {"name": "night", "started": "2030-01-01", "system": {"arch": "cuda"}}


def only(summary: Summary) -> BenchmarkSummary:
    (found,) = summary.benchmarks
    return found


def test_two_devices_are_summed_and_their_rates_pooled(make_run: MakeRun) -> None:
    jobs = {"net": [[("net.D0", "local", (0,))], [("net.D1", "local", (1,))]]}
    run = make_run(recorded=GPU, planned=plan(jobs, net={"matrix": {"size": 8, "pair": [1, 2]}}))
    memory = ("data", {"task": "main", "memory_peak_bytes": 2**30, "source": "torch"})
    run.write("net.D0", *rates(1, task="warmup"), *rates(9, 10, 11), memory, end(max_rss_bytes=2**33))
    run.write("net.D1", *rates(1, task="warmup"), *rates(19, 20, 21), end("early_stop", seconds=3.0))
    summary = summarize(run)
    found = only(summary)
    assert (found.n, found.failed, found.outcomes) == (2, 0, {"ok": 1, "early_stop": 1})
    assert (found.perf, found.unit, found.score) == (15.0, "items/s", 30.0)  # of 10, 11, 19, 20 and of both devices
    assert found.std == pytest.approx(math.sqrt(20.5))
    assert found.sem == pytest.approx(math.sqrt(20.5) / 2)
    assert (found.ngpu, found.devices, found.memory) == (1, (0, 1), Memory(peak_bytes=2**30, source="device"))
    assert (found.warmup_steps, found.measured_steps, found.seconds) == (2, 6, 3.0)
    assert (found.weight, found.enabled, found.labels) == (1.0, True, {"size": "8", "pair": "1,2"})
    assert summary.score == {"milabench": pytest.approx(31.0)}
    assert (summary.runs[0].name, summary.runs[0].started, summary.warnings) == ("night", "2030-01-01", ())


def test_steps_are_exact_and_win_over_rate_lines(make_run: MakeRun) -> None:
    run = make_run(columns={"mm": steps((0, 10, 1, 0), (10, 20, 2, 1), (20, 40, 2, 1), unit="FLOP")})
    run.write("mm", *rates(7, 7), end())
    found = only(summarize(run))
    assert list(found.processes[0].rates) == [200.0, 100.0]
    assert (found.unit, found.warmup_steps, found.measured_steps) == ("FLOP/s", 1, 2)


def test_of_several_processes_the_longest_loading_is_told(make_run: MakeRun) -> None:
    run = make_run(columns={tag: steps((0, 10, 1, 1)) for tag in ("a.D0", "a.D1", "a.D2")})
    for tag, told in (("a.D0", 2.5), ("a.D1", 3), ("a.D2", "7")):
        run.write(tag, ("measured", {"task": "infer", "steps": 1, "load_s": told}), end())
    found = only(summarize(run))
    assert sorted(process.speed.load_s or 0 for process in found.processes) == [0, 2.5, 3]
    assert found.speed.load_s == 3


def test_of_a_process_that_came_no_further_than_warm_up_that_is_told(make_run: MakeRun) -> None:
    run = make_run(columns={"mm": steps((0, 10, 1, 0), (10, 20, 2, 0), unit="images")})
    run.write("mm", *rates(7, 7, task="warmup"), end("timeout"))
    found = only(summarize(run))
    (process,) = found.processes
    assert (found.warmup_steps, found.measured_steps, found.perf) == (2, 0, None)
    assert (process.warmup, process.unit, process.speed.first_s, process.speed.times) == (2, "images/s", 0.01, None)


@pytest.mark.parametrize("counts", [(0, 0), (3, -7)])
def test_steps_that_did_nothing_or_less_are_no_measurement_whatever_the_run_said(
    make_run: MakeRun, counts: tuple[int, int]
) -> None:
    run = make_run(columns={"mm": steps((0, 10, counts[0], 1), (10, 20, counts[1], 1)), "b": steps((0, 10, 0, 0))})
    run.write("mm", *rates(-7), end())
    run.write("b", end())  # of warm-up nothing is asked
    first, second = sorted(summarize(run).benchmarks, key=lambda each: each.n - each.failed)
    assert (first.perf, first.score, first.failed, first.measured_steps) == (None, 0.0, 1, 0)
    assert first.failures[0].reason.startswith("count is not above 0: ")
    assert second.failed == 0


def test_a_killed_run_is_reported_from_its_steps_and_the_journal(make_run: MakeRun) -> None:
    columns = {"a": steps((0, 10, 1, 1)), "b": steps((0, 10, 1, 1))}
    run = make_run(columns=columns, journal={"a": Outcome(kind="timeout", reason="reached max_duration")})
    for tag in columns:
        run.write(tag)
    first, second = summarize(run).benchmarks
    assert (first.perf, first.failures[0].outcome, first.failures[0].reason) == (
        100.0,
        "timeout",
        "reached max_duration",
    )
    assert (second.failed, second.failures[0].outcome) == (1, "lost")
    assert second.failures[0].reason.startswith("its end was not recorded")


def test_memory_is_the_hosts_where_no_device_is_known(make_run: MakeRun) -> None:
    run = make_run()
    run.write("net", *rates(1), end(max_rss_bytes=123))
    assert only(summarize(run)).memory == Memory(peak_bytes=123, source="host")


def test_on_a_cpu_there_are_no_devices(make_run: MakeRun) -> None:
    run = make_run(recorded={"system": {"arch": "cpu"}}, planned=plan({"net": [[("net.D0", "local", (0,))]]}))
    run.write("net.D0", *rates(5), end())
    found = only(summarize(run))
    assert (found.ngpu, found.devices, found.score) == (0, (), 5.0)


def test_a_job_on_two_nodes_counts_all_its_devices_and_names_them(make_run: MakeRun) -> None:
    jobs = {"net": [[("net.n0", "n0", (0, 1)), ("net.n1", "n1", (0, 1))]]}
    run = make_run(recorded=GPU, planned=plan(jobs))
    run.write("net.n0", *rates(8), end())
    run.write("net.n1", end())
    found = only(summarize(run))
    assert (found.n, found.ngpu, found.devices) == (2, 4, ("n0:0", "n0:1", "n1:0", "n1:1"))


def test_what_is_on_every_node_scores_the_sum_of_its_nodes(make_run: MakeRun) -> None:
    jobs = {"net": [[("net.a", "a", (0, 1))], [("net.b", "b", (0, 1))]]}
    run = make_run(recorded=GPU, planned=plan(jobs, {"net": "not on c: requires gpu.count > 1"}))
    for tag, rate in (("net.a", 10), ("net.b", 30)):
        node = tag.split(".")
        config = {"name": "net", "plan": {"method": "per_node", "n": 1}, "tag": node, "device": 0, "devices": [0, 1]}
        run.write(tag, *rates(rate, rate), end(), config=config)
    summary = summarize(run)
    found = only(summary)
    assert (found.perf, found.score, found.ngpu) == (20.0, 40.0, 2)
    assert [(process.tag, process.slot, process.devices) for process in found.processes] == [
        ("net.a", "a", ("a:0", "a:1")),
        ("net.b", "b", ("b:0", "b:1")),
    ]
    assert summary.warnings == ("net: skipped not on c: requires gpu.count > 1",)


def test_losses_are_means_over_processes(make_run: MakeRun) -> None:
    run = make_run()
    for tag, losses in (("net.D0", (4.0, 2.0)), ("net.D1", (6.0, float("nan")))):
        run.write(tag, *(("data", {"task": "train", "loss": loss}) for loss in losses), *rates(1), end())
    summary = summarize(run)
    assert only(summary).losses == Losses(first=5.0, last=4.0, n=4, nan=True)
    assert summary.warnings == ("net: a loss was NaN or infinite",)


@pytest.mark.parametrize(
    ("kind", "counted", "failed"),
    [("ok", 1, 0), ("early_stop", 1, 0), ("skipped", 0, 0), ("timeout", 1, 1), ("failed", 1, 1), ("killed", 1, 1)]
    + [("interrupted", 1, 1), ("lost", 1, 1)],
)
def test_every_outcome_but_three_is_a_failure(make_run: MakeRun, kind: str, counted: int, failed: int) -> None:
    run = make_run()
    run.write("net", *rates(8), end(kind, reason="because"))
    found = only(summarize(run))
    assert (found.n, found.failed, found.outcomes) == (counted, failed, {kind: 1})
    assert [failure.reason for failure in found.failures] == ["because"] * failed
    assert found.score == (None if kind == "skipped" else 8.0 * (1 - failed))


def test_missing_scores_nothing_and_skipped_does_not_count(make_run: MakeRun) -> None:
    names = {name: [[(name, "local", (0,))]] for name in ("there", "gone", "later", "off", "elsewhere")}
    run = make_run(
        planned=plan(
            names,
            {"big": "needs 2 nodes"},
            gone={"weight": 1, "enabled": True},
            later={"weight": 0.5},
            off={"weight": 4, "enabled": False},
            big={"weight": 9},
        ),
        journal={
            "gone": Outcome(kind="failed", reason="no environment: run `milabench install`"),
            "elsewhere": Outcome(kind="skipped", reason="no such device"),
        },
    )
    run.write("there", *rates(15), end())
    summary = summarize(run)
    assert summary.missing == (
        Missing(
            benchmark="gone",
            outcome="failed",
            reason="failed: no environment: run `milabench install`",
            weight=1.0,
            enabled=True,
        ),
        Missing(
            benchmark="later",
            outcome="interrupted",
            reason="interrupted: the run ended before its turn",
            weight=0.5,
            enabled=True,
        ),
        Missing(
            benchmark="off",
            outcome="interrupted",
            reason="interrupted: the run ended before its turn",
            weight=4.0,
            enabled=False,
        ),
    )
    assert {skip.benchmark: skip.reason for skip in summary.skipped} == {
        "big": "needs 2 nodes",
        "elsewhere": "no such device",
    }
    skipped = next(found for found in summary.benchmarks if found.name == "big")
    assert (skipped.n, skipped.perf, skipped.score, skipped.skipped) == (0, None, None, "needs 2 nodes")
    assert skipped.outcomes == {"skipped": 1}
    assert summary.score["milabench"] == pytest.approx(math.exp(math.log(16) / 2.5))


def test_repeats_and_tags_stand_in_the_order_of_the_plan(make_run: MakeRun) -> None:
    jobs: dict[str, Any] = {"z": [[(f"z.D{index}", "local", (index,))] for index in range(11)]}
    run = make_run(recorded=GPU, planned=plan({**jobs, "z.R1": [[("z.R1.D0", "local", (0,))]]}))
    for tag in ("z.R1.D0", "z.D10", "z.D2", "extra.D10", "extra.D2"):
        run.write(tag, *rates(1), end())
    z, extra = summarize(run).benchmarks
    assert [process.tag for process in z.processes] == [*(f"z.D{index}" for index in range(11)), "z.R1.D0"]
    assert [process.repeat for process in z.processes] == [*[(0, 0)] * 11, (0, 1)]
    assert [process.tag for process in extra.processes] == ["extra.D2", "extra.D10"]
    assert z.score == 3.0 * 3 / 12  # D2, D10 and, of the second repeat, D0
    assert (z.n, z.failed, {fail.reason for fail in z.failures}) == (12, 9, {"the run ended before its turn"})


def test_what_makes_numbers_doubtful_is_told(make_run: MakeRun) -> None:
    run = make_run(recorded=GPU)
    run.write("a.D0", *rates(1), end())
    run.write("a.D1", *rates(2, units="B/s"), end(), config={"weight": 3})
    run.write("b", end())
    (run.path / "c.data").write_bytes(b"garbage\n")
    with run.files("b").events.open("ab") as file:
        file.write(b"torn")
    assert summarize(run).warnings == (
        "without its plan what is missing cannot be told: no plan.json",
        "c: its .data file holds nothing of a process and was left out (1 damaged lines)",
        "a: its processes count in different units (B/s, items/s): its rate means nothing",
        "a: its weight differs between processes; the last one's, 3, counts",
        "b: 1 lines of its .data file are no events and were left out",
        "b: it ended well but no rate was measured; its score is 0",
    )


def test_rates_in_two_units_are_not_put_together_and_told(make_run: MakeRun) -> None:
    run = make_run()
    refused = ("line", {"line": "{}", "why": "rates are in images/s"})
    run.write("a", *rates(3, 3, units="images/s"), *rates(3000, units="bytes/s"), refused, end())
    summary = summarize(run)
    assert (summary.benchmarks[0].perf, summary.benchmarks[0].unit) == (3, "images/s")
    look = "lines that it printed look like metrics and are none: its .data file says why"
    assert set(summary.warnings) >= {
        "a: 1 rates are not in images/s (bytes/s) and were left out",
        f"a: 1 {look} (the first: rates are in images/s)",
    }


def test_who_ran_beside_whom_and_what_had_changed_is_told(make_run: MakeRun) -> None:
    changed = [{"driver": "1 → 2"}]
    run = make_run(recorded={**GPU, "changed": changed}, met={"a": ("b",), "a.R1": ("c",)}, planned=plan(TWICE))
    for tag in ("a.D0", "a.R1.D0"):
        run.write(tag, *rates(1), end())
    found = summarize(run)
    assert [process.neighbours for process in found.benchmarks[0].processes] == [("b",), ("c",)]
    assert found.warnings == (
        "the run was resumed although this had changed: driver: 1 → 2",
        "a: ran beside b, c, on other devices of the same machine",
    )


TWICE = {name: [[(tag, "local", (0,))]] for name, tag in (("a", "a.D0"), ("a.R1", "a.R1.D0"))}


def test_no_run_is_the_users_mistake() -> None:
    with pytest.raises(RunDirError, match="no run to report"):
        summarize([])


# Runs of milabench itself ----------------------------------------------------------------------------------------


def old(code: int) -> tuple[str, object]:
    return ("end", {"command": ["voir"], "time": 15.0, "return_code": code})


@pytest.mark.parametrize(
    ("events", "kind", "reason"),
    [
        ([*rates(1), old(0)], "ok", ""),
        ([old(0)], "failed", "exit code 0, but no rate was measured"),
        ([*rates(1), ("data", {"loss": float("nan")}), old(0)], "failed", "a loss is NaN"),
        ([*rates(1), old(1)], "failed", "exit code 1"),
        ([("error", {"type": "OSError", "message": "full"}), old(1)], "failed", "exit code 1: OSError: full"),
        ([*rates(1), old(-9)], "killed", "signal 9"),
        ([*rates(1), ("stop", None), old(-15)], "early_stop", ""),
    ],
)
def test_a_run_of_milabench_is_judged_as_there(make_run: MakeRun, events: Any, kind: str, reason: str) -> None:
    run = make_run()
    run.write("net.D0", *events)
    (process,) = only(summarize(run)).processes
    assert (process.outcome, process.reason, process.seconds) == (kind, reason, 5.0)


def test_a_run_of_milabench_without_metrics_is_well_when_it_says_so(make_run: MakeRun) -> None:
    run = make_run()
    run.write("net.nolog", old(1))
    assert only(summarize(run)).failed == 0


@pytest.mark.parametrize(
    ("config", "ngpu", "devices", "score"),
    [
        ({"plan": {"method": "per_gpu"}, "device": 1, "devices": [1]}, 1, (1,), 6.0),
        ({"plan": {"method": "per_gpu"}, "device": "1", "devices": ["1"]}, 1, (1,), 6.0),
        ({"plan": {"method": "njobs", "n": 1}, "devices": [0, 1], "num_machines": 2}, 4, (0, 1), 6.0),
        ({}, 1, (), 6.0),
    ],
)
def test_a_run_of_milabench_names_devices_in_its_config(
    make_run: MakeRun, config: dict[str, Any], ngpu: int, devices: tuple[int, ...], score: float
) -> None:
    run = make_run()
    run.write("net.0", *rates(5, 6, 7), old(0), config=config)
    found = only(summarize(run))
    assert (found.ngpu, found.devices, found.score) == (ngpu, devices, score)


def test_a_skip_message_of_milabench_is_a_skip(make_run: MakeRun) -> None:
    run = make_run()
    line = b'{"event": "message", "data": {"message": "Skip big because it needs nodes"}, "pipe": null}\n'
    (run.path / "big.data").write_bytes(line)
    summary = summarize(run)
    assert [(skip.benchmark, skip.reason) for skip in summary.skipped] == [("big", "it needs nodes")]
    assert (summary.score["milabench"], summary.n) == (None, 0)
