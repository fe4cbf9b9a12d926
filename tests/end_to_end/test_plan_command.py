"""``plan``, ``check`` and ``list`` tell what would happen and change nothing; golden files pin what they tell."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness import OBSERVED, Project
from milabench.resources import benchmate_sources, data_root

GOLDEN = Path(__file__).parent.parent / "golden"
UPDATE = os.environ.get("UPDATE_GOLDEN") == "1"
# One of each: a program, a folder per device, copies that share the devices, a matrix, what cannot run here.
SUITE = """
    _train:
      definition: plain
      install_group: torch
      plan: {method: per_gpu}
      voir: {options: {stop: 30, skip: 3}}

    copy:
      plan: {method: njobs, n: 1}
      command: {argv: [sh, copy.sh, 64M], cwd: plain, env: {KIND: copy}}

    train:
      inherits: _train
      max_duration: 2m
      argv: {--workers: '{n_worker}', --data: '{milabench_data}/images', --quiet: true}
      env: {THREADS: '3'}

    shares:
      inherits: _train
      plan: {method: njobs, n: 2, share: true}

    sweep:
      matrix:
        size: [8, 16]
      job:
        name: 'sweep-{size}'
        inherits: _train
        plan: {method: per_node}
        argv: {--size: '{size}', --device: '{device_name}'}

    many:
      inherits: _train
      requires_capabilities: ['gpu["count"] >= 8']

    far:
      inherits: _train
      num_machines: 2
"""
SHAPE = ("--arch", "cuda", "--gpus", "2", "--cpus", "16", "--gpu-memory", "80GiB")
KEYS = {"version", "phase", "trials", "skipped", "configs", "node_configs", "notes", "time_bound_s"}


@pytest.fixture
def small(project: Project) -> Project:
    project.write("suite.yaml", SUITE)
    project.write("plain/main.py", OBSERVED)
    project.write("plain/requirements.in", "numpy\n")
    project.write("plain/prepare.py", "")
    return project


def golden(small: Project, text: str, name: str) -> None:
    """Compare with a golden file, which `make golden` writes anew; what differs between machines is named."""
    text = text.replace(str(small.folder), "<project>").replace(sys.executable, "<python>")
    text = re.sub(r"[^\s=']*/bin/uv\b", "<uv>", text)
    text = text.replace(str(benchmate_sources()), "<benchmate>")
    text = re.sub(r"(/prepared/[^/]+)\.[0-9a-f]{16}\.json", r"\1.<argv>.json", text)
    text = re.sub(r"benchmate-[0-9.]+\+[0-9a-f]{12}", "benchmate-<version>", text)
    text = text.replace(str(data_root() / "constraints"), "<constraints>")
    text = re.sub(r"/constraints/[0-9a-f]{16}", "/constraints/<hash>", text)
    path = GOLDEN / name
    if UPDATE:
        path.write_text(text)
    assert text == path.read_text(), f"{path.name} differs: look at it, and write it anew with `make golden`"


@pytest.mark.parametrize("form", ["text", "sh"])
@pytest.mark.parametrize("phase", ["install", "prepare", "run"])
def test_the_plan_of_a_described_machine_is_as_pinned(small: Project, phase: str, form: str) -> None:
    done = small.verb("plan", *SHAPE, "--phase", phase, "--format", form)
    assert (done.code, done.err) == (0, "")
    golden(small, done.out, f"plan-{phase}.{'txt' if form == 'text' else 'sh'}")


@pytest.mark.parametrize("phase", ["install", "prepare", "run"])
def test_the_plan_of_several_described_machines_is_as_pinned(small: Project, phase: str) -> None:
    done = small.verb("plan", *SHAPE, "--nodes", "2", "--select", "sweep-8 or far", "--phase", phase)
    assert (done.code, done.err) == (0, "")
    golden(small, done.out, f"plan-{phase}-nodes.txt")


@pytest.mark.parametrize(
    "arguments",
    [
        *(
            ("plan", "--phase", phase, "--format", form)
            for phase in ("install", "prepare", "run")
            for form in ("json",)
        ),
        ("plan", "--format", "sh"),
        ("plan", *SHAPE),
    ],
    ids=" ".join,
)
def test_planning_changes_nothing(small: Project, arguments: tuple[str, ...]) -> None:
    before = small.tree()
    assert small.verb(*arguments).code == 0
    assert small.tree() == before
    assert not small.base.exists()


def test_the_json_plan_has_its_documented_keys(small: Project) -> None:
    plan = small.verb("plan", *SHAPE, "--format", "json").json
    assert set(plan) >= KEYS
    assert (plan["version"], plan["phase"]) == (1, "run")
    assert [trial["benchmark"] for trial in plan["trials"]] == ["copy", "train", "shares", "sweep-8", "sweep-16"]
    tags = {job["tag"]: [each["tag"] for each in job["commands"]] for trial in plan["trials"] for job in trial["jobs"]}
    assert tags["train"] == ["train.D0", "train.D1"]
    assert tags["shares"] == ["shares.0", "shares.1"]
    reasons = {skip["benchmark"]: skip["reason"] for skip in plan["skipped"]}
    assert reasons == {"many": 'requires gpu["count"] >= 8', "far": "needs 2 machines, the system has 1"}
    train = plan["trials"][1]["jobs"][0]
    assert (train["deadline_s"], train["limit"]["observations"], train["limit"]["skip"]) == (120.0, 30, 3)
    first = train["commands"][0]
    assert first["argv"][2:] == ["--workers", "8", "--data", f"{small.base}/data/images", "--quiet"]
    assert (first["env"]["CUDA_VISIBLE_DEVICES"], first["env"]["THREADS"]) == ("0", "3")
    assert first["env"]["OMP_NUM_THREADS"] == "8"


def test_the_plan_of_a_run_is_the_one_that_plan_prints(small: Project) -> None:
    small.verb("run", "--select", "copy", "--override", "copy.command.argv=['true']")
    printed = small.verb("plan", "--select", "copy", "--override", "copy.command.argv=['true']", "--json").json
    assert json.loads(small.run().plan_path.read_text()) == printed


def test_json_and_format_json_are_the_same(small: Project) -> None:
    assert small.verb("plan", *SHAPE, "--json").out == small.verb("plan", *SHAPE, "--format", "json").out


def test_each_device_of_a_described_machine_gets_its_process(small: Project) -> None:
    plan = small.verb("plan", "--arch", "rocm", "--gpus", "8", "--select", "train", "--json").json
    commands = plan["trials"][0]["jobs"][0]["commands"]
    assert [command["env"]["ROCR_VISIBLE_DEVICES"] for command in commands] == list("01234567")


def test_the_shell_form_is_a_script_that_a_shell_can_read(small: Project) -> None:
    script = small.verb("plan", *SHAPE, "--format", "sh").out
    subprocess.run(["sh", "-n"], input=script, text=True, check=True, timeout=30)


def test_list_names_what_would_run(small: Project) -> None:
    rows = small.verb("list", "--json").json["benchmarks"]
    assert [row["name"] for row in rows] == ["copy", "train", "shares", "sweep-8", "sweep-16", "many", "far"]
    assert small.verb("list", "--select", "sweep-*").out.count("\n") == 2


def test_help_and_version_answer_without_a_suite(project: Project) -> None:
    for arguments in (["--help"], ["run", "--help"], ["--version"], *([verb, "--help"] for verb in ("plan", "report"))):
        done = project.milabench(*arguments)
        assert (done.code, done.err) == (0, "")
