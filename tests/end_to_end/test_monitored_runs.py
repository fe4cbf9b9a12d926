"""Runs with their monitor: the file is there with what really happened, and nothing is left over."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from hardware import nvml_file
from harness import PRINTER, Project, shell, wait_until
from milabench.agent.monitor import samples

BUSY = 'i=0; while [ $i -lt 400000 ]; do i=$((i+1)); done; times > times; echo \'{"count": 1, "unit": "items"}\''
NVIDIA = "0, GPU-6b1c7f0a-0d5e-4a4e-0, NVIDIA H100 80GB HBM3, 81559, 550.54.15, 1, 00000000:18:00.0, 96.00.89.00.01"


def lines(project: Project, event: str = "sample") -> list[dict[str, Any]]:
    path = project.run().monitor_path("local")
    return [line for line in samples.lines(path) if line["event"] == event] if path.exists() else []


def grown(project: Project, name: str) -> float:
    found = lines(project)
    return float(found[-1]["data"]["cpu"][name] - found[0]["data"]["cpu"][name])


def test_the_time_of_a_busy_benchmark_is_ours(project: Project) -> None:
    project.suite(busy=shell(f"cd {project.folder}; {BUSY}", stop=1, skip=0))
    assert project.verb("run").code == 0
    used = (project.folder / "times").read_text().split()[:2]  # of the shell itself: user, system
    used_s = sum(float(minutes) * 60 + float(s) for minutes, s in (word.rstrip("s").split("m") for word in used))
    assert used_s * 0.9 - 0.05 <= grown(project, "ours_s") <= used_s + 1.0
    assert grown(project, "busy_s") >= grown(project, "ours_s") - 0.1
    (header,) = lines(project, "monitor")
    assert (header["data"]["node"], header["data"]["interval_s"]) == ("local", 1)
    assert header["data"]["cores"] == os.cpu_count()


def test_the_samples_surround_what_was_measured(project: Project) -> None:
    project.suite(printer=shell(PRINTER))
    assert project.verb("run").code == 0
    run = project.run()
    rates = [each.time_ns for each in run.events("printer") if each.event in ("start", "end") and each.time_ns]
    times = [line["time_ns"] for line in lines(project)]
    assert times[0] <= min(rates)
    assert times[-1] >= max(rates) - 1_000_000_000  # the end is written when the process is gone
    assert len(times) >= 3


def test_every_run_has_its_own_and_a_report_is_not_changed_by_it(project: Project) -> None:
    project.suite(printer=shell(PRINTER))
    assert project.verb("run").code == 0
    assert project.run().tags() == ("printer",)
    assert set(project.run().monitor_paths()) == {"local"}
    assert project.report()["printer"]["n"] == 1


def test_without_an_interval_there_is_none(project: Project) -> None:
    project.suite(printer=shell(PRINTER))
    assert project.verb("run", "--override", "system.options.monitor.interval=0").code == 0
    assert project.run().monitor_paths() == {}


def test_a_killed_runner_leaves_no_monitor_and_a_file_that_can_be_read_and_gone_on_with(project: Project) -> None:
    endless = 'while true; do echo \'{"count": 1, "unit": "items"}\'; sleep 0.05; done'
    project.suite(one=shell(PRINTER), two=shell(endless, stop=30))
    with project.started("run", "--config", "suite.yaml") as runner:
        wait_until(lambda: (project.base / "runs").is_dir() and list((project.base / "runs").glob("*/two.data")))
        os.kill(runner.pid, signal.SIGKILL)
        runner.wait()
        wait_until(lambda: not project.processes())
    assert len(lines(project, "monitor")) == 1
    before = len(lines(project))
    assert before >= 3
    assert project.milabench("resume").code == 0
    assert len(lines(project, "monitor")) == 2
    assert len(lines(project)) > before
    assert project.run().journal().state == "complete"


def test_devices_of_a_run_are_sampled_by_their_numbers_in_it(project: Project, tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    script = (
        f"#!/bin/sh\ncase \"$*\" in *serial*) echo '{NVIDIA}';; *mig.mode*) echo '0, Disabled';; *) exit 2;; esac\n"
    )
    (tools / "nvidia-smi").write_text(script)
    (tools / "nvidia-smi").chmod(0o755)
    library = tmp_path / "library"
    library.mkdir()
    nvml_file(library, "nvml-hopper.json").rename(library / "pynvml.py")
    paths = (str(library), project.environ["PYTHONPATH"])
    project.environ |= {"PATH": f"{tools}:{os.environ['PATH']}", "PYTHONPATH": os.pathsep.join(paths)}
    project.suite(printer=shell(PRINTER, plan={"method": "per_gpu"}))
    done = project.verb("run", "--force")
    assert done.code == 0, done.err
    (device,) = project.run().facts()["system"]["devices"]
    (sampled,) = lines(project)[0]["data"]["devices"]
    assert (sampled["id"], sampled["uuid"]) == (device["id"], device["uuid"])
    assert sampled["power_w"] == 612.345
