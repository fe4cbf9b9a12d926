"""Filling a run and going on with one, on a host without processes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import milabench
from fleets import alone
from milabench.agent.container import Container
from milabench.app import resume as resume_module
from milabench.app.options import Options
from milabench.app.phases import Operation
from milabench.app.resume import Resumed
from milabench.app.run import fill
from milabench.console import Console
from milabench.errors import ExitCode, PreflightError
from milabench.execute import Interrupt
from milabench.execute.hosts import Launch
from milabench.execute.hosts.fake import FakeHost, FakeProcess, Story, exits
from milabench.execute.virtual import VirtualTime
from milabench.follow.run import Watch
from milabench.plan import Command, Job, Plan, Trial
from milabench.record import Record
from milabench.rundir import RunDir

GPU = {"id": 0, "uuid": "GPU-1", "name": "A"}
SYSTEM = {"hostname": "here", "cpus": 4, "arch": "cuda", "devices": [GPU], "driver": "1"}
ENVIRONMENTS = {"torch": ["torch==1", "numpy==2"]}
CODE = {"/suite/one": "0123456789abcdef"}
FACTS = {"started": 1.0, "base": "/base", "system": SYSTEM, "environments": ENVIRONMENTS, "code": CODE}


def trial(name: str) -> Trial:
    command = Command(tag=name, benchmark=name, node="local", argv=("x",), cwd="/")
    return Trial(benchmark=name, jobs=(Job(tag=name, commands=(command,), deadline_s=60.0),))


PLAN = Plan(phase="run", trials=(trial("a"), trial("b"), trial("c")))


class Flaky(FakeHost):
    """Loses what runs when a tag is started for the first time; requests go well after that."""

    def __init__(self, tag: str, script: Callable[[Launch], Story] | None = None) -> None:
        super().__init__(script)
        self._tag: str | None = tag

    async def start(self, launch: Launch) -> FakeProcess:
        process = await super().start(launch)
        if launch.command.tag == self._tag:
            self._tag = None
            await process.stop("lost", 0.0)
        return process


def operation(folder: Path, host: FakeHost) -> Operation:
    options = Options(config=None, base=folder / "base", shape={})
    return Operation(options=options, console=Console(quiet=True), fleet=alone(host), interrupt=Interrupt())


def filled(folder: Path, host: FakeHost, plan: Plan = PLAN) -> tuple[ExitCode, RunDir]:
    time = VirtualTime()
    record = Record.create(folder / "run", plan=plan, facts=FACTS, suite={}, now_ns=time.now_ns)
    return time.run(fill(operation(folder, host), plan, record, lambda _: None)), RunDir(folder / "run")


def test_what_went_with_an_agent_is_run_again_once(tmp_path: Path) -> None:
    host = Flaky("b")
    code, run = filled(tmp_path, host)
    assert (code, run.facts()["state"]) == (ExitCode.OK, "complete")
    assert host.launched == ["a", "b", "c", "b"]
    assert dict(run.journal().attempts) == {"a": 1, "b": 2, "c": 1}
    assert [path.name for path in sorted((run.path / "attempts" / "1").iterdir())] == ["b.jsonl"]


def test_a_run_whose_node_stays_away_is_incomplete(tmp_path: Path) -> None:
    class Gone(FakeHost):
        async def start(self, launch: Launch) -> FakeProcess:
            process = await super().start(launch)
            if launch.command.tag != "a":
                await process.stop("lost", 0.0)
            return process

    code, run = filled(tmp_path, Gone())
    assert (code, run.facts()["state"], run.journal().state) == (ExitCode.FAILED, "incomplete", "incomplete")
    assert {name: outcome.kind for name, outcome in run.outcomes().items()} == {"a": "ok", "b": "lost", "c": "lost"}


def resumed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, host: FakeHost, now: dict[str, Any], **asked: bool
) -> ExitCode:
    work = operation(folder, host)
    host._replies |= {
        "probe": {"facts": {**SYSTEM, **now}},
        "freeze": {"packages": now.pop("environments", ENVIRONMENTS), "code": now.pop("code", CODE)},
    }

    @asynccontextmanager
    async def at_work(*_: object) -> AsyncIterator[Operation]:
        yield work

    monkeypatch.setattr(resume_module, "operation", at_work)
    flow = resume_module.resume(Resumed(name=str(folder / "run"), **asked), work.options, work.console, lambda _: None)
    return VirtualTime().run(flow)


CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "another machine": ({"hostname": "there"}, "hostname: here → there"),
    "another device": ({"devices": [{**GPU, "uuid": "GPU-2"}]}, r"devices: \['GPU-1'\] → \['GPU-2'\]"),
    "another driver": ({"driver": "2"}, "driver: 1 → 2"),
    "another version": (
        {"environments": {"torch": ["torch==2", "numpy==2"]}},
        "environment torch: torch==1 → torch==2",
    ),
    "a package more": ({"environments": {"torch": ["torch==1", "numpy==2", "x==1"]}}, "torch: nothing → x==1"),
    "other code": ({"code": {"/suite/one": "fedcba9876543210"}}, "code /suite/one: 0123456789ab → fedcba987654"),
    "no code": ({"code": {"/suite/one": None}}, "code /suite/one: 0123456789ab → nothing that can be read"),
    "no environment": ({"environments": {}}, "torch: numpy==2, torch==1 → nothing"),
}


def cut_off(folder: Path, state: str | None = None, *, plan: Plan = PLAN, **facts: Any) -> None:
    """Leave a run of which only the first trial has ended, badly; None: its runner did not say how it ended."""
    known = {**FACTS, "milabench": milabench.__version__, **facts}
    record = Record.create(folder / "run", plan=plan, facts=known, suite={})

    async def first() -> None:
        host, only = FakeHost(lambda _: exits(1)), replace(plan, trials=plan.trials[:1])
        await operation(folder, host).carry_out(only, record)

    VirtualTime().run(first())
    if state is not None:
        record.finish(state)
    record.release()


@pytest.mark.parametrize(("now", "told"), CHANGES.values(), ids=CHANGES)
def test_what_has_changed_is_refused_unless_forced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, now: dict[str, Any], told: str
) -> None:
    cut_off(tmp_path)
    host = FakeHost()
    with pytest.raises(PreflightError, match=told):
        resumed(tmp_path, monkeypatch, host, dict(now))
    assert host.launched == []
    assert resumed(tmp_path, monkeypatch, host, dict(now), force=True) == ExitCode.FAILED
    assert host.launched == ["b", "c"]
    assert len(RunDir(tmp_path / "run").facts()["changed"]) == 1


REFUSALS: dict[str, tuple[dict[str, Any], dict[str, Any], bool]] = {
    "another machine": ({"hostname": "there"}, {}, False),
    "what stands in the way": ({}, {"limits": {"nofile": [20, 20]}}, False),
    "of what failed": ({"hostname": "there"}, {}, True),
}


@pytest.mark.parametrize("state", ["incomplete", "killed"])
@pytest.mark.parametrize("refused", REFUSALS.values(), ids=REFUSALS)
def test_a_refused_resume_leaves_a_run_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: tuple[dict[str, Any], dict[str, Any], bool], state: str
) -> None:
    now, conditions, failed = refused
    cut_off(tmp_path, None if state == "killed" else state)
    run = tmp_path / "run"
    before = {path: path.read_bytes() for path in run.iterdir()}
    host = FakeHost(replies={"conditions": {"conditions": conditions}})
    with pytest.raises(PreflightError):
        resumed(tmp_path, monkeypatch, host, dict(now), failed=failed)
    assert {path: path.read_bytes() for path in run.iterdir()} == before
    assert Watch(RunDir(run)).look(0.0).state == state


CONTAINER = Container(executable="podman", image="e.org/i:1", base="/base", digest="sha256:1a")


def in_containers(each: Trial) -> Trial:
    (job,) = each.jobs
    commands = tuple(replace(command, container=CONTAINER) for command in job.commands)
    return replace(each, jobs=(replace(job, commands=commands),))


@pytest.mark.parametrize("digest", ["sha256:1a", "sha256:2b"])
def test_another_image_is_refused_unless_forced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digest: str) -> None:
    was = {"digest": "sha256:1a", "id": "sha256:1", "root": None}
    there = {**was, "digest": digest, "machine": "x86_64", "environ": {}}
    plan = replace(PLAN, trials=tuple(map(in_containers, PLAN.trials)))
    cut_off(tmp_path, plan=plan, container={"executable": "podman", "image": "e.org/i:1", "images": {"local": was}})
    host = FakeHost(replies={"image": {"program": "/usr/bin/podman", "version": "", "image": there, "problem": ""}})
    if digest != was["digest"]:
        with pytest.raises(PreflightError, match="has changed: container image: sha256:1a → sha256:2b. Its"):
            resumed(tmp_path, monkeypatch, host, {})
        assert host.launched == []
    assert resumed(tmp_path, monkeypatch, host, {}, force=digest != was["digest"]) == ExitCode.FAILED
    assert host.launched == ["b", "c"]
    told = [each["container image"] for each in RunDir(tmp_path / "run").facts().get("changed", ())]
    assert told == ([] if digest == was["digest"] else ["sha256:1a → sha256:2b"])


def test_an_unchanged_machine_is_not_spoken_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cut_off(tmp_path)
    host = FakeHost()
    assert resumed(tmp_path, monkeypatch, host, {}) == ExitCode.FAILED
    assert (host.launched, "changed" in RunDir(tmp_path / "run").facts()) == (["b", "c"], False)
    assert resumed(tmp_path, monkeypatch, host, {}, failed=True) == ExitCode.OK
    assert host.launched == ["b", "c", "a"]


def test_a_trial_whose_processes_have_all_ended_is_not_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(tmp_path, FakeHost())
    journal = tmp_path / "run" / "journal.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text(
        "".join(line for line in lines if '"ended", "trial": "b"' not in line and "finished" not in line)
    )
    host = FakeHost()
    assert resumed(tmp_path, monkeypatch, host, {}) == ExitCode.OK
    assert host.launched == []
    assert RunDir(tmp_path / "run").outcomes()["b"].kind == "ok"


def test_what_is_told_to_type_names_the_nodes_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cut_off(tmp_path)
    record = Record.reopen(tmp_path / "run")
    record.add_facts(system_file="/srv/nodes.yaml")
    record.release()
    few = FakeHost(replies={"conditions": {"conditions": {"limits": {"nofile": [20, 20]}}}})
    with pytest.raises(PreflightError, match="nodes alone: milabench doctor --base .* --system /srv/nodes.yaml$"):
        resumed(tmp_path, monkeypatch, few, {})
