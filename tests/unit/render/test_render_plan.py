"""A plan as text: short where processes are alike, and no value of it is lost."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from milabench.agent.container import Container
from milabench.plan.types import Command, Job, Once, Plan, Skip, Staged, Trial
from milabench.render.plan import render
from milabench.suite.types import Limit

TEXT = """\
run: 2 trials, 3 processes, at most 11 min (660 s)

in every process
    LANG=C

train (2 processes, ended after 600 s at the latest)
    ends itself after 60 observations, 5 observations of warm-up not counted
    /base/code/train from /suite/train
    $ python main.py 'a b'
    in /base/code/train
    KIND='two words'
    HF_TOKEN from your environment
  train.D0 on node0, device 0: GPU=0
  train.D1 on node0, device 1: GPU=1

copy.R1 (ended after 60 s at the latest)
    is ended after 10 observations or 30 s, 0 observations of warm-up not counted
    $ sh copy.sh
    in /suite
    KIND=copy
  copy on node0, devices 0,1, metrics on its output

skipped far: needs 2 machines, the system has 1
"""


def command(tag: str, *devices: int, argv: tuple[str, ...] = ("python", "main.py", "a b"), **own: str) -> Command:
    env = {"LANG": "C", "KIND": "two words", **own}
    return Command(
        tag=tag, benchmark="train", node="node0", argv=argv, cwd="/base/code/train", devices=devices, env=env
    )


COPY = replace(command("copy", 0, 1, argv=("sh", "copy.sh"), KIND="copy"), metrics="stdout", cwd="/suite")
JOB = Job(
    tag="train",
    commands=(command("train.D0", 0, GPU="0"), command("train.D1", 1, GPU="1")),
    deadline_s=600.0,
    staged=(Staged(source="/suite/train", target="/base/code/train"),),
    secrets=("HF_TOKEN",),
)
COPYING = Job(
    tag="copy",
    commands=(COPY,),
    deadline_s=60.0,
    stop="runner",
    limit=Limit(skip=0, observations=10, seconds=30.0),
)


def plan(*jobs: Job) -> Plan:
    return Plan(phase="run", trials=(Trial(benchmark="train", jobs=jobs),))


def test_what_processes_share_is_said_once() -> None:
    trials = (Trial(benchmark="train", jobs=(JOB,)), Trial(benchmark="copy", jobs=(COPYING,), repeat=1))
    skipped = (Skip(benchmark="far", reason="needs 2 machines, the system has 1"),)
    assert render(Plan(phase="run", trials=trials, skipped=skipped)) == TEXT


COMMAND_CHANGES: list[dict[str, Any]] = [
    {"tag": "other"},
    {"node": "node1"},
    {"argv": ("python", "main.py", "a", "b")},
    {"cwd": "/elsewhere"},
    {"rank": 1},
    {"devices": (1,)},
    {"env": {"LANG": "C", "KIND": "two words", "GPU": "7"}},
    {"env": {"LANG": "C", "GPU": "0"}},
    {"metrics": "none"},
    {"metrics": "stdout"},
    {"service": True},
    {"container": Container(executable="podman", image="i", base="/base")},
    {"container": Container(executable="podman", image="i", base="/base", args=("-v", "/d:/d"))},
    {"container": Container(executable="podman", image="i", base="/base", folders=("/f",))},
    {"container": Container(executable="podman", image="i", base="/base", digest="sha256:1")},
    {"container": Container(executable="podman", image="i", base="/base", arch="cuda")},
    {"container": Container(executable="docker", image="i", base="/base")},
]
JOB_CHANGES: list[dict[str, Any]] = [
    {"commands": JOB.commands[:1]},
    {"deadline_s": 601.0},
    {"deadline_s": None},
    {"stop": "runner"},
    {"limit": Limit(skip=6)},
    {"limit": Limit(observations=61)},
    {"limit": Limit(seconds=60.0)},
    {"limit": Limit(precision=0.02)},
    {"limit": Limit(precision=0.0205)},
    {"limit": Limit(observations=None)},
    {"sequence": True},
    {"once": Once(record="/base/record", folder=None, base={}, parts={})},
    {"once": Once(record="/base/record", folder=None, base={}, parts={}, always=True)},
    {"staged": ()},
    {"staged": (replace(JOB.staged[0], fresh=True),)},
    {"secrets": ()},
]


def test_no_value_of_a_process_is_lost() -> None:
    first, second = JOB.commands
    jobs = [replace(JOB, commands=(replace(first, **change), second)) for change in COMMAND_CHANGES]
    texts = {render(plan(job)) for job in (JOB, *jobs)}
    assert len(texts) == len(COMMAND_CHANGES) + 1


def test_no_value_of_a_job_is_lost() -> None:
    texts = {render(plan(job)) for job in (JOB, *(replace(JOB, **change) for change in JOB_CHANGES))}
    assert len(texts) == len(JOB_CHANGES) + 1


@pytest.mark.parametrize("field", ["phase", "skipped", "notes"])
def test_no_value_of_a_plan_is_lost(field: str) -> None:
    other: dict[str, Any] = {
        "phase": "prepare",
        "skipped": (Skip(benchmark="a", reason="b"),),
        "notes": ("a.in",),
    }
    assert render(replace(plan(JOB), **{field: other[field]})) != render(plan(JOB))


def test_jobs_of_one_trial_are_told_apart_and_a_sequence_is_named() -> None:
    text = render(plan(JOB, replace(JOB, sequence=True)))
    assert "train (job 1 of 2, 2 processes, ended" in text
    assert "train (job 2 of 2, 2 processes, one after the other, ended" in text
