"""Runs that are put together: repeats of one set-up, runs of several, and what no run has begun."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from summary_fakes import MakeRun, end, plan, rates

from milabench.summary import Missing, summarize
from milabench.summary.areas import set_ups

GPU = {"name": "night", "started": "2030-01-01", "system": {"arch": "cuda"}}


def test_runs_are_pooled_as_repeats(make_run: MakeRun) -> None:
    names = {"net": [[("net", "local", (0,))]], "rare": [[("rare", "local", (0,))]]}
    runs = [make_run(str(index), recorded=GPU, planned=plan(names)) for index in range(3)]
    for index, run in enumerate(runs):
        run.write("net", *rates(10 + index), end(seconds=4.0))
    runs[1].write("rare", *rates(3), end())
    summary = summarize(runs)
    net, rare = summary.benchmarks
    assert (net.n, net.perf, net.seconds, rare.n, summary.missing) == (3, 11.0, 12.0, 1, ())
    assert (net.interval.method, net.interval.value) == ("repeats", 11.0)
    assert [run.path for run in summary.runs] == [str(run.path) for run in runs]


def test_runs_of_different_set_ups_are_pooled_with_a_warning(make_run: MakeRun) -> None:
    def facts(**system: object) -> dict[str, object]:
        return {**GPU, "system": {**GPU["system"], "hostname": "a", **system}, "environments": {"torch": ["torch==1"]}}

    first, same = (make_run(name, recorded=facts()) for name in ("first", "same"))
    other = make_run("other", recorded={**facts(hostname="b"), "environments": {"torch": ["torch==2"]}})
    for run in (first, same, other):
        run.write("a.D0", *rates(1), end())
    assert not [told for told in summarize([first, same]).warnings if "set-ups" in told]
    (told,) = [told for told in summarize([first, other]).warnings if "set-ups" in told]
    assert "(machine: hostname a, b; environment torch: torch 1, 2)" in told


def test_runs_of_other_benchmarks_are_not_repeats_and_lists_of_nodes_stay_apart(make_run: MakeRun) -> None:
    node = {"hostname": "vm", "memory_bytes": 2**37}
    runs = []
    for name, count in (("a", 1), ("b", 2)):
        nodes = {f"n{number}": node for number in range(count)}
        runs.append(make_run(name, recorded={**GPU, "nodes": nodes, "system": {**GPU["system"], **node}}))
        runs[-1].write(f"{name}.D0", *rates(1), end())
    (told,) = [told for told in summarize(runs).warnings if "set-ups" in told]
    shown = "hostname vm / vm, vm; memory 128.0 GiB / 128.0 GiB, 128.0 GiB"
    assert told == f"the runs are of different set-ups (machine: {shown}): so are the benchmarks that the score is of"
    runs[1].write("a.D0", *rates(1), end())
    (told,) = [told for told in summarize(runs).warnings if "set-ups" in told]
    assert told.startswith("the pooled runs are of different set-ups")


def test_what_no_run_has_begun_is_missing_and_counts_nothing(make_run: MakeRun) -> None:
    run = make_run("run", recorded=GPU)
    run.write("a.D0", *rates(3), end())
    waiting = Missing(benchmark="b", outcome="lost", reason="lost: its job waits", weight=1.0, enabled=True)
    summary = summarize(run, [waiting, replace(waiting, benchmark="a")])
    assert summary.missing == (waiting,)
    assert summary.score["milabench"] == pytest.approx(2.0)  # exp of half of ln(3 + 1)


def test_a_run_whose_node_was_replaced_says_so_and_is_of_another_set_up(make_run: MakeRun) -> None:
    nodes = {name: {"hostname": name, "cpus": 4} for name in ("n1", "n2", "n4")}
    moved = {**GPU, "nodes": nodes, "replaced": [{"node": "n2", "by": "n4", "time": 1764460800.0}]}
    first = make_run("first", recorded=moved)
    other = make_run("other", recorded={**GPU, "nodes": {name: nodes[name] for name in ("n1", "n2")}})
    for run in (first, other):
        run.write("a.D0", *rates(1), end())
    assert "n4 took the place of n2 on 2025-11-30 00:00:00 UTC: jobs begun after that ran there" in [
        *summarize(first).warnings
    ]
    (told,) = [told for told in summarize([first, other]).warnings if "set-ups" in told]
    assert "machine: hostname n1, n2, n4 / n1, n2" in told


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({"code": {"/src/net": "aaaa"}}, "code: net aaaa, bbbb"),
        ({"system": {"hostname": "a", "memory_bytes": 2**37}}, "machine: memory 128.0 GiB, 256.0 GiB"),
        ({"python": "3.11"}, "software: python 3.11, 3.12"),
        ({"environments": {"torch": []}}, "environment torch: torch none, 2"),
        ({"environments": {"torch": [f"p{number}==1" for number in range(99)]}}, "environment torch"),
        (
            {"container": {"executable": "podman", "image": "i:1", "args": []}},
            "container: image i:1, none; program podman, none",
        ),
        ({"environments": {}}, None),
        ({"conditions": [{"code": "machine-busy"}]}, None),
    ],
)
def test_pooled_runs_are_compared_as_two_runs_are(facts: dict[str, Any], told: str | None) -> None:
    known = {
        "milabench": "1",
        "python": "3.12",
        "system": {"hostname": "a", "memory_bytes": 2**38},
        "code": {"/other/net": "bbbb"},
        "environments": {"torch": ["torch==2"]},
        "container": None,
    }
    assert list(set_ups([{**known, **facts}, known, known])) == ([told] if told else [])
