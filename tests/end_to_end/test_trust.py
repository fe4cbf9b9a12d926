"""A real run says how far its numbers are to be trusted: by its processes' own account and its node's monitor."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import OBSERVED, Project, folder


def test_a_run_says_what_its_numbers_were_measured_under(project: Project) -> None:
    project.write("spin/main.py", OBSERVED.replace("20_000", "200_000"))  # so long that the kernel's counters say much
    project.suite(spin=folder("spin", stop=200))
    assert project.verb("install").code == 0
    shown = project.verb("run")
    assert shown.code == 0, shown.err
    found = project.report()["spin"]
    (process,) = found["processes"]
    begin_ns, end_ns = process["window_ns"]
    evidence = process["evidence"]
    assert evidence["window_s"] == pytest.approx((end_ns - begin_ns) / 1e9)
    assert 0 < evidence["cpu_share"] <= 1.2
    assert evidence["involuntary_per_s"] >= 0
    assert 0 < process["overhead_ns"] < 1e6
    assert found["overhead_share"] == process["overhead_share"]
    assert (found["throughput"]["n"], found["step_s"]["n"]) == (200, 200)
    assert found["step_s"]["min"] <= found["step_s"]["p50"]["value"] <= found["step_s"]["max"]
    assert found["step_s"]["p99"]["value"] is None  # of 200 steps
    assert found["throughput"]["value"] == pytest.approx(8 / found["step_s"]["mean"]["value"])
    assert "how far to trust these numbers" in shown.out
    assert f" {found['verdict']['word']} " in shown.out
    if Path("/proc/pressure/cpu").exists():
        assert 0 <= evidence["pressure_share"] <= 1
        assert 0 <= evidence["others_share"] <= 1
        assert found["noise"]["verdict"] in ("quiet", "noisy"), found["noise"]


UNEVEN = """
    import time
    from benchmate.observe import Observer

    observer = Observer(unit="items")
    for number, batch in enumerate(observer.iterate([[0] * 8] * 100_000)):
        time.sleep(0.03 if number % 7 in (0, 3) else 0.003)
"""


def test_the_rate_shown_is_work_over_time_and_a_damaged_monitor_is_told(project: Project) -> None:
    project.write("nap/main.py", UNEVEN)
    project.suite(nap=folder("nap", stop={"precision": "1%", "seconds": 0.5}))
    assert project.verb("install").code == 0
    shown = project.verb("run")
    assert shown.code == 0, shown.err
    found = project.report()["nap"]
    assert found["rate"] == found["throughput"]
    assert found["perf"] > 1.5 * found["rate"]["value"]
    told = " ".join(shown.out.split())
    assert "it counts the mean of its steps' rates" in told
    assert "precision: asked for ±1.0 %, ended" in told
    assert "by its seconds" in told
    (watched,) = project.run().path.glob("*.monitor.jsonl")
    watched.write_bytes(b"")
    again = project.milabench("report")
    assert f"{watched.name} is empty" in again.out
    assert "not known: its monitor file is empty" in " ".join(again.out.split())


INFERRED = """
    import time
    from benchmate.session import Session, Target

    result = Session(Target(infer=lambda: time.sleep(0.0005), items=4, unit="samples")).run()
    print("found", result.n, result.stop["reason"])
"""


@pytest.mark.parametrize(
    ("stop", "reason"), [(400, "observations"), ({"seconds": 0.4}, "seconds"), ({"precision": "50%"}, "precision")]
)
def test_inferences_end_as_the_suite_says_and_their_latency_is_told(
    project: Project, stop: object, reason: str
) -> None:
    project.write("ask/main.py", INFERRED)
    project.suite(ask=folder("ask", stop=stop))
    assert project.verb("install").code == 0
    shown = project.verb("run")
    assert shown.code == 0, shown.err
    found = project.report()["ask"]
    (process,) = found["processes"]
    assert (found["outcomes"], process["task"]) == ({"early_stop": 1}, "infer")
    assert found["steps"]["warmup"] > 0
    said = project.run().files(process["tag"]).stdout.read_text()
    assert said == f"found {found['steps']['measured']} {reason}\n"  # the script goes on when the Session has enough
    assert found["step_s"]["p50"]["value"] >= 0.0005
    assert 0 < process["overhead_ns"] < 1e6
    told = " ".join(shown.out.split())
    assert "latency of an inference ask p50" in told
